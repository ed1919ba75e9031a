"""The comparison table as plain values and as texts: the same columns on a terminal, in HTML, Markdown and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .summary import Group, Strategy, Summary

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column: a short heading, what it means, how its values are written.

    `form` is `text`, `count`, `score` (3 decimals), `spread` (mean ± SD), `tenth`, `number` (4 digits) or `time` (s).
    """

    name: str
    meaning: str
    form: str = "text"
    detail: bool = False

    @property
    def number(self) -> bool:
        """Tell whether its values are numbers: they stand right."""
        return self.form != "text"


@dataclass(frozen=True)
class Table:
    """Columns and rows; a value of a `spread` column is a pair, a missing value is None."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def main(self) -> Table:
        """Return the table without its details, where these get a table of their own (`detail`)."""
        kept = [place for place, column in enumerate(self.columns) if not column.detail]
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return Table(tuple(self.columns[place] for place in kept), rows)

    def texts(self) -> list[list[str]]:
        """Return all values written out; widths are the caller's business."""
        return [
            [write(value, column.form) for value, column in zip(row, self.columns, strict=True)] for row in self.rows
        ]


def comparison(summary: Summary) -> Table:
    """Return the table that compares strategies, or the grid points of any other sweep."""
    return _of_strategies(summary) if summary.kind == "trainer" else _of_groups(summary)


def detail(summary: Summary) -> Table:
    """Return each fold's mean Dice and the times, by strategy; a fold with a missing cell says its state."""
    columns = (_HEAD[0], *_folds(summary), *_TIMES)
    rows = tuple(
        (row.name, *_fold_texts(row), row.epochs, row.seconds_per_epoch, row.seconds) for row in summary.strategies
    )
    return Table(columns, rows)


def _folds(summary: Summary) -> list[Column]:
    return [
        Column(f"fold {fold}", "mean Dice over the fold's patients", "score", detail=True) for fold in summary.folds
    ]


def _fold_texts(row: Strategy) -> list[str]:
    values = [write(value, "score") if value is not None else "" for value in row.folds]
    states = [f"({state})" if value and state else state for value, state in zip(values, row.lacking, strict=True)]
    return [" ".join(filter(None, pair)) or MISSING for pair in zip(values, states, strict=True)]


def write(value: Any, form: str) -> str:
    """Write one value; a missing one is a dash."""
    if value is None:
        return MISSING
    if form == "spread":
        return _spread(value)
    if isinstance(value, str):
        return value
    if form == "score":
        return f"{value:.3f}"
    if form == "tenth":
        return f"{value:.1f}"
    if form == "time":
        return duration(value)
    if form == "number" and not isinstance(value, int):
        return f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    """Write a time: `0.4 s`, `42 s`, `3 min 20 s`, `2 h 05`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02}"


def _spread(value: tuple[float | None, float | None]) -> str:
    average, deviation = value
    if average is None:
        return MISSING
    return f"{average:.3f}" if deviation is None else f"{average:.3f} ± {deviation:.3f}"


_HEAD = (
    Column("strategy", "augmentation"),
    Column("cells", "cells with a result that counts, of all cells"),
    Column("patients", "patients with a defined Dice", "count"),
    Column("Dice", "mean ± standard deviation over patients of the volume Dice", "spread"),
)
_COMMON = Column("on common", "the same over the patients that every strategy has", "spread")
_MIDDLE = (
    Column("median", "median over patients", "score"),
    Column("worst", "lowest patient", "score"),
)
_SLICES = Column("slice Dice", "mean over slices, where two empty slices agree with 1: only for older tables", "score")
_TIMES = (
    Column("epochs", "mean over runs", "tenth", detail=True),
    Column("s/epoch", "seconds per epoch, mean over runs", "number", detail=True),
    Column("time", "training time, sum over runs", "time", detail=True),
)


def _of_strategies(summary: Summary) -> Table:
    shared = any(row.common for row in summary.strategies)
    classes = summary.classes if len(summary.classes) > 1 else ()
    columns = (
        *_HEAD,
        *([_COMMON] if shared else []),
        *(Column(name, f"Dice of {name}, mean ± SD over patients", "spread") for name in classes),
        *_MIDDLE,
        _SLICES,
        *_folds(summary),
        *_TIMES,
    )
    return Table(columns, tuple(_row(row, shared, classes) for row in summary.strategies))


def _row(row: Strategy, shared: bool, classes: Sequence[str]) -> tuple[Any, ...]:
    common = [(row.common.mean, row.common.sd) if row.common else None] if shared else []
    return (
        row.name,
        f"{row.done}/{row.cells}",
        row.dice.n,
        (row.dice.mean, row.dice.sd),
        *common,
        *((row.classes[name].mean, row.classes[name].sd) for name in classes),
        row.dice.median,
        row.dice.worst,
        row.slice_dice,
        *row.folds,
        row.epochs,
        row.seconds_per_epoch,
        row.seconds,
    )


def _of_groups(summary: Summary) -> Table:
    repeated = any(group.cells > 1 for group in summary.groups)
    meaning = "of the result" + (", mean over folds and seeds" if repeated else "")
    columns = (
        *(
            Column(name, "grid column", "number" if _numeric(summary, place) else "text")
            for place, name in _places(summary)
        ),
        Column("done", "cells with a result that counts, of all cells"),
        *(Column(name, meaning, "number") for name in summary.names),
    )
    return Table(columns, tuple(_group(group) for group in summary.groups))


def _places(summary: Summary) -> list[tuple[int, str]]:
    return list(enumerate(summary.columns))


def _numeric(summary: Summary, place: int) -> bool:
    return all(isinstance(group.key[place], int | float) for group in summary.groups)


def _group(group: Group) -> tuple[Any, ...]:
    return (*group.key, f"{group.done}/{group.cells}", *group.values)
