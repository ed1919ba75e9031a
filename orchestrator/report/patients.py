"""Scores over patients: volumes are averaged within a patient, seeds within a patient, and patients are the unit.

The order of averages is the trainer's: a patient's volumes per class, then the classes that are defined, then seeds,
then patients. Nothing here is averaged over slices, batches or folds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..store import CaseRow

Scores = Mapping[str, float]  # patient -> value; patients without a defined value are left out


@dataclass(frozen=True)
class Spread:
    """Values of a group of patients, summarised.

    Attributes
    ----------
    n:
        Patients with a defined value.
    mean, median, worst:
        None when `n` is 0; `worst` is the smallest.
    sd:
        Sample standard deviation over patients (n - 1); None when `n` is below 2.
    worst_patient:
        Pseudonym.
    """

    n: int = 0
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    worst: float | None = None
    worst_patient: str = ""


def spread(scores: Scores) -> Spread:
    """Summarise values over patients."""
    if not scores:
        return Spread()
    values = list(scores.values())
    patient = min(scores, key=lambda name: (scores[name], name))
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(
        len(values), math.fsum(values) / len(values), deviation, statistics.median(values), scores[patient], patient
    )


def of_run(rows: Iterable[CaseRow], cls: str | None = None) -> dict[str, float]:
    """Return each patient's Dice in one run: mean over volumes per class, then over the defined classes.

    Parameters
    ----------
    rows:
        The run's case rows.
    cls:
        Only this class.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.dice is not None and cls in (None, row.cls):
            found.setdefault(row.group, {}).setdefault(row.cls, []).append(row.dice)
    return {
        group: statistics.fmean(statistics.fmean(values) for values in classes.values())
        for group, classes in found.items()
    }


def over_seeds(runs: Sequence[Scores]) -> dict[str, float]:
    """Return each patient's mean over the runs that tested it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for patient, value in run.items():
            found.setdefault(patient, []).append(value)
    return {patient: statistics.fmean(values) for patient, values in found.items()}


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the defined values; None when there is none."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None
