"""Courtesy in words and rules: quiet hours, who is in the way, what may be used. Pure."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.courtesy import Neighbour, Wishes, crowd, need_of, preferred, quiet_until, refusal, window
from jobs.gpu import Card

CARD = Card(0, "GPU-0", "NVIDIA A10", "545.23.08", 23028, 200)
NOON = time.mktime((2026, 11, 25, 12, 0, 0, 0, 0, -1))


def at(text: str) -> datetime.datetime:
    """A time of the week of Monday, 23 November 2026: `wed 08:00`."""
    day, clock = text.split()
    number = ("mon", "tue", "wed", "thu", "fri", "sat", "sun").index(day)
    return datetime.datetime.fromisoformat(f"2026-11-{23 + number} {clock}")


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        (["08:00-19:00"], "wed 07:59", None),
        (["08:00-19:00"], "wed 08:00", "wed 19:00"),
        (["08:00-19:00"], "wed 18:59", "wed 19:00"),
        (["08:00-19:00"], "wed 19:00", None),
        (["22:00-06:30"], "wed 23:00", "thu 06:30"),
        (["22:00-06:30"], "wed 06:29", "wed 06:30"),
        (["22:00-06:30"], "wed 06:30", None),
        (["mon-fri 08:00-19:00"], "sat 09:00", None),
        (["mon-fri 08:00-19:00"], "fri 09:00", "fri 19:00"),
        (["fri 22:00-06:00"], "sat 05:00", "sat 06:00"),
        (["fri 22:00-06:00"], "fri 05:00", None),
        (["sat-sun 00:00-24:00"], "sat 00:00", "mon 00:00"),
        (["fri-mon 10:00-11:00"], "sun 10:30", "sun 11:00"),
        (["fri-mon 10:00-11:00"], "tue 10:30", None),
        (["08:00-12:00", "12:00-18:00"], "tue 09:00", "tue 18:00"),
        (["12:00-18:00", "08:00-12:00"], "tue 09:00", "tue 18:00"),
        (["tea time", "08:00-12:00"], "tue 09:00", "tue 12:00"),
        ([], "tue 09:00", None),
    ],
)
def test_quiet_hours_begin_and_end(hours: list[str], now: str, end: str | None) -> None:
    expected = at(end) if end else None
    if end and expected and expected < at(now):
        expected += datetime.timedelta(days=7)
    assert quiet_until(hours, at(now)) == expected


@pytest.mark.parametrize(
    "text", ["", "8-19", "08:00", "08:00-08:00", "24:00-08:00", "08:00-24:30", "25:00-26:00", "day 08:00-09:00"]
)
def test_what_is_no_time_is_no_window(text: str) -> None:
    assert window(text) is None


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 7 * 1440 - 1))
def test_a_minute_is_quiet_exactly_when_it_lies_between_start_and_end(start: int, end: int, minute: int) -> None:
    text = f"{start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}"
    now = datetime.datetime(2026, 11, 23) + datetime.timedelta(minutes=minute)
    inside = start <= minute % 1440 < end if start < end else start != end and not end <= minute % 1440 < start
    until = quiet_until([text], now)
    assert (until is not None) == inside
    assert until is None or (until > now and (until.hour * 60 + until.minute) == end)


def bob(memory: int | None = 9318, since: float | None = None, **more: Any) -> Neighbour:
    return Neighbour("bob", 123, "python", memory, since, **more)


def test_who_is_in_the_way_is_named() -> None:
    assert crowd(CARD, [bob(since=NOON)], 500, NOON) == "GPU 0 is used by bob (9.1 GB, python, pid 123) since 12:00"
    assert "since 24 Nov 12:00" in crowd(CARD, [bob(since=NOON - 86400)], 500, NOON)
    hidden = Neighbour(None, 7, "abaqus", None)
    assert crowd(CARD, [hidden], 500, NOON) == (
        "GPU 0 is used by somebody whose name is hidden (memory unknown, abaqus, pid 7)"
    )
    four = [bob(memory) for memory in (600, 700, 800, 900)]
    assert crowd(CARD, four, 500, NOON).endswith("bob (700 MB, python, pid 123) and 1 more")
    assert "you, outside of orch, (9.1 GB" in crowd(CARD, [bob(ours=True)], 500, NOON)


@pytest.mark.parametrize(
    ("neighbours", "hidden", "need", "words"),
    [
        ([], 200, 0, ""),
        ([bob(400)], 0, 0, ""),
        ([bob(400), bob(400)], 0, 0, "is used by bob"),
        ([bob(None)], 0, 0, "memory unknown"),
        ([bob(400)], 200, 0, "600 MB in use by processes that nvidia-smi does not name, or names with little"),
        ([], 9000, 0, "GPU 0 has 8.8 GB in use by processes that nvidia-smi does not name"),
        ([], 200, 22829, "GPU 0 has 22.3 GB free, 22.3 GB are needed"),
        ([], 200, 22828, ""),
    ],
)
def test_a_card_is_used_only_while_others_hold_little_of_it(
    neighbours: list[Neighbour], hidden: int, need: int, words: str
) -> None:
    found = refusal(CARD, neighbours, hidden, Wishes(), need, NOON)
    assert words in found
    assert bool(words) == bool(found)


def test_what_a_job_needs_and_what_the_site_wants_free_both_count() -> None:
    assert "20.0 GB are needed" in refusal(CARD._replace(memory_used_mb=9000), [], 0, Wishes(9000, 20480), 4000, NOON)
    assert refusal(CARD._replace(memory_used_mb=None), [], 0, Wishes(free_mb=20480), 4000, NOON) == ""


def test_the_preferred_card_comes_first() -> None:
    cards = [CARD._replace(index=index) for index in (0, 1, 2)]
    assert [card.index for card in preferred(cards, (2, 7))] == [2, 0, 1]
    assert [card.index for card in preferred(cards, ())] == [0, 1, 2]


def test_what_the_host_keeps_is_read_with_care() -> None:
    assert Wishes.from_json(None) == Wishes()
    assert Wishes.from_json({"foreign_mb": -1, "free_mb": True, "prefer": "x", "quiet_hours": ["soon"]}) == Wishes()
    said = {"foreign_mb": 100, "prefer": [1, 0], "quiet_hours": ["08:00-19:00"], "unknown": 3}
    assert Wishes.from_json(said) == Wishes(100, prefer=(1, 0), quiet_hours=("08:00-19:00",))
    assert [need_of({"gpu_memory_mb": value}) for value in (None, 0, -1, True, "x", 4096)] == [0, 0, 0, 0, 0, 4096]
