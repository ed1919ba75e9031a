"""Ten lines that give any program curves and tables; the example of docs/contract.md is run as it stands there."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from local_host import LocalHost, sh

from jobs.events import read
from jobs.folder import RunFolder
from jobs.handin import Run
from jobs.results import read_cases, read_result

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    """Return the contract's example in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", CONTRACT, re.DOTALL)
    return str(found)


def test_the_example_in_python(host: LocalHost) -> None:
    program = host.work / "train.py"
    program.write_text(example("python"))
    job = host.job("a", (sys.executable, str(program)), env={"PYTHONPATH": str(ROOT)})
    report = host.run(job)
    assert report["verdict"] == {"state": "done", "reason": "result handed in", "warning": ""}, host.log(job)
    assert report["result"]["values"] == {"dice": 0.87}
    assert report["cases"][0]["case"] == "c-3fa90b12"
    assert [event["step"] for event in report["events"] if event["kind"] == "metrics"] == list(range(1, 11))


def test_the_example_in_shell(host: LocalHost) -> None:
    job = host.job("a", sh(example("sh")))
    report = host.run(job)
    assert report["verdict"] == {"state": "done", "reason": "result handed in", "warning": ""}, host.log(job)
    assert report["result"]["values"] == {"dice": 0.87}
    assert [(event["seq"], event["kind"]) for event in report["events"]] == [(0, "metrics"), (1, "metrics")]


def test_the_example_runs_outside_of_orch_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", example("python")]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_hands_in_events_scores_and_a_result(hostile_path: Path) -> None:
    run = Run(str(hostile_path))
    run.metrics(1, loss=math.nan)
    run.finish(cases=[{"case": "c-1", "dice": math.inf}], dice=math.nan, epochs=3)
    folder = RunFolder(str(hostile_path))
    assert read(folder.events).events[0]["values"] == {"loss": None}
    word, result = read_result(folder)
    assert (word, (result or {})["values"]) == ("valid", {"dice": None, "epochs": 3})
    assert read_cases(folder) == [{"case": "c-1", "dice": None}]
    assert set((result or {})["files"]) == {"cases.json"}
    assert {path.name for path in hostile_path.iterdir()} == {"events.jsonl", "cases.json", "result.json"}


def test_a_stop_is_heard_by_file_and_by_signal(hostile_path: Path) -> None:
    run = Run(str(hostile_path))
    assert not run.stop_requested()
    (hostile_path / "stop").write_text(json.dumps({"at": 1}))
    assert run.stop_requested()
    other = Run(str(hostile_path / "..") + "/")
    before = signal.getsignal(signal.SIGTERM)
    try:
        other.catch_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)
        assert other.stop_requested()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_environment_names_the_run_folder(hostile_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Run().folder is None
    monkeypatch.setenv("ORCH_RUN", str(hostile_path))
    assert Run().folder == RunFolder(str(hostile_path))
