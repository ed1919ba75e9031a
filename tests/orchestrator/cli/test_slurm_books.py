"""`orch sweep` on a real Slurm with accounting: limits, refusals, preemption, sacct; and slurmdbd that is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.accounting import Accounted

from jobs import host

pytestmark = pytest.mark.slow


@pytest.fixture
def ground(accounted: Accounted, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    site(found)
    yield found
    found.close()


def site(ground: Ground, asked: str = "partition: gpu") -> None:
    """What this project asks Slurm for."""
    ground.write("site.yaml", "hosts:", f"  local: {{scheduler: slurm, slurm: {{{asked}}}}}")


def told(ground: Ground, word: str) -> str:
    return ground.orch("why", word).out


def test_more_jobs_than_slurm_admits_are_handed_in_as_room_appears(ground: Ground, accounted: Accounted) -> None:
    """A QOS that admits four jobs at once, and ten of them; nothing is lost, nothing is doubled, and `why` says it."""
    site(ground, "qos: limited")
    wait = f"until test -e {ground.project}/go; do sleep 0.1; done"
    ground.sweep("ten", f"echo {{n}} >> {ground.project}/ran; {wait}", "{n: 1..10}")
    assert ground.orch("sweep", "ten", "--detach").code == 0
    until(lambda: len(ground.ran()) == 4, what="four run")
    until(lambda: "as many jobs are in Slurm as it admits at once" in told(ground, "n=10"), what="why says so")
    assert "QOSMaxSubmitJobPerUserLimit" in told(ground, "n=10")
    assert sorted(ground.states("ten").values()) == ["queued"] * 6 + ["running"] * 4
    (row, *_) = [row for row in ground.rows("ten").values() if row["state"] == "queued"]
    assert "waits: as many jobs are in Slurm as it admits at once" in row["reason"]
    assert "as many jobs are in Slurm as it admits" in ground.orch("status", "ten").out
    (ground.project / "go").touch()
    assert ground.orch("attach", "ten", timeout=240).code == 0
    assert ground.ran() == sorted(str(number) for number in range(1, 11))


@pytest.mark.parametrize(
    ("asked", "resources", "reason", "repair"),
    [
        ("account: theirs", {}, "this account may not be used there", "slurm: {account: ...} of this host"),
        ("partition: gpu", {"memory_mb": 900000}, "no node of the partition has that many", "ask for less (resources:"),
        ("partition: gpu", {"gpus": 2}, "no node of the partition has that many", "sinfo -o '%P %c %m %G' tells"),
    ],
)
def test_what_slurm_refuses_for_good_is_held_and_explained(
    ground: Ground, asked: str, resources: dict[str, object], reason: str, repair: str
) -> None:
    """The reason in words beside Slurm's own, and the repair; nobody asks Slurm again and again."""
    site(ground, asked)
    ground.sweep("never", "true", "{n: 1..2}", resources=resources)
    assert ground.orch("sweep", "never", "--detach").code == 0
    until(lambda: not ground.keepers(), what="the keeper leaves: a person must look")
    said = told(ground, "n=2")
    assert reason in said and repair in said and "(Slurm: sbatch: " in said, said


def test_what_is_refused_is_mended_as_it_says(ground: Ground) -> None:
    """A QOS that does not exist; the site file is corrected, and each job runs once."""
    site(ground, "qos: gold")
    ground.sweep("mended", f"echo {{n}} >> {ground.project}/ran", "{n: 1..2}")
    assert ground.orch("sweep", "mended", "--detach").code == 0
    until(lambda: not ground.keepers(), what="the keeper leaves: a person must look")
    assert "then orch stop mended and the same orch sweep again" in told(ground, "n=2")
    site(ground)
    ground.orch("stop", "mended")
    assert ground.orch("sweep", "mended").code == 0
    assert ground.ran() == ["1", "2"]


def test_preemption_by_a_higher_qos_lets_a_job_go_on_from_its_checkpoint(ground: Ground, accounted: Accounted) -> None:
    """Injected: a stranger's job of a higher QOS that takes one of three nodes. The job of that node writes its

    checkpoint, waits in Slurm's queue and goes on from there. Lost: nothing; the others are not disturbed.
    """
    counts = f"cat {ground.home.path}/runs/taken/*/*/last.pt 2>/dev/null | head -n 1"
    script = (
        f"trap 'echo saved > {{run}}/last.pt; exit 9' TERM; echo {{n}} >> {ground.project}/ran; "
        f'until test -e {ground.project}/go || [ "$({counts})" = saved ]; do sleep 0.1; done'
    )
    ground.sweep("taken", script, "{n: 1..3}", resources={"gpus": 1})
    assert ground.orch("sweep", "taken", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    (ground.project / "urgent").write_text("#!/bin/sh\nsleep 3\n")
    urgent = ["--qos=urgent", "--gres=gpu:1", "--output=/dev/null", str(ground.project / "urgent")]
    accounted.ask("sbatch", *urgent)
    done = ground.orch("attach", "taken", timeout=240)
    assert done.code == 0, done.err
    assert len(ground.ran()) == 4, "one of them began twice"
    ((first, second),) = [attempts for attempts in ground.folders("taken").values() if len(attempts) > 1]
    assert Path(first.checkpoint("last")).exists()
    (label,) = {label for label, attempts in ground.folders("taken").items() if attempts == [first, second]}
    story = "Slurm took back what it had given -> retried from its last checkpoint -> done"
    assert story in told(ground, label) and "asked it to leave: preemption" in told(ground, label), told(ground, label)


def test_books_that_are_closed_make_nobody_lost(ground: Ground, accounted: Accounted) -> None:
    """Injected: slurmdbd killed while jobs run and wait, and while another sweep is handed in. Nothing is lost."""
    wait = f"until test -e {ground.project}/go; do sleep 0.1; done"
    ground.sweep("shut", f"echo {{n}} >> {ground.project}/ran; {wait}", "{n: 1..5}", resources={"gpus": 1})
    assert ground.orch("sweep", "shut", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    accounted.kill("slurmdbd")
    assert sorted(ground.states("shut").values()) == ["queued"] * 2 + ["running"] * 3
    ground.sweep("late", f"echo late {{n}} >> {ground.project}/ran", "{n: 1..2}")
    assert ground.orch("sweep", "late", "--detach").code == 0
    (ground.project / "go").touch()
    for name in ("shut", "late"):
        assert ground.orch("attach", name, timeout=240).code == 0
    assert ground.ran() == ["1", "2", "3", "4", "5", "late 1", "late 2"]


def test_the_books_tell_how_a_job_ended_that_the_controller_has_forgotten(ground: Ground, accounted: Accounted) -> None:
    """Injected: SIGKILL to all of a job; then the controller forgets it. sacct says how it ended, while it answers."""
    ground.sweep("gone", f"echo {{n}} >> {ground.project}/ran; sleep 600", "{n: [1]}")
    assert ground.orch("sweep", "gone", "--detach").code == 0
    until(lambda: len(ground.ran()) == 1, what="it runs")
    for pid in ground.processes():
        if host.has_variable(pid, "SLURM_ARRAY_TASK_ID", "0"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: ground.states("gone")["n=1"] == "interrupted", what="it is known to be gone")
    until(lambda: "FAILED" in accounted.ask("sacct", "-n", "-X", "-o", "State"), what="the books have its end")
    accounted.forget()
    assert ": FAILED" in told(ground, "n=1")
    accounted.kill("slurmdbd")
    assert ground.states("gone")["n=1"] == "interrupted"


def test_doctor_tells_what_slurm_is_and_what_it_admits(ground: Ground, accounted: Accounted) -> None:
    """Partitions with processors and cards, limits of this user, and whether the books answer: then they do not."""
    site(ground, "partition: gpo")
    told = ground.orch("doctor").out
    assert "the controller and sacct answer" in told
    assert f"gpu: {os.uname().machine}, 3 nodes, 12 cores, 3 h100, at most infinite" in told
    assert "arrays of at most 12 jobs" in told and "QOS limited: 4 jobs in Slurm" in told
    assert "expected the partition gpo, Slurm has gpu" in told
    accounted.kill("slurmdbd")
    assert "sacct does not answer" in ground.orch("doctor").out
