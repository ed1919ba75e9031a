"""`orch sweep` on a real Slurm with accounting: limits, refusals, preemption, sacct; and slurmdbd that is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.accounting import Accounted

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
    (ground.project / "go").touch()
    assert ground.orch("attach", "ten", timeout=240).code == 0
    assert ground.ran() == sorted(str(number) for number in range(1, 11))


@pytest.mark.parametrize(
    ("asked", "resources", "reason", "repair"),
    [
        ("account: theirs", {}, "this account may not be used there", "slurm: {account: ...} of this host"),
        ("qos: gold", {}, "this QOS does not exist, or is not yours", "format=account,qos lists yours"),
        ("partition: gpu", {"memory_mb": 900000}, "no node of the partition has that many", "ask for less (resources:"),
        ("partition: gpu", {"gpus": 2}, "no node of the partition has that many", "sinfo -o '%P %c %m %G' tells"),
    ],
)
def test_what_slurm_refuses_for_good_is_held_and_explained(
    ground: Ground, asked: str, resources: dict[str, object], reason: str, repair: str
) -> None:
    """The reason in words beside Slurm's own, and the repair; what it says does it, each job once."""
    site(ground, asked)
    ground.sweep("never", f"echo {{n}} >> {ground.project}/ran", "{n: 1..2}", resources=resources)
    done = ground.orch("sweep", "never", "--detach")
    assert done.code == 0, done.err
    until(lambda: not ground.keepers(), what="the keeper leaves: a person must look")
    assert reason in told(ground, "n=2"), told(ground, "n=2")
    assert repair in told(ground, "n=2") and "(Slurm: sbatch: " in told(ground, "n=2")
    site(ground)
    ground.sweep("never", f"echo {{n}} >> {ground.project}/ran", "{n: 1..2}")
    assert "then orch stop never and the same orch sweep again" in told(ground, "n=2")
    ground.orch("stop", "never")
    assert ground.orch("sweep", "never").code == 0
    assert ground.ran() == ["1", "2"]
