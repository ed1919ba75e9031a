"""Counts, pace and what is left, from rows alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.progress import counts_text, duration, measure, shown_value
from orchestrator.store import JobRow


def row(number: int, state: str, **more: Any) -> JobRow:
    """A job's row; `step` and `values` are its newest."""
    newest = json.dumps({"step": more.pop("step", 1), "values": more.pop("values")}) if "values" in more else None
    plain: dict[str, Any] = {"names": {}, "position": number, "attempts": 1, "counted": 0, "reason": "", "warning": ""}
    plain |= {"host": "here", "known_state": "", "event_t": None, "newest": newest}
    return JobRow(**{"sweep": "s", "id": f"{number:016x}", "label": f"r/{number}", "state": state, **plain, **more})


def test_counts_come_in_the_order_people_read_them() -> None:
    rows = [row(n, state) for n, state in enumerate(["failed", "queued", "done", "running", "done", "planned"])]
    now = measure(rows, None, {})
    assert counts_text(now.counts) == "2 done · 1 running · 1 queued · 1 planned · 1 failed"
    assert (now.total, now.ended, now.over) == (6, 3, False)
    assert [one.label for one in now.running] == ["r/3"]
    assert [one.label for one in now.troubled] == ["r/0"]


@pytest.mark.parametrize(
    ("states", "over"),
    [
        ([], True),
        (["done"], True),
        (["done", "failed", "stopped", "interrupted"], True),
        (["unreachable"], True),
        (["planned"], True),
        (["done", "queued"], False),
        (["done", "running"], False),
    ],
)
def test_it_is_over_when_nothing_runs_or_waits(states: list[str], over: bool) -> None:
    assert measure([row(n, state) for n, state in enumerate(states)], None, {}).over is over


def test_a_cell_that_left_the_sweep_is_not_counted() -> None:
    assert measure([row(0, "failed", position=None), row(1, "done")], None, {}).counts == {"done": 1}


def test_the_time_left_follows_from_the_jobs_that_have_ended() -> None:
    rows = [row(0, "done"), row(1, "done"), row(2, "running"), row(3, "running"), *(row(n, "queued") for n in (4, 5))]
    now = measure(rows, None, {rows[0].id: 50.0, rows[1].id: 70.0})
    assert now.per_minute == pytest.approx(2.0)  # two side by side, 60 s each
    assert now.left == pytest.approx(120.0)


def test_steps_that_are_done_shorten_it() -> None:
    rows = [row(0, "done"), row(1, "running", step=5, values={}), row(2, "running", step=20, values={})]
    now = measure(rows, None, {rows[0].id: 100.0}, steps=10)
    assert now.left == pytest.approx(25.0)  # half a job and none, two side by side


def test_nothing_is_guessed_before_the_first_end() -> None:
    now = measure([row(0, "running"), row(1, "queued")], None, {})
    assert (now.per_minute, now.left) == (None, None)
    now = measure([row(0, "done")], None, {"x": 3.0})
    assert (now.per_minute, now.left) == (None, None)
    now = measure([row(0, "done"), row(1, "running")], None, {"x": 0.0})
    assert now.per_minute is None


def test_the_best_so_far() -> None:
    rows = [row(0, "running", values={"val_dice": 0.5}), row(1, "done", values={"val_dice": 0.75, "dice": 0.9})]
    assert measure(rows, "dice", {}).best == (0.75, "r/1")
    assert measure(rows, None, {}).best is None
    assert measure([row(0, "running", values={"val_dice": None})], "dice", {}).best is None


def test_the_value_that_people_watch() -> None:
    assert shown_value({"val_dice": 0.5, "dice": 0.4}, "dice") == 0.5
    assert shown_value({"dice": 1}, "dice") == 1.0
    assert shown_value({"dice": None}, "dice") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00"),
        (245, "4 min 05"),
        (3600, "1 h 00"),
        (13200, "3 h 40"),
    ],
)
def test_time_spans_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_no_jobs_at_all() -> None:
    assert counts_text(measure([], None, {}).counts) == "no jobs"
