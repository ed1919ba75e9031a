"""Shells, conda installations and Slurm, as real programs and files in a home of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from standins.vscode_home import elf, put

from jobs import software
from jobs.elf import here

OTHER = "aarch64" if here() == "x86_64" else "x86_64"
Program = Callable[[str, str], Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home; no conda in PATH or in variables."""
    path = tmp_path / "home é"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("CONDA_EXE", raising=False)
    return path


def miniforge(prefix: Path, machine: str, version: str = "24.11.3", rc: str = "channels:\n  - conda-forge\n") -> Path:
    put(prefix / "bin/python", elf(machine), 0o755)
    put(prefix / "bin/conda", "#!/bin/sh\n", 0o755)
    put(prefix / f"conda-meta/conda-{version}-py312h996f2a0_0.json", "{}")
    put(prefix / "conda-meta/conda-package-handling-2.4.0-pyh_0.json", "{}")
    if rc:
        put(prefix / ".condarc", rc)
    return prefix


def test_a_shell_with_start_up_files_costs_what_it_costs(home: Path) -> None:
    bare = software.shell()
    assert bare["error"] is None and bare["status"] == 0 and bare["printed"] == 0
    if not bare["shell"].endswith("bash"):
        pytest.skip("this user's shell is no bash: it reads no .bashrc")
    (home / ".bashrc").write_text("sleep 0.4; echo 'Welcome!'; exit 1\n")
    noisy = software.shell()
    assert noisy["seconds"] >= 0.4 and noisy["printed"] == 9 and noisy["status"] == 1
    (home / ".bashrc").write_text("sleep 30\n")
    assert "more than 0.5 s" in software.shell(0.5)["error"]


def test_conda_of_both_processors_is_told_apart(home: Path) -> None:
    miniforge(home / "miniforge3", OTHER)
    miniforge(home / "miniconda3", here(), "23.1.0", rc="")
    ours = miniforge(home / "orch/conda" / here(), here())
    found = software.condas(str(home / "orch"))
    assert [(one["kind"], one["version"], one["machine"], one["runs"], one["defaults"]) for one in found] == [
        ("miniconda", "23.1.0", here(), True, True),
        ("miniforge", "24.11.3", here(), True, False),
        ("miniforge", "24.11.3", OTHER, False, False),
    ]
    assert found[1]["prefix"] == str(ours)


def test_micromamba_and_anaconda_are_known(home: Path) -> None:
    put(home / "conda/bin/micromamba", elf(here()), 0o755)
    put(miniforge(home / "anaconda3", here(), rc="") / "conda-meta/anaconda-2024.10-py312_0.json", "{}")
    found = {one["kind"]: one for one in software.condas(str(home / "none"))}
    assert set(found) == {"micromamba", "anaconda"}
    assert found["anaconda"]["defaults"] and not found["micromamba"]["defaults"]


def test_environments_of_the_other_processor_are_seen(home: Path) -> None:
    prefix = miniforge(home / "miniforge3", here())
    for name, machine in (("torch", here()), ("old", OTHER)):
        put(prefix / "envs" / name / "bin/python", elf(machine), 0o755)
        (prefix / "envs" / name / "conda-meta").mkdir()
    put(home / ".conda/environments.txt", f"{prefix}\n{prefix}/envs/old\n{home}/gone\n{home}/far\n")
    put(home / "far/bin/python", elf(OTHER), 0o755)
    found = software.conda_envs(software.condas(str(home / "none")))
    assert [(Path(env["prefix"]).name, env["runs"]) for env in found] == [
        ("old", False),
        ("torch", True),
        ("far", False),
    ]


def test_slurm_answers_or_says_why_not(home: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    assert software.slurm() == {"sbatch": None, "controller": None, "accounting": None}
    place = program("sbatch", "#!/bin/sh\n").parent
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    program("sinfo", "#!/bin/sh\necho gpu\n")
    program("sacct", "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    found = software.slurm()
    assert found["sbatch"] == str(place / "sbatch")
    assert (found["controller"], found["accounting"]) == (None, "Slurm accounting storage is disabled")
    program("sinfo", "#!/bin/sh\nexec sleep 60\n")
    assert software.slurm(0.3)["controller"] == "sinfo does not answer within 0.3 s"
