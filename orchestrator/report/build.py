"""Make a `Report` from the index."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..store import CaseRow, Curve, EventRow, Index, JobRow
from . import facts, words
from .model import Learning, Report
from .summary import summarise
from .table import comparison

WORST = 8  # case rows listed


def build(index: Index, sweep: str, version: int | None = None) -> Report:
    """Read a sweep from the index, as it is at this moment, or the cells of one of its earlier versions.

    Raises
    ------
    NotFound
        The index knows no such sweep, or the sweep no such version.
    """
    with index.snapshot():
        summary = summarise(index, sweep, version)
        attempts, starts = index.attempts(sweep), index.events(sweep, kind="start")
        metrics, rows, worst = index.metrics(sweep), index.cases(sweep), index.worst(sweep, WORST)
        notes = index.journal(sweep)
    known = {job.id: job for job in summary.jobs}
    planned = [row for row in attempts if row.job in known]
    found = facts.gather(planned, starts)
    return Report(
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        headline=words.headline(summary),
        warnings=words.warnings(summary, found, planned),
        methods=words.methods(summary, planned),
        summary=summary,
        table=comparison(summary),
        learning=_learning(summary.jobs, metrics, starts),
        cases=_owned(rows, known),
        worst=_owned(worst, known),
        facts=found,
        notes=tuple(_note(row.text, known.get(row.job)) for row in notes if row.kind == "note"),
    )


def _owned(rows: Iterable[CaseRow], known: Mapping[str, JobRow]) -> tuple[tuple[JobRow, CaseRow], ...]:
    return tuple((known[row.job], row) for row in rows if row.job in known)


def _note(text: str, job: JobRow | None) -> str:
    return f"{job.label}: {text}" if job else text


def _learning(
    jobs: Iterable[JobRow], metrics: Mapping[tuple[str, int], Mapping[str, Curve]], starts: Iterable[EventRow]
) -> tuple[Learning, ...]:
    resumed = {(event.job, event.attempt): event.body.get("resumed_from") for event in starts}
    found = []
    for job in jobs:
        attempt = job.counted or job.attempts
        curves = _chained(metrics, resumed, job.id, attempt)
        if curves:
            found.append(Learning(job, attempt, curves))
    return tuple(found)


def _chained(
    metrics: Mapping[tuple[str, int], Mapping[str, Curve]],
    resumed: Mapping[tuple[str, int], Any],
    job: str,
    attempt: int,
) -> dict[str, Curve]:
    """Return an attempt's curves behind those of the attempts it was resumed from, up to where it took over."""
    own = dict(metrics.get((job, attempt), {}))
    before = resumed.get((job, attempt))
    if not isinstance(before, int) or not 0 < before < attempt:
        return own
    earlier = _chained(metrics, resumed, job, before)
    begin = min((curve.steps[0] for curve in own.values()), default=None)
    joined = {name: _until(curve, begin) for name, curve in earlier.items()}
    for name, curve in own.items():
        head = joined.get(name)
        joined[name] = Curve(head.steps + curve.steps, head.values + curve.values) if head else curve
    return joined


def _until(curve: Curve, step: int | None) -> Curve:
    if step is None:
        return curve
    kept = sum(one < step for one in curve.steps)
    return Curve(curve.steps[:kept], curve.values[:kept])
