from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.store import Index, compare

A, B, C = "a" * 16, "b" * 16, "c" * 16
Make = Callable[..., dict[str, Any]]


def record(*cells: tuple[str, str]) -> dict[str, Any]:
    listed = [{"id": uid, "label": label, "names": {"strategy": label}} for uid, label in cells]
    return {"contract": 1, "name": "demo", "created": "2026-01-01T00:00:00Z", "cells": listed}


def test_cells_without_an_attempt_are_planned(index: Index) -> None:
    index.record_sweep(record((B, "second"), (A, "first")))
    assert [(job.label, job.state, job.position) for job in index.jobs("demo")] == [
        ("second", "planned", 0),
        ("first", "planned", 1),
    ]


def test_a_cell_that_left_the_sweep_keeps_its_attempts(index: Index, report: Make) -> None:
    index.record_sweep(record((A, "renamed"), (B, "gone")))
    index.ingest([report(A, label="rotate/0")])
    index.record_sweep(record((C, "new")))
    assert [(job.label, job.position) for job in index.jobs("demo")] == [("new", 0), ("rotate/0", None)]


def test_record_and_reports_may_come_in_either_order(tmp_path: Path, report: Make) -> None:
    with Index.open(tmp_path / "1.db") as first, Index.open(tmp_path / "2.db") as second:
        first.record_sweep(record((A, "named")))
        first.ingest([report(A), report(B, label="rotate/1")])
        second.ingest([report(B, label="rotate/1"), report(A)])
        second.record_sweep(record((A, "named")))
        assert compare(first.content(), second.content()) == []


def test_the_journal_is_read_once(index: Index) -> None:
    lines = [
        {"seq": 0, "t": 1.0, "sweep": "demo", "job": A, "kind": "note", "text": "bad coil"},
        {"seq": 1, "t": 2.0, "sweep": "demo", "job": None, "kind": "tag", "text": "paper"},
    ]
    assert index.ingest_journal(lines, 100) == 2
    assert index.ingest_journal(lines, 100) == 0
    assert index.ingest_journal([], 50) == 0
    assert index.journal_offset() == 100
    assert [(row.kind, row.text) for row in index.journal("demo")] == [("note", "bad coil"), ("tag", "paper")]
    assert [row.text for row in index.journal("demo", A)] == ["bad coil"]


def test_the_newest_sight_of_a_host_stays(index: Index) -> None:
    index.seen("grace", 20.0)
    index.seen("grace", 10.0)
    assert index.hosts_seen() == {"grace": 20.0}
