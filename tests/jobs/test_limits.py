"""Cores and memory that may be used: control groups of both versions, as files that a kernel would show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs import limits


def groups(tmp_path: Path, line: str, files: dict[str, str]) -> tuple[str, str]:
    """Write a process's group list and a tree of limit files; return the two paths that `limits` takes."""
    listing = tmp_path / "cgroup"
    listing.write_text(line + "\n", encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return str(listing), str(tmp_path / "mount")


def test_no_group_leaves_what_affinity_allows(tmp_path: Path) -> None:
    found = limits.cpus(*groups(tmp_path, "0::/user", {"user/cpu.max": "max 100000"}))
    assert found.value == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/user/job", {"user/job/cpu.max": "100000 100000"}),
        ("0::/user/job", {"user/cpu.max": "150000 100000", "user/job/cpu.max": "max 100000"}),
        ("0::/", {"cpu.max": "50000 100000"}),
        ("4:cpu,cpuacct:/job", {"cpu,cpuacct/job/cpu.cfs_quota_us": "100000"}),
    ],
)
def test_the_least_quota_on_the_way_up_counts(tmp_path: Path, line: str, files: dict[str, str]) -> None:
    found = limits.cpus(*groups(tmp_path, line, files))
    assert found.value == 1
    if len(os.sched_getaffinity(0)) > 1:
        assert "control group" in found.reason


def test_memory_of_the_group_wins_when_it_is_less(tmp_path: Path) -> None:
    found = limits.memory_mb(*groups(tmp_path, "0::/a", {"a/memory.max": str(64 << 20)}))
    assert found == limits.Limit(64, "the control group allows no more")


def test_memory_of_the_machine_wins_over_no_limit(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:        2048 kB\nMemFree:  1 kB\n", encoding="utf-8")
    paths = groups(tmp_path, "5:memory:/a", {"memory/a/memory.limit_in_bytes": "9223372036854771712"})
    assert limits.memory_mb(*paths, str(info)) == limits.Limit(2, "all of the machine")


def test_a_system_that_tells_nothing_gives_none_and_says_so(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert limits.memory_mb(nowhere, nowhere, nowhere) == limits.Limit(None, "this system does not tell")
