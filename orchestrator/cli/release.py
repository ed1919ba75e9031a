"""`orch release`: start what waits on purpose after all."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.errors import UsageError

from ..collect import fresh_index, refresh
from ..config import Settings
from ..fleet import Fleet
from ..naming import Names
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch release augmentations
orch release --gpus --host grace
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", help="sweeps whose waiting jobs are held")
    parser.add_argument("--gpus", action="store_true", help="use the GPUs of a host again, after its fault was mended")
    parser.add_argument("--host", metavar="H", help="only on this host (default: wherever something is held)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Release holds; say what was held and how many jobs go on."""
    if not args.sweeps and not args.gpus:
        raise UsageError("nothing to release was named", "orch release SWEEP, or orch release --gpus")
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        sweeps = [names.find(name).name for name in args.sweeps]
        done = _release(fleet, sweeps, args.gpus, args.host)
        refresh(fleet, index)
        words = names.words()
    out.json(done)
    what = [*(words.get(name, name) for name in done["sweeps"]), *(["the GPUs"] if done["gpus"] else [])]
    if not what:
        out.note("Nothing was held.")
        return 0
    out.result(f"released: {', '.join(what)}; {counted(done['jobs'], 'job')} can start")
    out.next("orch status --watch")
    return 0


def _release(fleet: Fleet, sweeps: list[str], gpus: bool, host: str | None) -> dict[str, Any]:
    if host:
        return fleet.of(host).release(sweeps, gpus)
    answers = fleet.each(lambda contact: contact.release(sweeps, gpus)).values()
    return {
        "sweeps": sorted({name for answer in answers for name in answer["sweeps"]}),
        "gpus": any(answer["gpus"] for answer in answers),
        "jobs": sum(answer["jobs"] for answer in answers),
    }
