"""What a sweep says, as frozen values: one row per strategy, or per grid point; cheap enough for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import versions
from ..store import CaseRow, Index, JobRow
from . import patients
from .patients import Spread, mean, over_seeds, spread

REPEATS = ("fold", "seed")  # columns over which a row of a generic table averages
_MOST_VALUES = 12  # result values that a generic table shows


@dataclass(frozen=True)
class Strategy:
    """One row of the comparison table of a trainer sweep.

    Attributes
    ----------
    name, cells, done:
        Strategy; how many cells it has, and of how many a result counts.
    dice, classes:
        Dice over patients, overall and per class.
    common:
        Dice over the patients that every strategy has; None when all strategies have the same ones.
    folds:
        Mean Dice over the patients of each fold (None: missing), in the order of the sweep's folds.
    lacking:
        For each fold the state of its cell without a result (the first, when there are several seeds), or nothing.
    slice_dice:
        Mean over runs of the slice-averaged Dice.
    undefined:
        Case rows without a reference: they have no Dice.
    epochs, seconds, seconds_per_epoch:
        Mean over runs; total over runs; mean over runs.
    patients:
        Dice of each patient.
    """

    name: str
    cells: int
    done: int
    dice: Spread = field(default_factory=Spread)
    common: Spread | None = None
    classes: Mapping[str, Spread] = field(default_factory=dict)
    folds: tuple[float | None, ...] = ()
    lacking: tuple[str, ...] = ()
    slice_dice: float | None = None
    undefined: int = 0
    epochs: float | None = None
    seconds: float | None = None
    seconds_per_epoch: float | None = None
    patients: Mapping[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Tell whether every cell has a result that counts."""
        return self.done == self.cells


@dataclass(frozen=True)
class Group:
    """One row of a generic table: values of the grid columns, and each result value's mean over folds and seeds."""

    key: tuple[Any, ...]
    cells: int
    done: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Summary:
    """A whole sweep; `strategies` of a trainer sweep, `groups` of any other.

    `sweep` is what people call it; `version` counts the changes of its file that took cells away, `newest` is that of
    now.
    """

    sweep: str
    kind: str
    metric: str
    baseline: str | None
    folds: tuple[Any, ...]
    seeds: tuple[Any, ...]
    classes: tuple[str, ...]
    jobs: tuple[JobRow, ...]
    strategies: tuple[Strategy, ...] = ()
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    version: int = 1
    newest: int = 1

    @property
    def holes(self) -> tuple[JobRow, ...]:
        """Cells without a result that counts."""
        return tuple(job for job in self.jobs if not job.counted)


@dataclass(frozen=True)
class _Found:
    """What was read from the index."""

    record: Mapping[str, Any]
    jobs: tuple[JobRow, ...]
    scores: Mapping[str, Mapping[str, float | None]]
    rows: Mapping[str, list[CaseRow]]
    newest: int = 1


def summarise(index: Index, sweep: str, version: int | None = None) -> Summary:
    """Read a sweep from the index, as it is or as it was in a version, and summarise it.

    Raises
    ------
    NotFound
        The index knows no such sweep, or the sweep no such version.
    """
    with index.snapshot():
        found = _read(index, sweep, version)
    folds, seeds = (_distinct(found.jobs, column) for column in REPEATS)
    classes = tuple(dict.fromkeys(row.cls for rows in found.rows.values() for row in rows if row.cls))
    kind = str(found.record.get("kind") or _guess(found.jobs))
    base = Summary(
        sweep=str(found.record.get("title") or sweep),
        kind=kind,
        metric=str(found.record.get("metric") or ("dice" if kind == "trainer" else "")),
        baseline=found.record.get("baseline"),
        folds=folds,
        seeds=seeds,
        classes=classes,
        jobs=found.jobs,
        version=versions.number(found.record),
        newest=found.newest,
    )
    return _trainer(base, found) if kind == "trainer" else _generic(base, found)


def _read(index: Index, sweep: str, version: int | None) -> _Found:
    now = index.sweep(sweep).record
    record, jobs = versions.at(now, version, sweep), index.jobs(sweep)
    planned = tuple(job for job in jobs if job.position is not None)
    if record is not now:
        known = {job.id: job for job in jobs}
        planned = tuple(known[job] for job in versions.ids(record) if job in known)
    rows: dict[str, list[CaseRow]] = {}
    for row in index.cases(sweep):
        rows.setdefault(row.job, []).append(row)
    # Without its record (a home that lost it) a sweep is what its run folders say.
    return _Found(record, planned or tuple(jobs), index.scores(sweep), rows, versions.number(now))


def _guess(jobs: Sequence[JobRow]) -> str:
    return "trainer" if jobs and all({"strategy", "fold"} <= set(job.names) for job in jobs) else "command"


def _distinct(jobs: Iterable[JobRow], column: str) -> tuple[Any, ...]:
    values = {job.names[column] for job in jobs if column in job.names}
    return tuple(sorted(values, key=lambda value: (not isinstance(value, int | float), value, str(value))))


def _trainer(base: Summary, found: _Found) -> Summary:
    by_name: dict[str, list[JobRow]] = {}
    for job in found.jobs:
        by_name.setdefault(str(job.names.get("strategy")), []).append(job)
    raw = [_strategy(name, jobs, base, found) for name, jobs in by_name.items()]
    return replace(base, strategies=tuple(_with_common(raw)))


def _strategy(name: str, jobs: Sequence[JobRow], base: Summary, found: _Found) -> Strategy:
    done = [job for job in jobs if job.counted]
    rows = [found.rows.get(job.id, []) for job in done]
    scores = [found.scores.get(job.id, {}) for job in done]
    everyone = over_seeds([patients.of_run(run) for run in rows])
    return Strategy(
        name=name,
        cells=len(jobs),
        done=len(done),
        dice=spread(everyone),
        classes={cls: spread(over_seeds([patients.of_run(run, cls) for run in rows])) for cls in base.classes},
        folds=tuple(_fold(fold, done, found) for fold in base.folds),
        lacking=tuple(_lacking(fold, jobs) for fold in base.folds),
        slice_dice=mean(score.get("slice_dice") for score in scores),
        undefined=sum(row.dice is None for run in rows for row in run),
        epochs=mean(score.get("epochs") for score in scores),
        seconds=_total(score.get("seconds") for score in scores),
        seconds_per_epoch=mean(score.get("seconds_per_epoch") for score in scores),
        patients=everyone,
    )


def _fold(fold: Any, done: Sequence[JobRow], found: _Found) -> float | None:
    runs = [patients.of_run(found.rows.get(job.id, [])) for job in done if job.names.get("fold") == fold]
    return spread(over_seeds(runs)).mean


def _lacking(fold: Any, jobs: Sequence[JobRow]) -> str:
    return next((job.state for job in jobs if job.names.get("fold") == fold and not job.counted), "")


def _with_common(rows: Sequence[Strategy]) -> list[Strategy]:
    """Add what each strategy has on the patients that all have, where they differ: a hole must not look like skill."""
    present = [set(row.patients) for row in rows if row.patients]
    if len(present) < 2 or all(one == present[0] for one in present):
        return list(rows)
    shared = set.intersection(*present)
    return [
        replace(row, common=spread({name: row.patients[name] for name in row.patients if name in shared}))
        for row in rows
    ]


def _generic(base: Summary, found: _Found) -> Summary:
    seen = list(dict.fromkeys(name for job in found.jobs for name in job.names))
    columns = tuple(found.record.get("columns") or seen)
    kept = tuple(name for name in columns if name not in REPEATS) or columns
    names = _names(base.metric, found)
    by_key: dict[tuple[Any, ...], list[JobRow]] = {}
    for job in found.jobs:
        by_key.setdefault(tuple(_plain(job.names.get(name)) for name in kept), []).append(job)
    groups = tuple(_group(key, jobs, names, found) for key, jobs in by_key.items())
    return replace(base, columns=kept, names=names, groups=groups)


def _names(metric: str, found: _Found) -> tuple[str, ...]:
    known = list(dict.fromkeys(name for scores in found.scores.values() for name in scores))
    first = [metric] if metric in known else []
    return tuple((first + [name for name in known if name != metric])[:_MOST_VALUES])


def _group(key: tuple[Any, ...], jobs: Sequence[JobRow], names: Sequence[str], found: _Found) -> Group:
    done = [job for job in jobs if job.counted]
    scores = [found.scores.get(job.id, {}) for job in done]
    return Group(key, len(jobs), len(done), tuple(mean(score.get(name) for score in scores) for name in names))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _total(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) if defined else None
