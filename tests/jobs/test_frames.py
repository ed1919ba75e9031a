"""The bytes of requests."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest

from jobs import frames

JOBS: list[Any] = [{"id": f"{number:016x}", "label": f"n={number}", "text": "é" * 200} for number in range(20_000)]


def arrived(*sent: bytes) -> list[dict[str, Any]]:
    return list(frames.requests(io.BytesIO(b"".join(sent))))


@pytest.mark.parametrize("items", [[], [1], [{"é": [None, True]}, "x"], JOBS[:1000]])
def test_an_iterator_arrives_as_the_list_does(items: list[Any]) -> None:
    arguments = {"before": {"a": 1}, "items": items, "after": 2}
    whole = frames.request(1, "verb", arguments)
    piecewise = frames.request(1, "verb", {**arguments, "items": iter(items)})
    first, second = arrived(whole, piecewise)
    assert first == second == {"id": 1, "verb": "verb", "args": arguments}


def test_requests_of_all_kinds_follow_each_other() -> None:
    sent = [
        frames.request(1, "open", {}),
        frames.request(2, "take_piece", {"name": "a"}, b"z12\n+\n"),
        frames.request(3, "take_piece", {"name": "a"}, b""),
        frames.request(4, "submit", {"jobs": iter([1, 2])}),
        frames.request(5, "probe", {}),
    ]
    assert [one["args"] for one in arrived(*sent)] == [
        {}, {"name": "a", "data": b"z12\n+\n"}, {"name": "a", "data": b""}, {"jobs": [1, 2]}, {},
    ]  # fmt: skip


@pytest.mark.parametrize("said", [{"ok": {"a": [1, 2]}}, {"chunk": ["é", {"id": 9}]}, {"error": {}}])
def test_an_answer_says_for_what_it_is(said: dict[str, Any]) -> None:
    head, _, text = frames.answer(12, said).partition(b"\n")
    assert int(head) == len(text) and frames.answers(text) == 12
    assert json.loads(text) == {"id": 12, **said}


def test_many_items_cost_little_more_than_their_compressed_text() -> None:
    """20,000 jobs, 10 MB as text."""
    tracemalloc.start()
    sent = frames.request(1, "submit", {"jobs": (job for job in JOBS)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sent) < 1_000_000 and peak < 4_000_000
