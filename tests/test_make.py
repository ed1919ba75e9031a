"""The verbs of the Makefile and what they stand on; the environment itself is made by `make`, not by tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIND = ROOT / "requirements" / "find-python"


def find(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run find-python with only `path` and the shell's own folders to look in."""
    variables = {"PATH": str(path), "HOME": str(path), **environment}
    return subprocess.run(["/bin/sh", str(FIND)], env=variables, capture_output=True, text=True, check=False)


def plant(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_stub_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    plant(tmp_path, "python3.13", "echo 'no such version is installed' >&2; exit 127\n")
    (tmp_path / "python3").symlink_to(sys.executable)
    found = find(tmp_path)
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).samefile(sys.executable)


def test_the_first_in_path_that_is_too_old_hides_no_later_one(tmp_path: Path) -> None:
    plant(tmp_path / "old", "python3", "case $* in *ensurepip*) exit 1;; esac; echo 3.8.10\n")
    (tmp_path / "python3").symlink_to(sys.executable)
    found = subprocess.run(
        ["/bin/sh", str(FIND)],
        env={"PATH": f"{tmp_path / 'old'}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_too_old_is_said_with_version_and_repair(tmp_path: Path) -> None:
    old = plant(tmp_path, "python3", "case $* in *ensurepip*) echo; exit 0;; esac; echo 3.8.10\n")
    found = find(tmp_path)
    assert found.returncode == 1
    assert f"{old}: Python 3.8.10" in found.stderr
    assert "make demo PYTHON=/path/to/python3" in found.stderr


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    found = find(tmp_path)
    assert found.returncode == 1
    assert found.stderr.startswith("error: no Python 3.11 or newer")


def test_a_named_one_is_taken_wherever_it_lies(hostile_path: Path, tmp_path: Path) -> None:
    (hostile_path / "python").symlink_to(sys.executable)
    found = find(tmp_path, PYTHON=str(hostile_path / "python"))
    assert found.returncode == 0, found.stderr


@pytest.fixture
def make() -> str:
    program = shutil.which("make")
    if program is None:
        pytest.skip("no make on this machine")
    return program


def shown(make: str, *words: str, cwd: Path = ROOT) -> str:
    """What make would do."""
    done = subprocess.run([make, *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_alone_lists_every_verb(make: str) -> None:
    listed = re.findall(r"^make ([a-z-]+)", shown(make), re.MULTILINE)
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(listed) == set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split())


def test_the_demo_keeps_everything_in_its_own_folder(make: str) -> None:
    commands = shown(make, "-n", "demo")
    for name in ("ORCH_HOME", "ORCH_STATE", "ORCH_LOCAL", "ORCH_CACHE", "MPLCONFIGDIR"):
        assert re.search(rf'{name}="[^"]*{os.sep}demo/', commands), name


def test_torch_goes_first_and_is_pinned_for_the_rest(make: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    commands = shown(make, "-n", "env", "TORCH=torch==2.12.0 --index-url file:///wheels", cwd=tmp_path)
    installs = [line for line in commands.splitlines() if " pip " in line and " install" in line]
    assert installs[0].endswith("install torch==2.12.0 --index-url file:///wheels")
    assert all("--constraint .venv/constraints.txt" in line for line in installs[1:])


def test_the_constraints_pin_one_version_of_each_and_name_no_host() -> None:
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", pin) for pin in pins)
    names = [re.sub(r"[._-]+", "-", pin.split("==")[0]).lower() for pin in pins]
    assert len(names) == len(set(names))
    assert names[0] == "torch"


def test_the_soak_finds_all_it_stands_on() -> None:
    """It is no test: nothing else would notice that one of its modules has moved."""
    (line,) = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "soak.py" in line]
    words = line.strip().lstrip("@").replace("$(BIN)/python", sys.executable).replace("$(SOAK_MINUTES)", "0")
    done = subprocess.run(
        ["/bin/sh", "-c", words.replace("$(SOAK_SEED)", "")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "       0  lost\n       0  doubled\n"), done.stderr
