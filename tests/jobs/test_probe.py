"""The facts of this very machine, and of one with a stand-in GPU; as they come over the wire: from a bare Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jobs.probe import probe

ROOT = Path(__file__).resolve().parents[2]


def test_the_facts_are_plain_json_and_true_here() -> None:
    facts = json.loads(json.dumps(probe()))
    assert facts["machine"] == os.uname().machine
    assert facts["cpus"] == len(os.sched_getaffinity(0))
    assert facts["memory_mb"] > 100
    assert abs(facts["clock"] - time.time()) < 60
    assert set(facts["disks"]) == {"home", "local"}
    assert facts["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def test_every_found_number_has_its_reason() -> None:
    facts = probe()
    assert all(facts["reasons"][name] for name in ("cpus", "memory_mb", "gpus"))


def test_a_gpu_is_among_the_facts(program: Callable[[str, str], Path]) -> None:
    program("nvidia-smi", "#!/bin/sh\necho '0, GPU-7, 580.10, 97871, 5, 0, 9.0, NVIDIA GH200 480GB'\n")
    (card,) = probe()["gpus"]
    assert (card["uuid"], card["memory_total_mb"], card["capability"]) == ("GPU-7", 97871, "9.0")


def test_it_needs_nothing_but_the_package_itself(hostile_path: Path) -> None:
    code = "import json, sys; sys.path[:0] = sys.argv[1:]; from jobs.probe import probe; print(json.dumps(probe()))"
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    told = subprocess.run(command, cwd=hostile_path, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["hostname"] == probe()["hostname"]
