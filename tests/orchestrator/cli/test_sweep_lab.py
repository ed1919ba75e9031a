"""`orch sweep --hosts` in the lab: real ssh, real keepers on three hosts with one home; the laptop may leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.cluster import Lab
from witness import Witness

pytestmark = pytest.mark.slow
# Holds until its own host may go on: a host whose cable is cut still works on the shared home.
JOB = """
echo "$(hostname) {n}" >> ~/ran-{sweep}
while ! test -e ~/go-{sweep}-$(hostname); do sleep 0.05; done
uname -m
"""


@pytest.fixture
def ground(lab: Lab, hostile_path: Path) -> Iterator[Ground]:
    """A project on the laptop; the hosts' own orch home lies on their shared home."""
    found = Ground(hostile_path / "ground")
    found.write("orch.yaml", "project: ducts-12ab")
    hosts = [f"  {name}: {{ssh: {name}, home: ~/orch-fleet}}" for name in lab.hosts]
    found.write("site.yaml", "hosts:", *hosts)
    yield found
    found.close()
    for host in lab.hosts.values():
        host.run("/bin/sh", "-c", "pkill -KILL -u alice -f '[e]xec.i.read' ; rm -rf /var/tmp/orch-*", check=False)
    for path in [*lab.user_home.glob("ran-*"), *lab.user_home.glob("go-*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write(ground: Ground, name: str, grid: str, script: str = JOB) -> None:
    script = script.replace("{sweep}", name)
    ground.write(f"sweeps/{name}.yaml", f"command: [sh, -c, {json.dumps(script)}]", f"grid: {grid}")


def go(lab: Lab, sweep: str, host: str) -> None:
    (lab.user_home / f"go-{sweep}-{host}").touch()


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
    go(lab, "one", "nodal")
    again = ground.orch("sweep", "one")
    assert again.code == 0, again.err
    assert "hosts nodal: as the last time" in again.err
    assert [number for _, number in ran(lab, "one")] == ["1", "2", "3", "4"]
    assert "x86_64" in ground.orch("logs", "n=3").out
    why = ground.orch("why", "n=3").out
    assert "on nodal" in why and "its place: nodal, because the only host that was asked for" in why


@pytest.mark.usefixtures("needs_arm")
def test_three_hosts_of_two_processors_share_a_sweep_in_blocks(ground: Ground, lab: Lab) -> None:
    """One connection to each host; each job once, on the host that the plan named; a second laptop sees the same."""
    script = 'echo "$(hostname) {fold} {strategy}" >> ~/ran-many; uname -m'
    write(ground, "many", "{fold: [0, 1, 2], strategy: [a, b, c, d]}", script)
    before = {name: host.connections for name, host in lab.hosts.items()}
    done = ground.orch("sweep", "many", "--hosts", "nodal,grace,ada", "--json", timeout=300)
    assert done.code == 0, done.err
    assert {name: host.connections - before[name] for name, host in lab.hosts.items()} == dict.fromkeys(lab.hosts, 1)
    found = ran(lab, "many")
    assert len(found) == len({tuple(row[1:]) for row in found}) == 12, "each cell once"
    rows = ground.rows("many")
    assert {row["state"] for row in rows.values()} == {"done"}
    told = {(row["names"]["fold"], row["names"]["strategy"]): row["host"] for row in rows.values()}
    assert all(told[int(fold), strategy] == host for host, fold, strategy in found), "it ran where the index says"
    for fold in range(3):
        kinds = {host == "nodal" for (number, _), host in told.items() if number == fold}
        assert len(kinds) == 1, "a block stays on hosts that compute alike"
    other = Ground(ground.base.parent / "other")
    for name in ("orch.yaml", "site.yaml"):
        other.write(name, (ground.project / name).read_text())
    seen = {label: (row["state"], row["host"]) for label, row in other.rows("many").items()}
    assert seen == {label: (row["state"], row["host"]) for label, row in rows.items()}
    assert other.orch("index", "check").code == 0
    other.close()


@pytest.mark.usefixtures("needs_arm")
def test_a_silent_host_is_not_dead_and_what_waits_there_moves_with_proof(ground: Ground, lab: Lab) -> None:
    """Injected: ada's cable pulled with one job running and others waiting there. Lost: nothing; doubled: nothing.

    The waiting ones move to nodal; the running one is unreachable until the cable is back, and then done.
    """
    folder = lab.user_home / "ran-judged"
    folder.mkdir()
    folder.chmod(0o777)
    witness, labels = Witness(ground, folder, "$HOME/ran-judged"), [f"n={number}" for number in range(1, 7)]
    write(ground, "cut", "{n: 1..6}", witness.script("n={n}", JOB + "finish 0"))
    first = ground.orch("sweep", "cut", "--hosts", "ada", "--parallel", "1", "--detach", timeout=120)
    assert first.code == 0, first.err
    witness.accepted(*labels)
    until(lambda: len(ran(lab, "cut")) == 1, 60, "one runs on ada")
    lab["ada"].cut()
    witness.look("cut")
    go(lab, "cut", "nodal")
    done = ground.orch("sweep", "cut", "--hosts", "nodal,ada", timeout=300)
    assert "ada does not answer and takes no part now" in done.err
    assert done.code == 1, "one job is not known to have ended"
    states = ground.rows("cut")
    lost = [row for row in states.values() if row["state"] == "unreachable"]
    assert [row["host"] for row in lost] == ["ada"]
    assert sorted(row["state"] for row in states.values()) == ["done"] * 5 + ["unreachable"]
    lab["ada"].heal()
    go(lab, "cut", "ada")
    until(lambda: set(ground.states("cut").values()) == {"done"}, 120, "ada's job is known to be done")
    witness.verdict("cut")
    found = ran(lab, "cut")
    assert sorted(number for _, number in found) == ["1", "2", "3", "4", "5", "6"]
    assert {host for host, _ in found} == {"nodal", "ada"}


@pytest.mark.usefixtures("needs_arm")
def test_a_host_declared_dead_is_fenced(ground: Ground, lab: Lab) -> None:
    """Injected: ada without power while a job runs there; declared dead; then it boots again. Counted: one result."""
    write(ground, "dead", "{n: [1]}")
    assert ground.orch("sweep", "dead", "--hosts", "ada", "--detach", timeout=120).code == 0
    until(lambda: ground.states("dead") == {"n=1": "running"}, 60, "the laptop knows that it runs on ada")
    lab["ada"].cut()
    refused = ground.orch("host", "declare-dead", "ada")
    assert refused.code == 2 and "add --yes" in refused.err and "n=1 (dead, last known: running)" in refused.err
    done = ground.orch("host", "declare-dead", "ada", "--yes")
    assert done.code == 0, done.err
    assert "1 job ended" in done.out
    go(lab, "dead", "nodal")
    again = ground.orch("sweep", "dead", "--hosts", "nodal", timeout=120)
    assert again.code == 0, again.err
    assert ground.states("dead") == {"n=1": "done"}
    lab["ada"].heal()
    go(lab, "dead", "ada")
    row = ground.rows("dead")["n=1"]
    assert (row["state"], row["attempts"], row["host"]) == ("done", 2, "nodal")
    why = ground.orch("why", "n=1").out
    assert "its result does not count: ada was declared dead by" in why
    assert ground.orch("index", "rebuild").code == 0
    assert ground.rows("dead")["n=1"]["attempts"] == 2
