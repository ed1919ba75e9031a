"""All faults together, in orders that nobody thought of (`machine`); `make soak` goes on for longer."""

from __future__ import annotations

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Host
from promises import SETTINGS

STEPS = 500
KINDS = 12  # of faults and figures in each part: Hypothesis leaves some out of each run on purpose


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_whatever_happens_nothing_is_lost_and_nothing_doubled(number: int) -> None:
    """Injected: 500 steps of a real host, more than half of them faults of 18 kinds, from a seed that stays the same.

    Lost: no job and no exit. Started twice: none.
    """
    Host.tally.clear()
    run_state_machine_as_test(seed(number)(Host), settings=settings(SETTINGS, max_examples=6, stateful_step_count=90))
    assert Host.tally["steps"] >= STEPS
    assert len(+Host.tally) >= KINDS
