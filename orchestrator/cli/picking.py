"""Which jobs a command means: a sweep's name, a job's label, its id or the beginning of its id."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.errors import NotFound

from ..store import Index, JobRow
from .parser import Parser


def add_job_arguments(parser: Parser, several: bool) -> None:
    """Declare the job words and `--sweep`."""
    text = "label (rotate/3), id or beginning of an id" + (", or a sweep's name for all its jobs" if several else "")
    parser.add_argument("jobs" if several else "job", nargs="+" if several else None, metavar="JOB", help=text)
    parser.add_argument("--sweep", metavar="NAME", help="look in this sweep only")


def pick(index: Index, words: Sequence[str], sweep: str | None) -> list[JobRow]:
    """Return the jobs that the words mean, each once, in the order of the words.

    Raises
    ------
    NotFound
        A word means nothing; the nearest label is named.
    UsageError
        A word fits several jobs.
    """
    sweeps = {row.name for row in index.sweeps()}
    found: dict[tuple[str, str], JobRow] = {}
    for word in words:
        whole = word in sweeps and sweep in (None, word)
        rows = [row for row in index.jobs(word) if row.position is not None] if whole else [index.job(sweep, word)]
        found.update({(row.sweep, row.id): row for row in rows})
    return list(found.values())


def pick_one(index: Index, word: str, sweep: str | None) -> JobRow:
    """Return the one job that a word means; where a label stands in several sweeps, the newest sweep's job."""
    if sweep is None:
        for row in reversed(index.sweeps()):
            try:
                return index.job(row.name, word)
            except NotFound:
                continue
    return index.job(sweep, word)


def by_host(rows: Sequence[JobRow]) -> dict[str, list[JobRow]]:
    """Return jobs by the host of their newest attempt, each host once."""
    found: dict[str, list[JobRow]] = {}
    for row in rows:
        found.setdefault(row.host, []).append(row)
    return found


def address(index: Index, row: JobRow) -> str:
    """Return the words that mean this job and no other: its label, with the sweep where another one has it too."""
    several = sum(other.label == row.label for other in index.jobs()) > 1
    return f"{row.label} --sweep {row.sweep}" if several else row.label
