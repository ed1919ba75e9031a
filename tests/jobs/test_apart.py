"""Measurements in forked children: values, errors, one that hangs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from jobs.apart import side_by_side


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_values_errors_and_one_that_hangs() -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    def wrong() -> None:
        raise ValueError("no")

    tasks = {
        "value": lambda: {"a": [1, None, "é"]},
        "large": lambda: "x" * 300_000,
        "full": full,
        "wrong": wrong,
        "gone": lambda: os._exit(0),
        "hangs": lambda: time.sleep(60),
    }
    started = time.monotonic()
    found = side_by_side(tasks, 1.5)
    assert time.monotonic() - started < 6
    assert found["value"]["value"] == {"a": [1, None, "é"]} and found["value"]["seconds"] >= 0
    assert len(found["large"]["value"]) == 300_000
    assert found["full"] == {"error": "No space left on device", "errno": "ENOSPC"}
    assert found["wrong"]["error"] == "ValueError: no"
    assert found["gone"]["error"] == "the measuring process was ended"
    assert found["hangs"] == {"error": "no answer within 1.5 s", "errno": "ETIMEDOUT"}


def test_they_run_side_by_side_and_leave_nothing() -> None:
    before = open_files()
    started = time.monotonic()
    side_by_side({str(number): lambda: time.sleep(0.5) for number in range(8)}, 10)
    assert time.monotonic() - started < 3.0
    assert open_files() == before


def test_what_a_hanging_one_started_is_ended_with_it() -> None:
    side_by_side({"hangs": lambda: subprocess.run(["sleep", "61.25"], check=False)}, 0.5)
    time.sleep(0.2)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
    assert "sleep 61.25" not in listed.splitlines()
