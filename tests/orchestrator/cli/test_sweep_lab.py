"""`orch sweep --hosts` in the lab: real ssh, real keepers on three hosts with one home; the laptop may leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.cluster import Lab

pytestmark = pytest.mark.slow
JOB = 'echo "$(hostname) {n}" >> ~/ran-{sweep}; while ! test -e ~/go-{sweep}; do sleep 0.05; done; uname -m'


@pytest.fixture
def ground(lab: Lab, hostile_path: Path) -> Iterator[Ground]:
    """A project on the laptop; the hosts' own orch home lies on their shared home."""
    found = Ground(hostile_path / "ground")
    found.write("orch.yaml")
    hosts = [f"  {name}: {{ssh: {name}, home: ~/orch-fleet}}" for name in lab.hosts]
    found.write("site.yaml", "hosts:", *hosts)
    yield found
    found.close()
    for name, host in lab.hosts.items():
        host.run("/bin/sh", "-c", "pkill -KILL -u alice -f '[e]xec.i.read' ; rm -rf /var/tmp/orch-*", check=False)
    for path in lab.user_home.glob("ran-*"):
        path.unlink()


def write(ground: Ground, name: str, grid: str, script: str = JOB) -> None:
    script = script.replace("{sweep}", name)
    ground.write(f"sweeps/{name}.yaml", f"command: [sh, -c, {json.dumps(script)}]", f"grid: {grid}")


def ran(lab: Lab, sweep: str) -> list[list[str]]:
    path = lab.user_home / f"ran-{sweep}"
    return sorted(line.split() for line in path.read_text().splitlines()) if path.exists() else []


def test_one_command_fills_one_host_over_ssh_and_leaves(ground: Ground, lab: Lab) -> None:
    """One connection for the whole command; the jobs go on without it; another command tells the truth."""
    write(ground, "one", "{n: 1..4}")
    before = lab["nodal"].connections
    done = ground.orch("sweep", "one", "--hosts", "nodal", "--parallel", "2", "--detach")
    assert done.code == 0, done.err
    assert "hosts nodal: asked for by --hosts" in done.err and "4 jobs queued" in done.err
    assert lab["nodal"].connections == before + 1
    until(lambda: len(ran(lab, "one")) == 2, what="two run side by side")
    assert sorted(ground.states("one").values()) == ["queued", "queued", "running", "running"]
    assert {row["host"] for row in ground.rows("one").values()} == {"nodal"}
    (lab.user_home / "go-one").touch()
    again = ground.orch("sweep", "one")
    assert again.code == 0, again.err
    assert "hosts nodal: as the last time" in again.err
    assert [number for _, number in ran(lab, "one")] == ["1", "2", "3", "4"]
    assert "x86_64" in ground.orch("logs", "n=3").out
    why = ground.orch("why", "n=3").out
    assert "on nodal" in why and "its place: nodal, because the only host that was asked for" in why
