"""Which jobs a command means: a sweep's name, a job's label, its id or the beginning of its id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.errors import NotFound, UsageError

from .. import versions
from ..collect import forget_missing
from ..fleet import Fleet
from ..naming import Names
from ..store import Index, JobRow, SweepRow, not_found
from ..words import counted, listed
from .output import Output
from .parser import Parser

_Hit = tuple[str, str, str, bool]  # see `Index.named`


def add_job_arguments(parser: Parser, several: bool) -> None:
    """Declare the job words and `--sweep`."""
    text = "label (rotate/3; before the last change of its sweep: rotate/3@1), id or beginning of an id"
    text += ", or a sweep's name for all its jobs" if several else ""
    parser.add_argument("jobs" if several else "job", nargs="+" if several else None, metavar="JOB", help=text)
    add_sweep_option(parser)


def add_sweep_option(parser: Parser) -> None:
    """Declare `--sweep`."""
    parser.add_argument("--sweep", metavar="NAME", help="look in this sweep only (of another project: PROJECT/NAME)")


def pick(index: Index, names: Names, words: Sequence[str], sweep: str | None) -> list[JobRow]:
    """Return the jobs that the words mean, each once, in the order of the words.

    Raises
    ------
    NotFound
        A word means nothing; the nearest label is named.
    UsageError
        A word fits several jobs.
    """
    found: dict[tuple[str, str], JobRow] = {}
    for word in words:
        whole = names.has(word) and sweep in (None, word)
        rows = whole_sweep(index, names, word) if whole else [pick_one(index, names, word, sweep, newest=False)]
        found.update({(row.sweep, row.id): row for row in rows})
    return list(found.values())


def whole_sweep(index: Index, names: Names, word: str) -> list[JobRow]:
    """Return the jobs that a sweep asks for now, or in the version behind the name's `@`."""
    title, number = versions.split_version(word)
    row = names.find(title)
    jobs = index.jobs(row.name)
    if number is None:
        return [job for job in jobs if job.position is not None]
    wanted = versions.ids(versions.at(index.sweep(row.name).record, number, title))
    known = {job.id: job for job in jobs}
    return [known[job] for job in wanted if job in known]


def pick_one(index: Index, names: Names, word: str, sweep: str | None, newest: bool = True) -> JobRow:
    """Return the one job that a word means.

    Without `--sweep` the sweeps of this project are looked at first. Labels of other projects' jobs mean nothing here,
    their ids do.

    Parameters
    ----------
    newest:
        Where a label stands in several sweeps, take the newest sweep's job; else they are listed.

    Raises
    ------
    NotFound, UsageError
        See `pick`.
    """
    if sweep is not None:
        title, number = versions.split_version(sweep)
        row = names.find(title)
        label, behind = versions.split_version(word)
        number = behind if number is None else number
        return index.job(row.name, word) if number is None else _of_version(index, names, row, label, number)
    label, number = versions.split_version(word)
    hits = index.named(word) or (index.named(label) if number is not None else [])
    for rows in _tiers(names, hits, word):
        if number is not None:
            return _of_version(index, names, rows[-1], label, number)
        if len(rows) > 1 and not newest:
            words = ", ".join(f"{word} --sweep {names.word(row)}" for row in rows[:5])
            raise UsageError(f"'{word}' fits jobs of {len(rows)} sweeps", f"write one of: {words}")
        return index.job(rows[-1].name, word)
    raise not_found("job", word, _labels(index, names), "orch status --jobs")


def _tiers(names: Names, hits: Sequence[_Hit], word: str) -> Iterator[list[SweepRow]]:
    """The sweeps that have such a job, oldest first, those of this project before others; empty groups are left out."""
    exact = {sweep for sweep, job, label, _ in hits if word in (job, label)}
    labelled = {sweep for sweep, job, _, _ in hits if not job.startswith(word)}
    current = {sweep for sweep, _, _, now in hits if now}
    for number, tier in enumerate(names.tiers()):
        rows = [row for row in tier if row.name in {hit[0] for hit in hits}]
        if names.project is not None and number > 2:  # another project's, or a colleague's elsewhere
            rows = [row for row in rows if row.name not in labelled]
        for part in (exact & current, exact, current, {row.name for row in rows}):
            if some := [row for row in rows if row.name in part]:
                yield some
                break


def _of_version(index: Index, names: Names, row: SweepRow, label: str, number: int) -> JobRow:
    jobs = whole_sweep(index, names, f"{names.word(row)}@{number}")
    found = [job for job in jobs if label in (job.label, job.id)] or [job for job in jobs if job.id.startswith(label)]
    if not found:
        known = (job.label for job in jobs)
        raise not_found("job", f"{label}@{number}", known, f"orch report {names.word(row)} --version {number}")
    return found[0]


def _labels(index: Index, names: Names) -> Iterator[str]:
    for tier in list(names.tiers())[:3]:
        for row in tier:
            yield from (job.label for job in index.jobs(row.name))


def told_missing(fleet: Fleet, index: Index, rows: Sequence[JobRow], out: Output) -> list[JobRow]:
    """Say which jobs' folders were deleted; return the jobs that are still there."""
    gone = forget_missing(fleet, index, rows)
    if gone:
        labels = listed([row.label for row in gone])
        out.warning(
            f"the run folders of {counted(len(gone), 'job')} are gone ({labels}): they count as not run. "
            "The same sweep again runs them; after putting them back: orch index rebuild"
        )
    return [row for row in rows if row not in gone]


def by_host(rows: Sequence[JobRow]) -> dict[str, list[JobRow]]:
    """Return jobs by the host of their newest attempt, each host once."""
    found: dict[str, list[JobRow]] = {}
    for row in rows:
        found.setdefault(row.host, []).append(row)
    return found


def address(index: Index, names: Names, row: JobRow) -> str:
    """Return the words that mean this job and no other: its label, with version and sweep where that is needed."""
    sweep = index.sweep(row.sweep)
    number = versions.of_cell(sweep.record, row.id) if row.position is None else None
    label = row.label if number is None else f"{row.label}@{number}"
    if row.position is None and number is None:
        label = row.id
    try:
        alone = pick_one(index, names, label, None, newest=False)
    except (NotFound, UsageError):
        alone = None
    same = alone is not None and (alone.sweep, alone.id) == (row.sweep, row.id)
    return label if same else f"{label} --sweep {names.word(sweep)}"
