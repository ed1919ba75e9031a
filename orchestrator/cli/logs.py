"""`orch logs`: what a job printed."""

from __future__ import annotations

from argparse import Namespace

from jobs.errors import NotFound
from jobs.state import QUEUED

from ..collect import fresh_index
from ..config import Settings
from ..naming import Names
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, pick_one

EXAMPLES = """
orch logs rotate/3
orch logs rotate/3 -f
orch logs rotate/3 --attempt 1
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=False)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    parser.add_argument("--attempt", type=int, metavar="N", help="an earlier attempt (default: the newest)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Print the log; with `--json` one object per piece."""
    with fresh_index(settings) as (fleet, index):
        row = pick_one(index, Names.of(index, settings), args.job, args.sweep)
        if row.state == QUEUED and args.attempt is None and row.attempts <= 1 and not args.follow:
            raise NotFound(f"{row.label} has not begun: it has no log yet", f"orch logs {row.label} -f waits for it")
        printed = False
        for text in fleet.of(row.host).log(row.sweep, row.id, args.attempt, 0, args.follow):
            printed = printed or bool(text)
            out.json({"text": text})
            if not out.json_mode:
                out.output(text)
        if not printed:
            out.note(f"{row.label} has printed nothing")
    return 0
