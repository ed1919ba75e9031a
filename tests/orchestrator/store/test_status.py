from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.output import Output
from orchestrator.cli.status import _show
from orchestrator.config import Settings
from orchestrator.naming import Names
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


def _many(index: Index, count: int) -> None:
    for number in range(count):
        project = {"id": f"p{number}", "declared": False, "name": "liver", "folders": [f"/nowhere/{number}"]}
        cells = [{"id": f"{number:08}{job:08}", "label": f"n={job}", "names": {"n": job}} for job in range(10)]
        about = {"title": "augmentations", "project": project, "created": "2026-01-01T00:00:00Z", "metric": "dice"}
        index.record_sweep({"contract": 1, "name": f"s{number}", "cells": cells, **about})


def _effort(index: Index) -> tuple[int, int, int, int]:
    """What `orch status` of all takes: queries, files opened, steps of SQLite (in hundreds), calls in Python."""
    steps, calls, opened = [0], [0], [0]
    queries: list[str] = []

    def step() -> None:
        steps[0] += 1

    def call(frame: object, event: str, argument: object) -> None:
        calls[0] += event == "call"
        opened[0] += event == "c_call" and argument in (open, os.open)

    index._connection.set_progress_handler(step, 100)
    index._connection.set_trace_callback(queries.append)
    sys.setprofile(call)
    try:
        names = Names.of(index, Settings({}, {}, Path("/")))
        _show(index, names, Namespace(sweep=None, all=True, jobs=False), Output())
    finally:
        sys.setprofile(None)
        index._connection.set_trace_callback(None)
        index._connection.set_progress_handler(None, 0)
    return len(queries), opened[0], steps[0], calls[0]


def test_showing_all_sweeps_costs_as_many_times_more_as_there_are_more(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    """No clock: queries and files are as many; steps of SQLite and calls in Python grow as the sweeps do.

    All sweeps have one title, in projects of one name.
    """
    _many(index, 20)
    few = _effort(index)
    _many(index, 160)
    many = _effort(index)
    assert capsys.readouterr().out.count("10 jobs: 10 planned") == 20 + 160
    assert many[:2] == few[:2] and few[0] < 20
    assert all(after <= 8 * 1.5 * before for after, before in zip(many[2:], few[2:], strict=True))


@pytest.mark.parametrize("metric", [["dice"], {"dice": 1}, 7, True, None])
def test_a_record_whose_metric_is_no_name_hides_no_other_sweep(
    index: Index, capsys: pytest.CaptureFixture[str], metric: object
) -> None:
    """Injected: one of three records, as a host may tell it. Hidden: nothing."""
    _many(index, 3)
    row = index.sweep("s1")
    index.record_sweep({**row.record, "metric": metric})
    _effort(index)
    assert capsys.readouterr().out.count("10 jobs: 10 planned") == 3
