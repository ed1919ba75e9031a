"""`orch sweep` on a real Slurm whose nodes and controller fail; large arrays that are cancelled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.slurm import Slurm
from witness import Witness

from jobs import host

pytestmark = pytest.mark.slow


@pytest.fixture
def ground(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")
    yield found
    found.close()


def told(ground: Ground, word: str) -> str:
    return ground.orch("why", word).out


def waiting(ground: Ground) -> str:
    return f"echo {{n}} $SLURMD_NODENAME >> {ground.project}/ran; until test -e {ground.project}/go; do sleep 0.1; done"


def cut_power(ground: Ground, slurm: Slurm, node: str) -> None:
    """SIGKILL to a node's daemon, to those that look after its jobs, and to the jobs: nobody tells of an end."""
    slurm.kill(node)
    jobs = [pid for pid in ground.processes() if host.has_variable(pid, "SLURMD_NODENAME", node)]
    parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in jobs}
    minders = [pid for pid in parents if Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")]
    for pid in [*minders, *jobs]:
        os.kill(pid, signal.SIGKILL)


def test_a_node_that_fails_is_excluded_from_the_next_attempt(ground: Ground, slurm: Slurm) -> None:
    """Injected: a node without power, until the end of the test. The job of that node goes on elsewhere.

    Lost: nothing but the time since its last checkpoint; the jobs of other nodes are not disturbed.
    """
    ground.sweep("power", waiting(ground), "{n: 1..3}", resources={"gpus": 1})
    assert ground.orch("sweep", "power", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    number, node = next(line for line in ground.ran() if line.endswith(" n2")).split()
    cut_power(ground, slurm, node)
    until(lambda: f"not on {node}" in told(ground, f"n={number}"), 180, "it is queued again")
    (ground.project / "go").touch()
    assert ground.orch("attach", "power", timeout=240).code == 0
    again = [line.split()[1] for line in ground.ran() if line.split()[0] == number]
    assert len(ground.ran()) == 4 and sorted(again) != [node, node], ground.ran()
    assert f"retried, not on {node} -> done" in told(ground, f"n={number}")


def test_a_controller_killed_while_jobs_end_doubles_nothing(ground: Ground, slurm: Slurm, tmp_path: Path) -> None:
    """Injected: SIGKILL to slurmctld with 12 of 20 jobs running, which end meanwhile. Lost: nothing; doubled: nothing.

    Its state has been saved before (Slurm does that every few seconds): what it forgets otherwise is its own.
    """
    witness, labels = Witness(ground, tmp_path), [f"n={number}" for number in range(1, 21)]
    ground.sweep("twenty", witness.script("n={n}", f"{waiting(ground)}; finish 0"), "{n: 1..20}")
    assert ground.orch("sweep", "twenty", "--detach").code == 0
    witness.accepted(*labels)
    until(lambda: len(ground.ran()) == 12, what="twelve run")
    begun, saved = time.time(), slurm.base / "state" / "job_state"
    task = slurm.ask("squeue", "-h", "-r", "-o", "%i").split()[0]
    slurm.ask("scontrol", "update", f"JobId={task}", "Comment=seen")  # it saves when something has changed
    until(lambda: saved.stat().st_mtime > begun, what="Slurm has saved its state")
    slurm.kill("slurmctld")
    (ground.project / "go").touch()
    until(lambda: list(ground.states("twenty").values()).count("done") == 12, what="twelve are done")
    assert list(ground.states("twenty").values()).count("queued") == 8
    slurm.start("slurmctld", "-D")
    done = ground.orch("attach", "twenty", timeout=300)
    assert done.code == 0, done.err
    assert sorted(int(line.split()[0]) for line in ground.ran()) == list(range(1, 21))
    witness.verdict("twenty")


def test_an_array_of_200_one_cancelled_then_all(ground: Ground, slurm: Slurm) -> None:
    """In 17 arrays of 12. One that waits is stopped, one by hand, then all: each has an end, Slurm has nothing left."""
    ground.sweep("many", waiting(ground), "{n: 1..200}")
    assert ground.orch("sweep", "many", "--detach").code == 0
    until(lambda: len(ground.ran()) == 12, 120, what="twelve run")
    until(lambda: len(slurm.ask("squeue", "-h", "-r", "-o", "%i").split()) == 200, what="all are handed in")
    ground.orch("stop", "n=150")
    assert ground.states("many")["n=150"] == "stopped"
    until(lambda: len(slurm.ask("squeue", "-h", "-r", "-o", "%i").split()) == 199, what="Slurm has it no more")
    task = slurm.ask("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i").split()[0]
    slurm.ask("scancel", task)
    until(lambda: list(ground.states("many").values()).count("stopped") == 2, 120, "cancelled by hand is stopped")
    assert ground.orch("stop", "many").code == 0
    until(lambda: set(ground.states("many").values()) == {"stopped"}, what="all are stopped")
    until(lambda: not slurm.ask("squeue", "-h", "-r", "-o", "%i"), what="Slurm has nothing left")
    assert len(ground.ran()) == 12, "none began after its stop"
