"""`orch sweep` on a real Slurm: three nodes, arrays; faults of sbatch, the controller and the keeper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.slurm import Slurm

pytestmark = pytest.mark.slow
SBATCH = "/usr/bin/sbatch"


@pytest.fixture
def ground(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")
    yield found
    slurm.ask("scancel", "-u", "root")
    until(lambda: not slurm.ask("squeue", "-h"), what="Slurm's queue is empty")
    found.close()


def holding(ground: Ground, extra: str = "") -> str:
    """A job that tells that it began and waits until the file `go` is there."""
    wait = f"until test -e {ground.project}/go; do sleep 0.1; done"
    return f'{extra} echo "{{n}} $SLURMD_NODENAME" >> {ground.project}/ran; {wait}'


def told(ground: Ground, word: str) -> str:
    return ground.orch("why", word).out


def test_a_sweep_is_an_array_each_job_once_with_its_card(ground: Ground, slurm: Slurm) -> None:
    """Twenty jobs on three nodes of one card each: at most three at a time, in the order of the file, one fails."""
    script = f'echo "{{n}} $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES" >> {ground.project}/ran; test {{n}} != 7'
    ground.sweep("many", script, "{n: 1..20}", resources={"gpus": 1})
    done = ground.orch("sweep", "many")
    assert done.code == 1, done.err
    rows = [line.split() for line in ground.ran()]
    assert sorted(int(row[0]) for row in rows) == list(range(1, 21)), "each once"
    assert {row[1] for row in rows} == {"n1", "n2", "n3"} and {row[2] for row in rows} == {"0"}
    states = ground.states("many")
    assert states.pop("n=7") == "failed" and set(states.values()) == {"done"}
    assert "Slurm's job" in told(ground, "n=3")
    assert len({array.split("_")[0] for array in slurm.ask("squeue", "-h", "-t", "all", "-o", "%i").split()}) == 1
    ground.settle()
    assert not list(Path(ground.home.path, "queue").glob("*/arrays/*/")), "nothing is left of the array"
    assert not list(Path(ground.host_folder.locks).iterdir())


def test_stop_reaches_jobs_that_run_and_jobs_that_wait_and_why_has_slurms_reason(ground: Ground, slurm: Slurm) -> None:
    """One card each: three run, two wait. `orch stop` is graceful; scancel by hand counts as a stop too."""
    ground.sweep("five", holding(ground, "trap 'echo left in order; exit 4' TERM;"), "{n: 1..5}", resources={"gpus": 1})
    assert ground.orch("sweep", "five", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    assert sorted(ground.states("five").values()) == ["queued"] * 2 + ["running"] * 3
    assert "Slurm:" in told(ground, "n=5") and "until its cores, cards and memory are free" in told(ground, "n=4")
    ground.orch("stop", "n=1", "n=5")
    until(lambda: ground.states("five")["n=1"] == "stopped", what="the first has left")
    assert "left in order" in ground.orch("logs", "n=1").out
    assert ground.states("five")["n=5"] == "stopped"
    until(lambda: len(ground.ran()) == 4, what="the fourth runs")
    (task,) = [
        line.split()[0] for line in slurm.ask("squeue", "-h", "-r", "-o", "%i").splitlines() if line.endswith("_1")
    ]
    slurm.ask("scancel", task)
    until(lambda: ground.states("five")["n=2"] == "stopped", what="cancelled by hand")
    (ground.project / "go").touch()
    assert ground.orch("attach", "five").code == 1
    assert sorted(ground.states("five").values()) == ["done"] * 2 + ["stopped"] * 3
