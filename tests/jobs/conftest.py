"""Hosts, folders and small disks for the tests of jobs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_host import LocalHost, make_home

from jobs.folder import HostFolder, RunFolder


@pytest.fixture
def host(hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    """A wire to a local agent; its home lies on a hostile path. All processes of it are ended afterwards."""
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    found = LocalHost(hostile_path / "home", tmp_path / "local", tmp_path / "work")
    yield found
    found.close()


@pytest.fixture
def local(tmp_path: Path) -> HostFolder:
    """A host-local folder."""
    path = tmp_path / "local" / "orch-0" / "home-id"
    path.mkdir(parents=True)
    return HostFolder(str(path))


@pytest.fixture
def folder(hostile_path: Path, local: HostFolder) -> RunFolder:
    """A run folder that does not exist yet, in the home of `local`."""
    return make_home(hostile_path, local).attempt("s", "0123456789abcdef", 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 1 MiB, really mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)]
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("needs root to mount a small disk: sudo .venv/bin/python -m pytest tests/jobs -k disk")
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def open_program(open_ground: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a program first in PATH that every user can run."""
    folder = open_ground / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])

    def place(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return place
