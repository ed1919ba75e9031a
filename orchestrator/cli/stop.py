"""`orch stop`: ask jobs to stop, then make them."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.state import QUEUED, RUNNING

from ..collect import fresh_index
from ..config import Settings
from ..fleet import Fleet
from ..store import JobRow
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, by_host, pick

EXAMPLES = """
orch stop rotate/3
orch stop augmentations
orch stop augmentations --dry-run
orch stop rotate/3 --now
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=True)
    parser.add_argument("--grace", type=float, metavar="S", help="seconds between asking and killing (default: 30)")
    parser.add_argument("--now", action="store_true", help="kill at once: the same as --grace 0")
    parser.add_argument("--dry-run", action="store_true", help="only say which jobs it would be")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Stop the jobs that wait or run; the others are named as they are."""
    with fresh_index(settings) as (fleet, index):
        rows = pick(index, args.jobs, args.sweep)
        live = [row for row in rows if row.state in (QUEUED, RUNNING)]
        if args.dry_run:
            done = [{"sweep": row.sweep, "id": row.id, "action": f"would be stopped ({row.state})"} for row in live]
        else:
            grace = 0.0 if args.now else args.grace
            done = [item for host, some in by_host(live).items() for item in _stop(fleet, host, some, grace)]
    labels = {(row.sweep, row.id): row.label for row in rows}
    out.json([{**item, "label": labels[item["sweep"], item["id"]]} for item in done])
    out.table(["job", "what was done"], [[labels[item["sweep"], item["id"]], item["action"]] for item in done])
    if not live:
        out.note(f"Nothing to stop: none of {len(rows)} jobs waits or runs.")
    elif not args.dry_run:
        out.next("orch status, then orch retry JOB: a stopped training goes on from its last checkpoint")
    return 0


def _stop(fleet: Fleet, host: str, rows: list[JobRow], grace: float | None) -> list[dict[str, Any]]:
    return fleet.of(host).stop([(row.sweep, row.id) for row in rows], grace)
