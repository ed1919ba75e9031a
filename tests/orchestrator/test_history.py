"""How long jobs took on each host: medians of what the index knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import history
from orchestrator.store import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index.db") as opened:
        yield opened


def ended(number: int, host: str, seconds: float, step: float | None = None, sweep: str = "s") -> dict[str, object]:
    program = "trainer" if step else "command"
    return {
        "host": host,
        "sweep": sweep,
        "job": f"{number:016x}",
        "attempt": 1,
        "spec": {"label": str(number), "names": {}, "cell": {"program": program}},
        "verdict": {"state": "done", "reason": "", "warning": ""},
        "exit": {"status": 0, "started": 100.0, "ended": 100.0 + seconds},
        "events": [{"seq": 0, "t": 1.0, "kind": "metrics", "step": 1, "values": {"seconds": step}}] if step else [],
        "offset": 1,
    }


def test_commands_by_the_same_sweep_only(index: Index) -> None:
    index.ingest([ended(0, "grace", 2.0), ended(1, "grace", 4.0), ended(2, "grace", 60.0), ended(3, "ada", 8.0)])
    index.ingest([ended(4, "nodal", 1.0, sweep="other")])
    assert history.seconds_per_job(index, "s", "command", None) == {"grace": 4.0, "ada": 8.0}
    assert history.seconds_per_job(index, "new", "command", None) == {}


def test_trainings_by_the_pace_of_any_sweep(index: Index) -> None:
    index.ingest([ended(0, "grace", 30.0, step=3.0, sweep="before"), ended(1, "nodal", 90.0, step=9.0, sweep="before")])
    assert history.seconds_per_job(index, "new", "trainer", 50) == {"grace": 150.0, "nodal": 450.0}


def test_old_times_are_forgotten(index: Index) -> None:
    slow = [ended(number, "grace", 100.0) for number in range(history.ENOUGH)]
    fast = [ended(number, "grace", 1.0) for number in range(history.ENOUGH, 2 * history.ENOUGH)]
    index.ingest([*slow, *fast])
    assert history.seconds_per_job(index, "s", "command", None) == {"grace": 1.0}
