from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import OrchError
from orchestrator.store import Index
from orchestrator.store.lock import writer

HOLD = """
import sys, pathlib, time
from orchestrator.store.lock import writer
with writer(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        yield child
        child.kill()


def test_a_second_writer_waits_then_says_who(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(OrchError) as caught, writer(tmp_path / "lock", wait=0.1):
        pass
    assert f"process {holder.pid} on " in caught.value.message
    assert "nothing is lost" in caught.value.hint


def test_a_killed_writer_frees_the_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    with writer(tmp_path / "lock", wait=10):
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()


INGEST = """
import json, sys, pathlib
from orchestrator.store import Index
first, reports = int(sys.argv[2]), json.loads(sys.argv[3])
with Index.open(pathlib.Path(sys.argv[1])) as index:
    for number in range(first, first + 20):
        index.ingest([{**reports[0], "job": f"{number:016x}"}])
"""


def test_four_programs_at_once_lose_nothing(tmp_path: Path, report: Callable[..., dict[str, Any]]) -> None:
    import json

    path = tmp_path / "state" / "index.db"  # all four race to make it
    text = json.dumps([report(events=[{"seq": 0, "kind": "note", "text": "x"}], offset=1)])
    started = time.monotonic()
    children = [
        subprocess.Popen([sys.executable, "-c", INGEST, str(path), str(100 * number), text]) for number in range(4)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    with Index.open(path) as index:
        assert len(index.jobs("demo")) == 80
    assert time.monotonic() - started < 60
