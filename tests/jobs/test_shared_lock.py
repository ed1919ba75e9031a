"""The lock for files that several hosts share: real processes, killed holders, dated folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import host
from jobs.errors import DiskError, OrchError
from jobs.shared_lock import owner, shared_lock

ROOT = Path(__file__).resolve().parents[2]
COUNT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from jobs.shared_lock import shared_lock
for _ in range(20):
    with shared_lock(sys.argv[2] + "/lock", wait=60):
        with open(sys.argv[2] + "/count") as handle:
            number = int(handle.read())
        time.sleep(0.001)
        with open(sys.argv[2] + "/count", "w") as handle:
            handle.write(str(number + 1))
"""
HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from jobs.shared_lock import shared_lock
with shared_lock(sys.argv[2] + "/lock"):
    print("held", flush=True)
    time.sleep(60)
"""


def apart(code: str, folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-B", "-c", code, str(ROOT), str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE)


def test_it_is_held_and_freed(hostile_path: Path) -> None:
    lock = str(hostile_path / "lock")
    with shared_lock(lock):
        assert (owner(lock) or {})["pid"] == os.getpid()
        with pytest.raises(OrchError, match=f"process {os.getpid()} on") as caught, shared_lock(lock, wait=0):
            pass
        assert lock in caught.value.hint
    assert list(hostile_path.iterdir()) == []


def test_four_at_once_lose_no_count(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    running = [apart(COUNT, tmp_path) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (tmp_path / "count").read_text() == "80"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]
    for process in running:
        process.stdout.close()  # type: ignore[union-attr]


def test_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    process = apart(HOLD, tmp_path)
    assert process.stdout and process.stdout.readline() == b"held\n"
    with pytest.raises(OrchError), shared_lock(str(tmp_path / "lock"), wait=0.2):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with shared_lock(str(tmp_path / "lock"), wait=0):
        pass


@pytest.mark.parametrize(("age", "taken"), [(60, False), (3600, True)])
def test_a_holder_on_another_host_is_judged_by_age(tmp_path: Path, age: float, taken: bool) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    about = {"host": "grace", "boot_id": "x", "pid": 1, "start_time": 1, "token": "t"}
    (lock / "owner.json").write_text(json.dumps(about))
    os.utime(lock, (time.time() - age,) * 2)
    if taken:
        with shared_lock(str(lock), wait=0):
            assert (owner(str(lock)) or {})["host"] == host.name()
    else:
        with pytest.raises(OrchError, match="process 1 on grace"), shared_lock(str(lock), wait=0.1):
            pass
        assert (owner(str(lock)) or {})["host"] == "grace"


def test_a_holder_before_the_last_boot_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.mkdir()
    about = {"host": host.name(), "boot_id": "another", "pid": os.getpid(), "start_time": 1, "token": "t"}
    (lock / "owner.json").write_text(json.dumps(about))
    with shared_lock(str(lock), wait=0):
        pass


def test_another_machine_of_our_name_is_judged_by_age(tmp_path: Path) -> None:
    """Injected: two machines with one name; its boot is another one, and no process here has its number."""
    lock = tmp_path / "lock"
    lock.mkdir()
    about = {"host": host.name(), "machine": "0" * 16, "boot_id": "another", "pid": 1, "start_time": 1, "token": "t"}
    (lock / "owner.json").write_text(json.dumps(about))
    with pytest.raises(OrchError, match="process 1 on"), shared_lock(str(lock), wait=0.1):
        pass
    assert (owner(str(lock)) or {})["machine"] == "0" * 16


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write"), shared_lock(str(tmp_path / "none/lock")):
        pass
