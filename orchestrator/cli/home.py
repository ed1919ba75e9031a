"""`orch home`: which orch home is the right one at a path, when it is away, was moved, restored or copied."""

from __future__ import annotations

from argparse import Namespace

from ..config import Settings
from ..dispatch import REMOTE_HOME
from ..inventory import chosen, connect
from ..known_homes import LOCAL, remember
from .output import Output
from .parser import Parser

EXAMPLES = """
orch home adopt
orch home new --host grace
"""

_VERBS = {"new": "new_home", "adopt": "adopt_home"}
_DONE = {
    "made": "a new, empty orch home: {home} (id {id}); the one that was known there is left as it is, wherever it is",
    "copy": "{home} is an orch home of its own now (id {id}): what waits in it runs, whatever the other one does",
    "moved": "{home} (id {id}) is the orch home from now on; what waits in it goes on with the next orch command",
    "same": "{home} (id {id}) is the orch home, as before",
}


def add_arguments(parser: Parser) -> None:
    """Declare the verbs."""
    new = parser.add_verb(
        "new", "Begin with an empty home where another one is known, but away", "orch home new --host grace"
    )
    adopt = parser.add_verb(
        "adopt",
        "Take the home that stands there: it was moved, restored, or is a copy that becomes a home of its own",
        "orch home adopt",
    )
    for verb in (new, adopt):
        verb.add_argument("--host", metavar="H", default=LOCAL, help="a host of the site file (default: this machine)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Do what the verb says."""
    (member,) = chosen(settings, [args.host], every=False)
    path = member.home or REMOTE_HOME
    wire = connect(member)
    try:
        told = wire.call(_VERBS[args.verb], home=path)
    finally:
        wire.close()
    remember(settings, member.name, path, str(told["id"]))
    out.json(told)
    out.result(_DONE[told["action"]].format(**told))
    out.next("orch status")
    return 0
