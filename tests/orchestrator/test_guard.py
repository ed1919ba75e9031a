"""A stray setup.py must not run in place of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import OrchError
from orchestrator.guard import check_package

ASK = "from orchestrator.guard import check_package\ncheck_package('setup')\nimport setup"


def ask(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_our_own_packages_pass() -> None:
    for name in ("setup", "jobs", "trainer", "orchestrator"):
        check_package(name)


def test_a_foreign_setup_is_refused_and_never_run(hostile_path: Path) -> None:
    (hostile_path / "setup.py").write_text("open('ran', 'w')\n", encoding="utf-8")
    done = ask(hostile_path)  # `-c` puts the current folder first
    assert "setup.py, which is not part of orch" in done.stderr
    assert not (hostile_path / "ran").exists()


def test_an_empty_folder_is_no_danger(hostile_path: Path) -> None:
    assert ask(hostile_path).returncode == 0


def test_a_missing_package_is_told() -> None:
    with pytest.raises(OrchError, match="not installed"):
        check_package("no_such_package_of_orch")
