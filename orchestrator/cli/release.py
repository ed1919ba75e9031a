"""`orch release`: start what waits on purpose after all."""

from __future__ import annotations

from argparse import Namespace

from jobs.errors import UsageError

from ..collect import fresh_index, refresh
from ..config import Settings
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch release augmentations
orch release --gpus
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help="sweeps whose waiting jobs are held")
    parser.add_argument("--gpus", action="store_true", help="use the GPUs of the host again after a fault was mended")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Release holds; say what was held and how many jobs go on."""
    if not args.sweeps and not args.gpus:
        raise UsageError("nothing to release was named", "orch release SWEEP, or orch release --gpus")
    with fresh_index(settings) as (contact, index):
        names = [index.sweep(name).name for name in args.sweeps]
        done = contact.wire.call("release", sweeps=names, gpus=args.gpus)
        refresh(contact, index)
    out.json(done)
    what = [*done["sweeps"], *(["the GPUs"] if done["gpus"] else [])]
    if not what:
        out.note("Nothing was held.")
        return 0
    out.result(f"released: {', '.join(what)}; {counted(done['jobs'], 'job')} can start")
    out.next("orch status --watch")
    return 0
