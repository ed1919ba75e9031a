"""How long jobs took on each host, from the index: what a plan predicts with. Pure, but for reading the index."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from .store import Index, Span
from .sweep import TRAINER

ENOUGH = 50  # newest jobs of each host that are looked at: machines and habits change


def seconds_per_job(index: Index, sweep: str, kind: str, epochs: int | None) -> dict[str, float]:
    """Return by host how long one job of a sweep takes, where such jobs have ended there.

    Of a training it is the usual length of an epoch times the epochs it may have: early stopping makes it shorter.
    Of a command it is the usual length of a job of the same sweep.
    """
    spans = list(index.spans())
    same = _by_host((span for span in spans if span.sweep == sweep), None)
    if kind != TRAINER or not epochs:
        return same
    paced = (span for span in spans if span.program == TRAINER and span.step_seconds)
    return {**same, **_by_host(paced, epochs)}


def _by_host(spans: Iterable[Span], epochs: int | None) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for span in spans:
        value = span.step_seconds * epochs if epochs and span.step_seconds else span.seconds
        found.setdefault(span.host, []).append(value)
    return {host: median(values[-ENOUGH:]) for host, values in found.items()}
