from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.store import Index

USE = """
import pathlib, sys
from orchestrator.store import Index
with Index.open(pathlib.Path(sys.argv[1])) as index:
    index.jobs(), index.sweeps(), index.offsets(), index.ingest([])
heavy = {"sqlalchemy", "pandas", "numpy", "matplotlib", "jinja2"} & set(sys.modules)
raise SystemExit(f"imported {heavy}" if heavy else 0)
"""


def test_quick_reads_import_nothing_heavy(tmp_path: Path) -> None:
    for _ in range(2):  # made, then found
        subprocess.run([sys.executable, "-c", USE, str(tmp_path / "index.db")], check=True)


def test_jobs_as_status_shows_them(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    retried, running, waiting, failed = index.jobs("demo")
    assert (retried.state, retried.attempts, retried.counted) == ("done", 2, 2)
    assert (running.step, running.values["train_loss"], running.event_t) == (3, 1 / 3, 1003.0)
    assert (waiting.state, waiting.step, waiting.values) == ("queued", None, {})
    assert (failed.state, failed.reason, failed.label) == ("failed", "because", "rotate/3")
    assert failed.names == {"strategy": "rotate", "fold": 3}
    assert index.jobs() == index.jobs("demo")
    assert index.jobs("other") == []


def test_curves_of_one_job(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    everything, one = index.metrics("demo"), index.metrics("demo", "b" * 16)
    assert set(one) == {("b" * 16, 1)}
    assert one["b" * 16, 1]["train_loss"] == everything["b" * 16, 1]["train_loss"]
    assert set(everything) == {("a" * 16, 1), ("a" * 16, 2), ("b" * 16, 1)}
