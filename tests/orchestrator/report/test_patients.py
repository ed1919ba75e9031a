from __future__ import annotations

import pytest

from orchestrator.report.patients import of_run, over_seeds, spread
from orchestrator.store import CaseRow


def row(case: str, group: str, cls: str, dice: float | None) -> CaseRow:
    return CaseRow("a" * 16, 1, case, group, cls, "ok", dice, None)


def test_volumes_are_averaged_within_a_patient_first() -> None:
    rows = [row("c-1", "p-1", "duct", 0.0), row("c-2", "p-1", "duct", 1.0), row("c-3", "p-2", "duct", 0.9)]
    scores = of_run(rows)
    assert scores == {"p-1": 0.5, "p-2": 0.9}
    assert spread(scores).mean == pytest.approx(0.7)  # not (0 + 1 + 0.9) / 3


def test_classes_are_averaged_over_the_defined_ones_after_the_volumes() -> None:
    rows = [row("c-1", "p-1", "a", 0.8), row("c-2", "p-1", "a", None), row("c-1", "p-1", "b", 0.4)]
    assert of_run(rows) == {"p-1": pytest.approx(0.6)}
    assert of_run(rows, "a") == {"p-1": 0.8}


def test_a_patient_without_a_defined_value_has_none() -> None:
    assert of_run([row("c-1", "p-1", "a", None)]) == {}


def test_seeds_are_averaged_within_a_patient() -> None:
    runs = [{"p-1": 0.2, "p-2": 0.9}, {"p-1": 0.4}]
    assert over_seeds(runs) == {"p-1": pytest.approx(0.3), "p-2": 0.9}


def test_a_spread_says_what_is_undefined() -> None:
    assert spread({}).mean is None and spread({}).n == 0
    one = spread({"p-1": 0.5})
    assert (one.n, one.mean, one.sd, one.worst_patient) == (1, 0.5, None, "p-1")
    three = spread({"p-1": 0.5, "p-2": 0.7, "p-3": 0.9})
    assert (three.median, three.worst) == (0.7, 0.5)
    assert three.sd == pytest.approx(0.2)  # n - 1
