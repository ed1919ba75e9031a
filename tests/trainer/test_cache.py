"""A content-addressed folder: one builder, killed builders, damage, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.errors import DiskError
from trainer import cache

# Builds a folder `key` under argv[1]: notes each start in `starts`, and waits in the middle if argv[2] says so.
BUILDER = """
import os, sys, time
from pathlib import Path
from trainer import cache
root, wait = Path(sys.argv[1]), float(sys.argv[2])
def build(place):
    with open(root / "starts", "a") as handle:
        handle.write("x")
    (place / "half").write_text("half")
    time.sleep(wait)
    (place / "whole").write_text("whole")
    (place / "half").unlink()
print("ready", flush=True)
found = cache.obtain(root / "key", build, lambda folder: (folder / "whole").is_file())
print((found / "whole").read_text(), flush=True)
"""


def start(root: Path, wait: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-c", BUILDER, str(root), str(wait)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_eight_processes_build_once(hostile_path: Path) -> None:
    builders = [start(hostile_path, 0.2) for _ in range(8)]
    outputs = [builder.communicate(timeout=60) for builder in builders]
    assert outputs == [("ready\nwhole\n", "")] * 8
    assert (hostile_path / "starts").read_text() == "x"
    assert sorted(path.name for path in hostile_path.iterdir()) == ["key", "key.lock", "starts"]


def test_a_killed_builder_is_cleared_away_and_replaced(tmp_path: Path) -> None:
    """The first builder is killed in the middle, while two others wait for it: one of them takes over."""
    first = start(tmp_path, 60)
    wait_for(tmp_path / "starts")
    others = [start(tmp_path, 0) for _ in range(2)]
    for other in others:
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert [other.communicate(timeout=60)[0] for other in others] == ["whole\n"] * 2
    assert (tmp_path / "starts").read_text() == "xx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock", "starts"]


def build(place: Path) -> None:
    (place / "whole").write_text("new")


def whole(folder: Path) -> bool:
    return (folder / "whole").is_file()


def test_a_damaged_folder_is_built_anew(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "rest").write_text("old")
    cache.obtain(folder, build, whole)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_a_whole_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "whole").write_text("old")
    cache.obtain(folder, build, whole)
    assert (folder / "whole").read_text() == "old"


def test_only_the_owner_can_look(tmp_path: Path) -> None:
    folder = cache.obtain(tmp_path / "cache" / "key", build, whole)
    assert [path.stat().st_mode & 0o077 for path in (folder, folder.parent)] == [0, 0]


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.obtain(tmp_path / "key", fail, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(place: Path) -> None:
        (place / "big").symlink_to("/dev/full")
        (place / "big").write_bytes(bytes(1 << 20))

    with pytest.raises(DiskError, match="the disk is full") as caught:
        cache.obtain(tmp_path / "key", fill, whole)
    assert "free some space" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        cache.obtain(tmp_path / "file" / "key", build, whole)


def test_without_locks_the_first_name_wins(tmp_path: Path) -> None:
    """On a file system that refuses locks two builders may finish: the second one keeps the first one's folder."""
    folder = tmp_path / "key"

    def build_while_another_does(place: Path) -> None:
        build(place)
        folder.mkdir()
        (folder / "whole").write_text("first")

    cache.obtain(folder, build_while_another_does, whole)
    assert (folder / "whole").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock"]


def test_the_root_is_told_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.root() == Path(os.environ["HOME"]) / ".cache" / "orch"
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path))
    assert cache.root() == tmp_path
