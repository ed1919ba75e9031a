"""`orch fetch`: files of run folders (checkpoints, logs, results) come from their hosts to this machine."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from pathlib import Path

from jobs.errors import NotFound

from .. import fetching, versions
from ..collect import fresh_index
from ..config import Settings
from ..naming import Names
from ..price import size
from ..store import Index, JobRow
from ..words import counted
from .copies import bar
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, by_host, pick, told_missing

EXAMPLES = """
orch fetch rotate/3
orch fetch augmentations --only 'best.*'
orch fetch augmentations --to ~/models --dry-run
"""

_UNFIT = re.compile(r"[^A-Za-z0-9._+=,-]+")  # what a folder's name here had better not hold


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=True)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="GLOB",
        help="only files of such a name ('*.pt'); may be repeated (default: all but the checkpoint to go on)",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", default=Path("fetched"), help="where to (default: fetched)")
    parser.add_argument("--dry-run", action="store_true", help="only list the files")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Fetch what is not here yet; go on where a former try was cut."""
    began, came = time.monotonic(), 0
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        rows = told_missing(fleet, index, pick(index, names, args.jobs, args.sweep), out)
        places = {(row.sweep, row.id): args.to / row.sweep / _folder(index, row) for row in rows if row.attempts}
        asked = [row for row in rows if row.attempts]
        found = []
        for host, some in by_host(asked).items():
            contact, jobs = fleet.of(host), [(row.sweep, row.id) for row in some]
            files = fetching.wanted(contact, jobs, args.only, lambda sweep, job: places[sweep, job])
            found += [(contact, one) for one in files]
        if not found:
            raise NotFound(
                "there is nothing to fetch", "orch status: has a job begun? orch fetch JOB --only '*' for all"
            )
        due = [(contact, one) for contact, one in found if not one.is_here]
        todo = fetching.total([one for _, one in due])
        if not args.dry_run:
            with bar(out, "fetching", todo) as progress:
                came = sum(fetching.fetch(contact, one, progress) for contact, one in due)
    listed = [{"file": str(one.target), "bytes": one.size, "here": one.is_here} for _, one in found]
    out.json({"files": listed, "fetched": 0 if args.dry_run else len(due), "bytes": came})
    if args.dry_run:
        out.table(
            ["file", "size", ""],
            [
                [row["file"], size(one.size), "is here" if one.is_here else ""]
                for row, (_, one) in zip(listed, found, strict=True)
            ],
        )
        out.note(f"{counted(len(due), 'file')}, {size(todo)} to fetch")
        return 0
    here = len(found) - len(due)
    rest = f"; {counted(here, 'file')} {'was' if here == 1 else 'were'} here already" if here else ""
    out.result(f"{counted(len(due), 'file')}, {size(came)} in {time.monotonic() - began:.1f} s to {args.to}{rest}")
    return 0


def _folder(index: Index, row: JobRow) -> str:
    """A folder for each cell: one of an earlier version has its number in the name, or its id."""
    label = _UNFIT.sub("_", row.label).strip("_.") or row.id
    if row.position is not None:
        return label
    number = versions.of_cell(index.sweep(row.sweep).record, row.id)
    return f"{label}-{row.id[:4]}" if number is None else f"{label}-version-{number}"
