"""What git says of the code, with the uncommitted part kept and images left out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from jobs.folder import Home
from orchestrator import provenance


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(hostile_path: Path) -> Path:
    git(hostile_path, "init")
    (hostile_path / "train.py").write_text("A = 1\n")
    (hostile_path / "mask.png").write_bytes(b"\x89PNG\0\1")
    (hostile_path / "header.hdr").write_text("patient name\n")
    git(hostile_path, "add", ".")
    git(hostile_path, "commit", "-m", "first")
    return hostile_path


def test_a_clean_checkout(orch_home: Home, repository: Path) -> None:
    found, patch = provenance.git(repository, (".",))
    assert patch is None and re.fullmatch(r"[0-9a-f]{40}", found["commit"])
    assert (found["dirty"], found["patch"], found["untracked"]) == (False, None, 0)


def test_the_uncommitted_part_is_kept_without_images(orch_home: Home, repository: Path) -> None:
    (repository / "train.py").write_text("A = 2\n")
    (repository / "mask.png").write_bytes(b"\x89PNG\0\2")
    (repository / "header.hdr").write_text("another patient\n")
    (repository / "new.py").write_text("B = 1\n")
    found, uncommitted = provenance.git(repository, (".",))
    provenance.keep(orch_home, uncommitted)
    assert (found["dirty"], found["untracked"]) == (True, 1)
    patch = Path(orch_home.code, found["patch"]).read_text()
    assert "+A = 2" in patch
    assert "patient" not in patch
    assert "PNG" not in patch
    assert "Binary" not in patch
    git(repository, "stash")
    subprocess.run(["git", "apply", str(Path(orch_home.code, found["patch"]))], cwd=repository, check=True)
    assert (repository / "train.py").read_text() == "A = 2\n"


def test_no_checkout_and_somebody_elses_checkout(orch_home: Home, tmp_path: Path, repository: Path) -> None:
    assert provenance.git(tmp_path, (".",))[0] == {"commit": None, "reason": "no git checkout"}
    (repository / "installed").mkdir()
    (repository / "installed" / "lib.py").write_text("")
    found, _ = provenance.git(repository / "installed", ("lib.py",))
    assert found["commit"] is None
    assert "not tracked" in found["reason"]


def test_who_and_when() -> None:
    assert set(provenance.caller()) == {"user", "host", "orch"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", provenance.now())
