"""`orch sweep` on a real Slurm with two partitions, of which one plays another processor: the site file says so.

slurmd tells the processor by uname(2), so both are in truth this machine's. Each Python here refuses to run elsewhere
than in the partition that it was made for, as one of another processor would.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground
from lab.slurm import Slurm

from jobs import envs
from jobs.atomic import write_json

pytestmark = pytest.mark.slow
PYTHON = str(Path(sys.executable).with_name("python"))
OWN = envs.architecture()
OTHER = "aarch64" if OWN == "x86_64" else "x86_64"


@pytest.fixture
def ground(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of a Slurm with the partitions `own` (two nodes) and `other` (one)."""
    for name, nodes in {"own": "n1,n2", "other": "n3"}.items():
        slurm.ask("scontrol", "create", f"PartitionName={name}", f"Nodes={nodes}", "State=UP")
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.write(
        "site.yaml", f"hosts:\n  local: {{scheduler: slurm, slurm: {{partition: {{{OWN}: own, {OTHER}: other}}}}}}"
    )
    yield found
    found.close()
    slurm.repair()
    for name in ("own", "other"):
        slurm.ask("scontrol", "delete", f"PartitionName={name}")


def environment(ground: Ground, home: str = "") -> envs.EnvFolder:
    """A verified environment of the other processor, which tells in `watched` what it runs."""
    place = envs.EnvFolder(home or ground.home.path, OTHER, "0123456789ab")
    python = Path(place.python)
    python.parent.mkdir(parents=True)
    watched = f'case "$*" in *slurmtask*) echo "$SLURMD_NODENAME" >> {ground.project}/watched;; esac'
    refuse = 'test "$SLURM_JOB_PARTITION" = other || { echo "exec format error" >&2; exit 126; }'
    python.write_text(f'#!/bin/sh\n{refuse}\n{watched}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    about = {"torch": "2.6.0", "python": "3.12", "packages": {}, "fingerprint": "0" * 16, "lock": {}}
    write_json(place.record, {**about, "created": time.time(), "contents": envs.contents(place.prefix)})
    return place


def test_each_partition_gets_jobs_and_runs_them_with_the_python_of_its_processor(ground: Ground) -> None:
    """Twelve jobs: the login node submits for both, watcher and job run under the environment of the partition."""
    place = environment(ground)
    line = 'echo "{n} $SLURM_JOB_PARTITION $SLURMD_NODENAME $(command -v python)"'
    ground.sweep("both", f"{line} >> {ground.project}/ran", "{n: 1..12}")
    done = ground.orch("sweep", "both")
    assert done.code == 0, done.err
    assert f"local:{OWN}" in done.err and f"local:{OTHER}" in done.err
    rows = [line.split() for line in ground.ran()]
    assert sorted(int(row[0]) for row in rows) == list(range(1, 13)), "each once"
    other = [row for row in rows if row[1] == "other"]
    assert 0 < len(other) < len(rows)
    assert {tuple(row[2:]) for row in other} == {("n3", place.python)}
    assert place.python not in {row[-1] for row in rows if row[1] == "own"}
    assert Counter(ground.ran("watched")) == {"n3": len(other)}
    number = other[0][0]
    assert ground.orch("retry", f"n={number}", "--again").code == 0
    assert ground.orch("attach", "both").code == 0
    again = [line.split() for line in ground.ran() if line.split()[0] == number]
    assert [row[1:] for row in again] == [["other", "n3", place.python]] * 2, "a retry stays in its partition"


def test_one_partition_of_another_processor_than_the_login_node(ground: Ground) -> None:
    """The key `arch` wins over what Slurm tells: watcher and job run under the environment of that processor."""
    site = f"slurm: {{partition: other, arch: {OTHER}}}"
    ground.write("site.yaml", f"hosts:\n  local: {{scheduler: slurm, {site}}}")
    place = environment(ground)
    ground.sweep("one", f"command -v python >> {ground.project}/ran", "{n: [1]}")
    done = ground.orch("sweep", "one")
    assert done.code == 0, done.err
    assert ground.ran() == [place.python] and ground.ran("watched") == ["n3"]


def test_a_login_node_that_is_another_machine_tells_of_both_partitions(ground: Ground) -> None:
    """The same from a laptop: the host is one, in the index too; without an environment trainings are refused."""
    folder = ground.base / "cluster"
    (folder / "local").mkdir(parents=True)
    keys = f"scheduler: slurm, slurm: {{partition: {{{OWN}: own, {OTHER}: other}}}}"
    ground.write("site.yaml", "hosts:", f"  cluster: {{way: fake, address: {json.dumps(str(folder))}, {keys}}}")
    ground.write("sweeps/train.yaml", "strategies: {identity: []}", "data: none")
    said = ground.orch("sweep", "train", "--hosts", "cluster")
    assert f"cluster:{OTHER} has no environment that is verified" in said.err
    assert "orch setup --host cluster; orch setup on a node of that processor" in said.err
    keys += f", python: {{{OWN}: {PYTHON}}}"  # submitit is there
    ground.write("site.yaml", "hosts:", f"  cluster: {{way: fake, address: {json.dumps(str(folder))}, {keys}}}")
    place = environment(ground, str(folder / ".orch"))
    ground.sweep("far", f'echo "{{n}} $SLURM_JOB_PARTITION $(command -v python)" >> {ground.project}/ran', "{n: 1..12}")
    done = ground.orch("sweep", "far", "--hosts", "cluster")
    assert done.code == 0, done.err
    rows = [line.split() for line in ground.ran()]
    assert sorted(int(row[0]) for row in rows) == list(range(1, 13))
    assert {row[2] for row in rows if row[1] == "other"} == {place.python}
    assert {row[2] for row in rows if row[1] == "own"} == {PYTHON}
    assert {row["host"] for row in ground.rows("far").values()} == {"cluster"}
    ground.sweep("arm", f"echo $SLURM_JOB_PARTITION >> {ground.project}/chosen", "{n: 1..2}")
    for reason in ("--hosts", "as the last time"):
        words = ["--hosts", f"cluster:{OTHER}"] if reason == "--hosts" else ["--rerun", "all"]
        done = ground.orch("sweep", "arm", *words)
        assert done.code == 0 and f"hosts cluster:{OTHER}: " in done.err and reason in done.err
    assert ground.ran("chosen") == ["other"] * 4
    ran = ground.orch("run", "--host", f"cluster:{OTHER}", "--", "sh", "-c", "echo in $SLURM_JOB_PARTITION")
    assert ran.code == 0 and "in other" in ran.out, ran.err
    assert "'cluster:riscv' is no partition" in ground.orch("sweep", "arm", "--hosts", "cluster:riscv").err
