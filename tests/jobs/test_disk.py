"""The file system under a path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.disk import Disk, disk


def test_the_root_has_a_type_and_free_bytes() -> None:
    found = disk("/")
    assert found.kind
    assert found.free_bytes is not None and 0 < found.free_bytes <= shutil.disk_usage("/").total


def test_a_folder_yet_to_be_made_is_judged_by_its_parent(hostile_path: Path) -> None:
    there, later = disk(hostile_path), disk(hostile_path / "not" / "yet")
    assert (later.kind, later.total_bytes) == (there.kind, there.total_bytes)
    assert later.path.endswith("yet")


def test_another_mount_is_seen() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no proc here")
    assert disk("/proc/self/status").kind == "proc"


@pytest.mark.parametrize(("kind", "network"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False), (None, False)])
def test_network_file_systems_are_known_by_type(kind: str | None, network: bool) -> None:
    assert Disk("/x", kind, 1, 1).on_network is network
