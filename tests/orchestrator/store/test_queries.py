from __future__ import annotations

from typing import Any

from orchestrator.store import Index

A = "a" * 16


def test_attempts_come_with_their_files(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    rows = index.attempts("demo", A)
    assert [(row.number, row.counts, row.state) for row in rows] == [(1, False, "interrupted"), (2, True, "done")]
    assert rows[0].exit is None and rows[1].exit is not None and rows[1].exit["status"] == 0
    assert rows[1].spec is not None and rows[1].spec["label"] == "rotate/0"
    assert len(index.attempts()) == 5


def test_events_other_than_metrics(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    starts = index.events("demo", kind="start")
    assert [(row.job[0], row.attempt, row.body) for row in starts] == [
        ("a", 1, {"device": "cpu"}),
        ("a", 2, {"device": "cpu"}),
        ("b", 1, {"device": "cpu"}),
    ]
    assert index.events("demo", kind="metrics") == []


def test_the_worst_come_first_and_the_undefined_not_at_all(index: Index, reports: list[dict[str, Any]]) -> None:
    low = {"case": "c-3", "group": "p-3", "class": "duct", "dice": 0.1}
    reports[1]["cases"].append(low)
    index.ingest(reports)
    assert [row.case for row in index.worst("demo", 5)] == ["c-3", "c-1"]
    assert [row.case for row in index.worst("demo", 1)] == ["c-3"]
