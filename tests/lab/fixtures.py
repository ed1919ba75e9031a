"""The lab as pytest fixtures; `tests/conftest.py` offers them to every test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from . import system
from .cluster import Lab
from .rootfs import aarch64_root


@pytest.fixture(scope="session")
def lab_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab per test process, with aarch64 hosts where they can be had (`needs_arm` skips where not)."""
    if system.lacking():
        pytest.skip(system.lacking())
    hosts = ("nodal",) if _no_arm() else ("nodal", "grace", "ada")
    folder = tmp_path_factory.mktemp("lab")
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)  # the lab's user must get through to the shared home
    with Lab(folder / "lab", hosts) as lab:
        yield lab


@pytest.fixture
def lab(lab_session: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab, seen from its laptop: `ssh` in PATH reads the lab's configuration (`lab.ssh_config`), no agent runs.

    All faults are taken away afterwards, and hosts that are off are booted again.
    """
    folder = tmp_path / "laptop"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{lab_session.ssh_config}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    before = Path(lab_session.ssh_config).read_text()
    with lab_session.laptop():
        yield lab_session
    Path(lab_session.ssh_config).write_text(before)
    lab_session.repair()


@pytest.fixture
def needs_arm(lab_session: Lab) -> None:
    """Skip where there can be no aarch64 hosts."""
    if "grace" not in lab_session.hosts:
        pytest.skip(_no_arm())


@cache
def _no_arm() -> str:
    """Why there are no aarch64 hosts; empty when there are. Their Debian is fetched by the first who asks."""
    if system.lacking_arm():
        return system.lacking_arm()
    try:
        aarch64_root()
    except subprocess.CalledProcessError as error:
        return f"Debian's archive cannot be reached for the aarch64 hosts: {error.stderr[-300:] or error.output[-300:]}"
    return ""
