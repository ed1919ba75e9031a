"""`orch setup` on a login node without a card: a real Slurm, whose jobs see the card and try the environment there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.slurm import Slurm
from standins.place import ARCH, MINOR, Standins, nvidia_smi

from jobs.folder import Home

from .conftest import Orch

pytestmark = pytest.mark.slow
OTHER = "aarch64" if ARCH == "x86_64" else "x86_64"
Place = Callable[[str, str], Path]


@pytest.fixture
def words(
    slurm: Slurm,
    standins: Standins,
    orch_home: Home,
    program: Place,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> list[str]:
    """The command with the stand-ins; nvidia-smi sees a card only within a job of Slurm."""
    standins.point(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDA_EXE", str(standins.conda(tmp_path / "miniforge3")))
    card = program("nvidia-smi-of-the-node", nvidia_smi("550.54.15", "NVIDIA GH200 480GB", "9.0"))
    program("nvidia-smi", f'#!/bin/sh\ntest -n "$SLURM_JOB_ID" || exit 9\nexec {card} "$@"\n')
    (tmp_path / "orch.yaml").write_text("")
    (tmp_path / "site.yaml").write_text("hosts:\n  local: {scheduler: slurm, slurm: {partition: gpu}}\n")
    steps = "conda,environment,verification"
    return ["setup", "--wheels", standins.index, "--channel", standins.channel, "--python-version", MINOR, "--yes",
            "--only", steps]  # fmt: skip


def test_the_environment_proves_itself_in_a_job(orch: Orch, words: list[str], orch_home: Home, slurm: Slurm) -> None:
    said = orch(*words)
    assert said.code == 0, said.err
    assert "a convolution forward and backward on NVIDIA GH200 480GB" in said.err
    (told,) = Path(orch_home.path, "envs", ARCH).glob("*.verified/*.json")
    here = json.loads(told.read_text())
    assert here["device"] == "cuda" and here["slurm"]["node"] in slurm.nodes
    assert here["slurm"]["job"] in slurm.ask("squeue", "-h", "-t", "all", "-o", "%i").split()
    assert list(Path(orch_home.path, "envs", ARCH).glob("*/orch-env.json"))
    before = slurm.ask("squeue", "-h", "-t", "all", "-o", "%i")
    assert "local: nothing to do" in orch(*words).out
    assert slurm.ask("squeue", "-h", "-t", "all", "-o", "%i") == before, "nobody waits for a card to be told so"
    assert not slurm.ask("squeue", "-h"), "no job is left"
    undone = orch(*words[:-2], "--undo")
    assert undone.code == 0, undone.err
    assert not list(Path(orch_home.path, "envs", ARCH).glob("*/orch-env.json"))


def test_what_no_job_can_see_is_told(orch: Orch, words: list[str], orch_home: Home, tmp_path: Path) -> None:
    """A partition that is not there; nodes of another processor than the login node, for which it can make nothing."""
    site = "hosts:\n  local: {scheduler: slurm, slurm: {partition: %s}}\n"
    (tmp_path / "site.yaml").write_text(site % "nowhere")
    said = orch(*words)
    assert said.code == 1 and "invalid partition specified: nowhere" in said.err.lower()
    (tmp_path / "site.yaml").write_text(site % f"gpu, arch: {OTHER}")
    said = orch(*words)
    assert f"the nodes of gpu are {OTHER}, and this login node" in said.err
    assert not list(Path(orch_home.path).glob("envs/*/*"))
