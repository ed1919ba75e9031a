"""Disks put to the test: this machine's, a full one, a read-only one, one that other programs hold."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_host import fill

from jobs import disktest


def test_a_good_disk(hostile_path: Path) -> None:
    assert disktest.locks(str(hostile_path)) == {"flock": None, "lockf": None, "excludes": True}
    assert disktest.skew(str(hostile_path)) == 0.0
    found = disktest.write(str(hostile_path), 1 << 20)
    assert (found["files"], found["bytes"], found["error"]) == (16, 4 << 20, None)
    assert found["seconds"] > 0 and found["folder"] == str(hostile_path)
    assert disktest.room(str(hostile_path))["free_bytes"] > 0
    assert list(hostile_path.iterdir()) == []


def test_a_folder_that_is_not_there_yet_stands_for_its_parent(tmp_path: Path) -> None:
    assert disktest.nearest(str(tmp_path / "a/b/c")) == str(tmp_path)
    assert disktest.write(str(tmp_path / "a/b"), 0)["error"] is None
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_so_and_keeps_nothing(small_disk: Path) -> None:
    found = disktest.write(str(small_disk), 0)
    assert (found["errno"], found["files"]) == ("ENOSPC", 16), "the small files fit, 4 MiB do not"
    assert list(small_disk.iterdir()) == []
    fill(small_disk / "ballast")
    assert disktest.write(str(small_disk), 0)["errno"] == "ENOSPC"


def test_a_read_only_disk_says_so(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = disktest.write(str(small_disk), 0)
    assert (found["errno"], found["files"]) == ("EROFS", 0)
    assert disktest.room(str(small_disk))["read_only"]


def test_more_than_there_is_is_refused(tmp_path: Path) -> None:
    if disktest.disk(str(tmp_path)).kind != "ext4":
        pytest.skip("whether space can be asked for depends on the file system; ext4 can")
    assert disktest.write(str(tmp_path), 1 << 20)["reserved"] is True
    assert disktest.write(str(tmp_path), 1 << 44)["reserved"] is False
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_probe_left_is_taken_away_later(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("new", 60)):
        folder = tmp_path / (disktest.PROBE + name)
        folder.mkdir()
        os.utime(folder, (time.time() - age,) * 2)
    disktest.write(str(tmp_path), 0)
    assert [path.name for path in tmp_path.iterdir()] == [disktest.PROBE + "new"]


def test_quotas_are_read_as_the_program_tells_them(program: Callable[[str, str], Path]) -> None:
    lines = "Disk quotas for user me (uid 7):\\nFilesystem blocks quota limit grace files quota limit grace\\n"
    lines += "srv:/home 195312500* 180000000 200000000 1795415676 812345 0 0 0\\n/dev/x none\\n"
    program("quota", f"#!/bin/sh\nprintf '{lines}'\nexit 1\n")
    (row,) = disktest.quota() or []
    assert row["path"] == "srv:/home" and row["used_bytes"] == 195312500 << 10
    assert row["limit_bytes"] == 200000000 << 10 and row["used_files"] == 812345 and row["limit_files"] is None


def test_no_quota_program_is_no_quota_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert disktest.quota() is None
