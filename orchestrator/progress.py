"""How far a sweep is: counts, rate, what is left, the best so far. Pure: index rows in, a frozen value out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.holds import HELD
from jobs.state import DONE, ENDED, FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, UNREACHABLE
from jobs.waits import WAITS

from .store import PLANNED, JobRow
from .words import counted

ORDER = (DONE, RUNNING, QUEUED, PLANNED, FAILED, STOPPED, INTERRUPTED, UNREACHABLE)


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment.

    Attributes
    ----------
    counts:
        Jobs by state, in the order people read them, without zeros.
    total, ended:
        All jobs; those that have ended, well or not.
    per_minute:
        Ended jobs per minute at the present pace, or None before the first has ended.
    left:
        Seconds until everything has ended, or None.
    best:
        Best value so far, with the label of its job, or None.
    running, troubled:
        Rows of the running jobs; of those that failed, were stopped or interrupted, or cannot be reached.
    waits:
        Jobs that wait for other people's work to end, or for a time, with the reason.
    held:
        Rows of the jobs that wait on purpose.
    """

    counts: Mapping[str, int]
    total: int
    ended: int
    per_minute: float | None
    left: float | None
    best: tuple[float, str] | None
    running: tuple[JobRow, ...]
    troubled: tuple[JobRow, ...]
    held: tuple[JobRow, ...] = ()
    waits: tuple[JobRow, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing runs or waits any more but what is held (what is unreachable may still do either)."""
        return not self.counts.get(RUNNING) and self.counts.get(QUEUED, 0) == len(self.held)


def measure(
    rows: Sequence[JobRow],
    metric: str | None,
    spans: Mapping[str, float],
    steps: int | None = None,
    scores: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Progress:
    """Work out the progress of a sweep.

    Parameters
    ----------
    rows:
        The sweep's jobs.
    metric:
        Value whose best is shown; higher is better (Dice).
    spans:
        Seconds that ended jobs took, by job id.
    steps:
        Steps (epochs) that a job has at most, or None.
    scores:
        Numbers of the results that count, by job id: a training's last epoch is seldom its best.
    """
    current = [row for row in rows if row.position is not None]
    counted = Counter(row.state for row in current)
    running = tuple(row for row in current if row.state == RUNNING)
    ended = sum(counted[state] for state in ENDED)
    pace = _pace(running, counted[QUEUED], spans, steps)
    return Progress(
        counts={state: counted[state] for state in ORDER if counted[state]},
        total=len(current),
        ended=ended,
        per_minute=pace[0],
        left=pace[1],
        best=_best(current, metric, scores or {}),
        running=running,
        troubled=tuple(row for row in current if row.state in (FAILED, STOPPED, INTERRUPTED, UNREACHABLE)),
        held=tuple(row for row in current if row.state == QUEUED and row.reason.startswith(HELD)),
        waits=tuple(row for row in current if row.state == QUEUED and row.reason.startswith(WAITS)),
    )


def _pace(
    running: Sequence[JobRow], queued: int, spans: Mapping[str, float], steps: int | None
) -> tuple[float | None, float | None]:
    """Jobs per minute and seconds left, from the mean duration of the jobs that have ended."""
    side_by_side = len(running)
    if not spans or not side_by_side:
        return None, None
    mean = sum(spans.values()) / len(spans)
    begun = sum(min(1.0, (row.step or 0) / steps) for row in running) if steps else 0.0
    work = (queued + side_by_side - begun) * mean
    rate = 60.0 * side_by_side / mean if mean else None
    return rate, work / side_by_side


def _best(
    rows: Sequence[JobRow], metric: str | None, scores: Mapping[str, Mapping[str, float | None]]
) -> tuple[float, str] | None:
    """Return the highest value, of results and of newest steps, and its job's label, or None."""
    if metric is None:
        return None
    known = ((_shown(row, metric, scores.get(row.id, {})), row.label) for row in rows)
    return max(((value, label) for value, label in known if value is not None), default=None)


def _shown(row: JobRow, metric: str, scores: Mapping[str, float | None]) -> float | None:
    """Return a job's watched value; the newest step is parsed only where the result does not decide."""
    decided = isinstance(scores.get(f"val_{metric}"), int | float)
    return shown_value({**({} if decided else row.values), **scores}, metric)


def shown_value(values: Mapping[str, Any], metric: str | None) -> float | None:
    """Return the value that people watch: `val_<metric>`, else the metric itself."""
    for name in (f"val_{metric}", metric or ""):
        if isinstance(values.get(name), int | float):
            return float(values[name])
    return None


def shown_name(metric: str | None) -> str:
    """Return what the watched value is called: the trainer's is that of the inner validation part."""
    return {"dice": "validation Dice"}.get(metric or "", metric or "value")


def duration(seconds: float | None) -> str:
    """Return a time span for people: `45 s`, `4 min 05`, `3 h 40`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return `12 done · 3 running · 20 queued`."""
    return " · ".join(f"{count} {state}" for state, count in counts.items()) or "no jobs"


def reasons(rows: Sequence[JobRow]) -> list[str]:
    """Return why jobs wait, each reason once: `2 jobs wait: GPU 0 is used by ...`, `1 job held: ...`."""
    counts = Counter(row.reason for row in rows)
    return [
        f"{counted(count, 'job')} {reason if count == 1 else reason.replace(WAITS, 'wait: ', 1)}"
        for reason, count in counts.items()
    ]
