"""Reports as agents send them, and an index to put them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Index

Report = dict[str, Any]


def _metrics(seq: int, step: int, **values: float | None) -> dict[str, Any]:
    return {"seq": seq, "t": 1000.0 + seq, "kind": "metrics", "step": step, "values": values}


def _report(job: str = "a" * 16, attempt: int = 1, state: str = "running", **more: Any) -> Report:
    label = more.pop("label", "rotate/0")
    return {
        "host": "local",
        "sweep": more.pop("sweep", "demo"),
        "job": job,
        "attempt": attempt,
        "spec": {"label": label, "names": {"strategy": label.split("/")[0], "fold": int(label.split("/")[1])}},
        "verdict": {"state": state, "reason": "because", "warning": more.pop("warning", "")},
        "events": [],
        "offset": 0,
        **more,
    }


@pytest.fixture
def metrics() -> Callable[..., dict[str, Any]]:
    """Make one metrics event: `metrics(seq, step, train_loss=0.5)`."""
    return _metrics


@pytest.fixture
def report() -> Callable[..., Report]:
    """Make one attempt's report: `report(job, attempt, state, events=[...], offset=100)`."""
    return _report


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "state" / "index.db") as opened:
        yield opened


@pytest.fixture
def reports(report: Callable[..., Report], metrics: Callable[..., dict[str, Any]]) -> list[Report]:
    """A small sweep in the middle of its life: a retried job, a running one, one that waits, one that failed."""
    done = {"values": {"dice": 0.9, "dice/duct": 0.9, "slice_dice": None, "word": "no number", "flag": True}}
    row = {"case": "c-1", "group": "p-1", "class": "duct", "status": "ok", "dice": 0.9, "slice_dice": 0.95, "tp": 10}
    empty = {**row, "case": "c-2", "status": "undefined_empty_ref", "dice": None}
    start = {"seq": 0, "t": 999.0, "kind": "start", "device": "cpu"}
    curve = [start, *(metrics(n, n, train_loss=1.0 / n, val_dice=None if n == 2 else n / 10) for n in range(1, 6))]
    ended = {"status": 0, "host": "local", "started": 1.0, "ended": 9.0, "files": {"result.json": "ab" * 32}}
    return [
        report("a" * 16, 1, "interrupted", events=curve[:3], offset=300),
        report("a" * 16, 2, "done", events=curve, offset=600, result=done, exit=ended, cases=[row, empty]),
        report("b" * 16, 1, "running", label="rotate/1", events=curve[:4], offset=400),
        report("c" * 16, 1, "queued", label="rotate/2"),
        report("d" * 16, 1, "failed", label="rotate/3", exit={**ended, "status": 1}),
    ]
