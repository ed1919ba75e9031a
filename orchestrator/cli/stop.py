"""`orch stop`: ask jobs to stop, then make them."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.errors import Unreachable
from jobs.state import QUEUED, RUNNING, UNREACHABLE

from ..collect import fresh_index
from ..config import Settings
from ..fleet import Fleet
from ..naming import Names
from ..store import Index, JobRow
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
    """Stop the jobs that wait or run; exit 5 when a host with some of them does not answer."""
    with fresh_index(settings) as (fleet, index):
        out.warnings(fleet.warnings)
        rows = pick(index, Names.of(index, settings), args.jobs, args.sweep)
        live = [row for row in rows if row.state in (QUEUED, RUNNING, UNREACHABLE)]
        if args.dry_run:
            done = [{"sweep": row.sweep, "id": row.id, "action": f"would be stopped ({row.state})"} for row in live]
        else:
            grace = 0.0 if args.now else args.grace
            done = [item for host, some in by_host(live).items() for item in _stop(fleet, index, host, some, grace)]
    labels = {(row.sweep, row.id): row.label for row in rows}
    out.json([{**item, "label": labels[item["sweep"], item["id"]]} for item in done])
    out.table(["job", "what was done"], [[labels[item["sweep"], item["id"]], item["action"]] for item in done])
    if not live:
        out.note(f"Nothing to stop: none of {len(rows)} jobs waits or runs.")
    elif not args.dry_run:
        out.next("orch status, then orch retry JOB: a stopped training goes on from its last checkpoint")
    return 0 if all(item.get("answered", True) for item in done) else Unreachable.exit_code


def _stop(fleet: Fleet, index: Index, host: str, rows: list[JobRow], grace: float | None) -> list[dict[str, Any]]:
    """Ask the host; of one that does not answer what waits is ended by another host of its home, the rest is said."""
    contact = fleet.standing_in(host, index)
    away = [row for row in rows if row.state == UNREACHABLE and (contact is None or row.known_state != QUEUED)]
    asked = [(row.sweep, row.id) for row in rows if row not in away]
    answers = contact.stop(asked, grace) if contact and asked else []
    text = f"{host} does not answer: not stopped (orch stop again, or orch host declare-dead {host})"
    return [*answers, *({"sweep": row.sweep, "id": row.id, "action": text, "answered": False} for row in away)]
