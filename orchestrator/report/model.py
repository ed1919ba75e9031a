"""`Report`: everything that the writers need, frozen; they read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..store import CaseRow, Curve, JobRow
from .facts import Fact
from .summary import Summary
from .table import Table


@dataclass(frozen=True)
class Learning:
    """The curves of one job: of the attempt that counts, else of the newest, with those that it was resumed from."""

    job: JobRow
    attempt: int
    curves: Mapping[str, Curve]

    @property
    def strategy(self) -> str:
        """Strategy, or the label of a job that has none."""
        return str(self.job.names.get("strategy", self.job.label))


@dataclass(frozen=True)
class Report:
    """One sweep's report.

    Attributes
    ----------
    made:
        When: date and minute, UTC.
    headline, warnings, methods:
        In words.
    summary, table:
        Values, and the comparison table made of them.
    learning:
        Curves, in the order of the sweep.
    cases:
        Case rows of the results that count, with their job.
    worst:
        The lowest of them, worst first.
    facts:
        Provenance.
    notes:
        What a person wrote about the sweep and its jobs in the journal.
    """

    made: str
    headline: str
    warnings: tuple[str, ...]
    methods: str
    summary: Summary
    table: Table
    learning: tuple[Learning, ...]
    cases: tuple[tuple[JobRow, CaseRow], ...]
    worst: tuple[tuple[JobRow, CaseRow], ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
