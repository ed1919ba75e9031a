from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.series import narrow, pack, unpack

_STEPS = st.integers(-(2**63), 2**63 - 1)
_PAIRS = st.lists(st.tuples(_STEPS, st.floats(allow_nan=False)), min_size=1, max_size=30)


@given(_PAIRS)
def test_packing_keeps_the_last_value_of_every_step(pairs: list[tuple[int, float]]) -> None:
    curve = unpack(*pack([step for step, _ in pairs], [value for _, value in pairs]))
    assert dict(zip(curve.steps, curve.values, strict=True)) == dict(pairs)
    assert list(curve.steps) == sorted({step for step, _ in pairs})


def test_consecutive_steps_cost_nothing() -> None:
    first, steps, data = pack([3, 4, 5], [0.1, 0.2, 0.3])
    assert (first, steps, len(data)) == (3, None, 24)


def test_undefined_values_survive() -> None:
    assert math.isnan(unpack(*pack([1, 2], [1.0, math.nan])).values[1])


def test_narrow_rows_become_curves() -> None:
    rows = [(1, 1, 1, 0.5), (1, 1, 2, None), (1, 2, 7, 0.25), (2, 1, 1, 1.0)]
    found = [(attempt, key, list(curve.steps)) for attempt, key, curve in narrow(rows)]
    assert found == [(1, 1, [1, 2]), (1, 2, [7]), (2, 1, [1])]
    first = next(narrow(rows))[2]
    assert first.values[0] == pytest.approx(0.5) and math.isnan(first.values[1])
