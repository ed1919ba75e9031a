"""`orch retry`: a new attempt of jobs that have ended; nothing of the former attempts is overwritten."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.errors import NotFound, UsageError
from jobs.spec import JobSpec
from jobs.state import DONE, HOLES

from ..collect import fresh_index, refresh
from ..config import Settings
from ..dispatch import Contact
from ..fleet import Fleet
from ..naming import Names
from ..store import Index, JobRow
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, address, by_host, pick, told_missing

EXAMPLES = """
orch retry rotate/3
orch retry augmentations
orch retry rotate/3 --again
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=True)
    parser.add_argument("--again", action="store_true", help="also jobs that are done")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Queue a new attempt, with the code that was pinned, for each job that failed, was stopped or interrupted."""
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        asked = pick(index, names, args.jobs, args.sweep)
        rows = told_missing(fleet, index, asked, out)
        if not rows:
            word = names.word(index.sweep(asked[0].sweep)) if asked else "NAME"
            raise NotFound("nothing is left of them to try again", f"orch sweep {word} runs them anew")
        wanted = [row for row in rows if row.state in HOLES or (args.again and row.state == DONE)]
        if not wanted and len(rows) == 1:
            raise UsageError(
                f"{rows[0].label} is {rows[0].state}: there is nothing to retry", _hint(index, names, rows[0])
            )
        done = [item for host, rows in by_host(wanted).items() for item in _retry(fleet, host, rows)]
        refresh(fleet, index)
    labels = {row.id: row.label for row in wanted}
    out.json([{**item, "label": labels[item["id"]]} for item in done])
    out.table(
        ["job", "attempt", "what was done"], [[labels[item["id"]], item["attempt"], item["action"]] for item in done]
    )
    if not wanted:
        out.note(f"Nothing to retry: none of {len(rows)} jobs failed, was stopped or interrupted.")
    else:
        out.next("orch status --watch")
    return 0


def _hint(index: Index, names: Names, row: JobRow) -> str:
    word = address(index, names, row)
    return f"orch retry {word} --again" if row.state == DONE else f"orch why {word}"


def _retry(fleet: Fleet, host: str, rows: list[JobRow]) -> list[dict[str, Any]]:
    contact = fleet.of(host)
    specs = [_spec(contact, row) for row in rows]
    floors = {row.id: row.attempts for row in rows}
    return contact.submitted(contact.post_submit(None, specs, again=[row.id for row in rows], floors=floors))


def _spec(contact: Contact, row: JobRow) -> dict[str, Any]:
    """The specification of the newest attempt, without what the host added."""
    shown = contact.show(row.sweep, row.id)
    return JobSpec.from_json(shown["attempts"][-1]["spec"]).to_json()
