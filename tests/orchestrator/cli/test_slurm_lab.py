"""`orch sweep` on a real Slurm: three nodes, arrays; faults of sbatch, the controller and the keeper."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.slurm import Slurm

from jobs import host

pytestmark = pytest.mark.slow
SBATCH = "/usr/bin/sbatch"


@pytest.fixture
def ground(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")
    yield found
    found.close()


def holding(ground: Ground, extra: str = "") -> str:
    """A job that tells that it began and waits until the file `go` is there."""
    wait = f"until test -e {ground.project}/go; do sleep 0.1; done"
    return f'{extra} echo "{{n}} $SLURMD_NODENAME" >> {ground.project}/ran; {wait}'


def arrays(slurm: Slurm, sweep: str) -> set[str]:
    """Ids of all arrays that Slurm ever took for a sweep."""
    rows = (line.split("|") for line in slurm.ask("squeue", "-h", "-t", "all", "-o", "%A|%F|%j").splitlines())
    return {row[1] for row in rows if row[2].startswith(f"{sweep}.")}


def told(ground: Ground, word: str) -> str:
    return ground.orch("why", word).out


def test_a_sweep_is_an_array_each_job_once_with_its_card(ground: Ground, slurm: Slurm) -> None:
    """Twenty jobs on three nodes of one card each, in two arrays (this Slurm admits twelve in one); one fails."""
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
    assert len(arrays(slurm, "many")) == 2
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


def test_sbatch_that_fails_after_it_was_accepted_doubles_nothing(
    ground: Ground, slurm: Slurm, program: Callable[[str, str], Path]
) -> None:
    """Injected: each sbatch submits, then says that it timed out. Lost: nothing; doubled: nothing, one array."""
    program("sbatch", f"#!/bin/sh\n{SBATCH} \"$@\" > /dev/null\necho 'sbatch: error: Socket timed out' >&2\nexit 1\n")
    ground.sweep("late", f"echo {{n}} >> {ground.project}/ran", "{n: 1..6}")
    done = ground.orch("sweep", "late")
    assert done.code == 0, done.err
    assert ground.ran() == ["1", "2", "3", "4", "5", "6"]
    assert len(arrays(slurm, "late")) == 1


def test_sbatch_that_answers_late_doubles_nothing(
    ground: Ground, slurm: Slurm, program: Callable[[str, str], Path]
) -> None:
    """Injected: each sbatch answers 4 s after Slurm accepted: the jobs have ended by then. Lost, doubled: nothing."""
    program("sbatch", f'#!/bin/sh\nsaid=$({SBATCH} "$@") && sleep 4 && echo "$said"\n')
    ground.sweep("slow", f"echo {{n}} >> {ground.project}/ran", "{n: 1..6}")
    done = ground.orch("sweep", "slow")
    assert done.code == 0, done.err
    assert ground.ran() == ["1", "2", "3", "4", "5", "6"]
    ground.settle()
    assert len(arrays(slurm, "slow")) == 1


def test_a_keeper_killed_in_the_middle_of_sbatch_doubles_nothing(
    ground: Ground, slurm: Slurm, program: Callable[[str, str], Path]
) -> None:
    """Injected: SIGKILL to the keeper and to sbatch's caller once Slurm has accepted, before the id was written down.

    The next command rouses another keeper, which finds the array by its name. Lost: nothing; doubled: nothing.
    """
    accepted = ground.project / "accepted"
    program("sbatch", f'#!/bin/sh\n{SBATCH} "$@" > /dev/null\ntouch {accepted}\nexec sleep 60\n')
    ground.sweep("cut", f"echo {{n}} >> {ground.project}/ran", "{n: 1..6}")
    assert ground.orch("sweep", "cut", "--detach").code == 0
    until(accepted.exists, what="Slurm has accepted")
    (keeper,) = ground.keepers()
    os.kill(keeper, signal.SIGKILL)
    assert ground.orch("attach", "cut").code == 0
    assert ground.ran() == ["1", "2", "3", "4", "5", "6"]
    assert len(arrays(slurm, "cut")) == 1


def test_a_controller_that_is_away_makes_nobody_dead(ground: Ground, slurm: Slurm) -> None:
    """Injected: slurmctld killed with jobs running and waiting, started again. Lost: nothing; doubled: nothing."""
    ground.sweep("away", holding(ground), "{n: 1..5}", resources={"gpus": 1})
    assert ground.orch("sweep", "away", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    slurm.end("slurmctld")
    states = sorted(ground.states("away").values())
    assert states == ["queued"] * 2 + ["unreachable"] * 3
    assert "Unable to contact slurm controller" in told(ground, "n=1")
    slurm.start("slurmctld", "-D")
    until(lambda: sorted(ground.states("away").values()) == ["queued"] * 2 + ["running"] * 3, 120, "it is back")
    (ground.project / "go").touch()
    assert ground.orch("attach", "away", timeout=240).code == 0
    assert len(ground.ran()) == 5 and len(arrays(slurm, "away")) == 1


def test_an_impossible_request_is_held_with_slurms_reason_until_a_person_mends_it(ground: Ground) -> None:
    """A node feature that no node has: nothing is asked again and again; the mended site file and a new start do it."""
    site = "  local: {scheduler: slurm, slurm: {partition: gpu%s}}"
    ground.write("site.yaml", "hosts:", site % ", constraint: nowhere")
    ground.sweep("never", f"echo {{n}} >> {ground.project}/ran", "{n: 1..2}")
    assert ground.orch("sweep", "never", "--detach").code == 0
    reason = "no node has this feature (Slurm: sbatch: Batch job submission failed: Invalid feature specification)"
    until(lambda: reason in told(ground, "n=2"), what="Slurm's reason is told")
    until(lambda: not ground.keepers(), what="the keeper leaves: a person must look")
    ground.write("site.yaml", "hosts:", site % "")
    ground.orch("stop", "never")
    assert ground.orch("sweep", "never").code == 0
    assert ground.ran() == ["1", "2"]


def test_a_job_that_slurm_sends_away_goes_on_by_itself(ground: Ground, slurm: Slurm) -> None:
    """Injected: the signal before a time limit, once; it is asked to leave, and its next attempt is queued alone."""
    script = (
        f"trap 'exit 9' TERM; echo {{n}} >> {ground.project}/ran; test $(wc -l < {ground.project}/ran) = 2 && exit 0"
    )
    ground.sweep("ousted", f"{script}; while :; do sleep 0.1; done", "{n: [1]}")
    assert ground.orch("sweep", "ousted", "--detach").code == 0
    until(lambda: len(ground.ran()) == 1, what="it runs")
    slurm.ask("scancel", "--batch", "--signal=USR2", *slurm.ask("squeue", "-h", "-r", "-o", "%i").split())
    until(lambda: ground.states("ousted")["n=1"] == "done", what="its second attempt is done")
    assert "Slurm took back what it had given -> retried -> done" in told(ground, "n=1")


def test_a_job_without_a_record_is_interrupted_only_when_slurm_has_it_no_more(ground: Ground, slurm: Slurm) -> None:
    """Injected: SIGKILL to all of a job, its watcher too. While Slurm has it it runs; then it is interrupted."""
    ground.sweep("gone", holding(ground), "{n: [1, 2]}")
    assert ground.orch("sweep", "gone", "--detach").code == 0
    until(lambda: len(ground.ran()) == 2, what="both run")
    (task,) = [task for task in slurm.ask("squeue", "-h", "-r", "-o", "%i").split() if task.endswith("_0")]
    for pid in ground.processes():
        if host.has_variable(pid, "SLURM_ARRAY_TASK_ID", "0"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: ground.states("gone")["n=1"] == "interrupted", what="it is known to be gone")
    assert f"Slurm no longer has job {task}" in told(ground, "n=1")
    assert ground.states("gone")["n=2"] == "running"
    (ground.project / "go").touch()
    assert ground.orch("attach", "gone").code == 1
    ground.orch("retry", "n=1")
    until(lambda: ground.states("gone")["n=1"] == "done", what="a retry does it")
