"""`orch fetch`: files of run folders (checkpoints, logs, results) come from their hosts to this machine."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.errors import NotFound, OrchError, Unreachable, WireError

from .. import fetching, versions
from ..collect import fresh_index
from ..config import Settings
from ..dispatch import Contact
from ..fleet import Fleet
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
    """Fetch what is not here yet; go on where a former try was cut. One file or host that fails keeps back no other."""
    began, came, failed = time.monotonic(), 0, 0
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        rows = told_missing(fleet, index, pick(index, names, args.jobs, args.sweep), out)
        folders = {(row.sweep, row.id): args.to / row.sweep / _folder(index, row) for row in rows if row.attempts}
        found, problems = _found(fleet, [row for row in rows if row.attempts], args.only, folders)
        due = [(contact, one) for contact, one in found if not one.is_here]
        if not args.dry_run and due:
            with bar(out, "fetching", fetching.total([one for _, one in due])) as progress:
                lost = set()
                for contact, one in due:
                    try:
                        came += fetching.fetch(contact, one, progress) if contact.name not in lost else 0
                    except OrchError as error:
                        problems.append(error)
                        if isinstance(error, Unreachable | WireError):
                            lost.add(contact.name)
                failed = sum(not one.is_here for _, one in due)
    for problem in problems:
        out.warning(problem.message)
    if not found:
        raise next((one for one in problems if one.exit_code == Unreachable.exit_code), _nothing(problems))
    _show(args, [one for _, one in found], [one for _, one in due], out, came, failed, time.monotonic() - began)
    return max((problem.exit_code for problem in problems), default=0)


def _found(
    fleet: Fleet, rows: Sequence[JobRow], only: Sequence[str], folders: Mapping[tuple[str, str], Path]
) -> tuple[list[tuple[Contact, fetching.Wanted]], list[OrchError]]:
    """Ask each host for its files; what it cannot, or must not, give is told beside them."""
    found: list[tuple[Contact, fetching.Wanted]] = []
    problems: list[OrchError] = []
    for host, some in by_host(rows).items():
        try:
            contact = fleet.of(host)
            told = fetching.wanted(contact, [(row.sweep, row.id) for row in some], only, folders)
        except OrchError as error:
            problems.append(error)
            continue
        found += [(contact, one) for one in told.files]
        problems += [OrchError(text) for text in told.refused]
    return found, problems


def _nothing(problems: Sequence[OrchError]) -> OrchError:
    if problems:
        return problems[0]
    return NotFound("there is nothing to fetch", "orch status: has a job begun? orch fetch JOB --only '*' for all")


def _show(
    args: Namespace,
    found: Sequence[fetching.Wanted],
    due: Sequence[fetching.Wanted],
    out: Output,
    came: int,
    failed: int,
    seconds: float,
) -> None:
    listed = [{"file": str(one.target), "bytes": one.size, "here": one.is_here} for one in found]
    out.json({"files": listed, "fetched": 0 if args.dry_run else len(due) - failed, "bytes": came})
    if args.dry_run:
        rows = zip(listed, found, strict=True)
        cells = [[row["file"], size(one.size), "is here" if one.is_here else ""] for row, one in rows]
        out.table(["file", "size", ""], cells)
        out.note(f"{counted(len(due), 'file')}, {size(fetching.total(due))} to fetch")
        return
    here = len(found) - len(due)
    rest = f"; {counted(here, 'file')} {'was' if here == 1 else 'were'} here already" if here else ""
    rest += f"; {counted(failed, 'file')} did not come" if failed else ""
    out.result(f"{counted(len(due) - failed, 'file')}, {size(came)} in {seconds:.1f} s to {args.to}{rest}")


def _folder(index: Index, row: JobRow) -> str:
    """A folder for each cell: one of an earlier version has its number in the name, or its id."""
    label = _UNFIT.sub("_", row.label).strip("_.") or row.id
    if row.position is not None:
        return label
    number = versions.of_cell(index.sweep(row.sweep).record, row.id)
    return f"{label}-{row.id[:4]}" if number is None else f"{label}-version-{number}"
