"""`orch sweep` from a laptop over real ssh to a login node with a real Slurm; the laptop is cut off in the middle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.login import LoginNode, lacking
from lab.slurm import Slurm

from jobs.lease import holding as holding_lock

pytestmark = pytest.mark.slow
SITE = (
    "  cluster:",
    "    ssh: gate",
    "    scheduler: slurm",
    "    slurm: {partition: gpu}",
)


@pytest.fixture
def login(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """What the login node has: an orch home, a local folder, and a place `project` in which jobs leave their marks."""
    found = Ground(tmp_path / "login")
    yield found
    found.close()


@pytest.fixture
def gate(login: Ground, slurm: Slurm, tmp_path: Path) -> Iterator[LoginNode]:
    """The way to it. Its programs come first from `bin`, which is empty unless a test breaks one of Slurm's."""
    if lacking():
        pytest.skip(lacking())
    path = f"{login.base}/bin:/usr/local/bin:/usr/bin:/bin"
    variables = {"SLURM_CONF": str(slurm.conf), "ORCH_LOCAL": str(login.local), "PATH": path}
    found = LoginNode(tmp_path / "gate", "gate", variables)
    found.start()
    yield found
    found.close()


@pytest.fixture
def laptop(gate: LoginNode, login: Ground, tmp_path: Path) -> Iterator[Ground]:
    """A project on a laptop that has no Slurm, and nothing in common with the login node but the way to it."""
    variables = {"PATH": f"{gate.base}:{os.environ['PATH']}", "SLURM_CONF": str(tmp_path / "none")}
    found = Ground(tmp_path / "laptop", **variables)
    found.write("orch.yaml")
    site(found, login, f"    python: {sys.executable}")
    yield found
    found.close()


def site(laptop: Ground, login: Ground, *more: str) -> None:
    laptop.write("site.yaml", "hosts:", *SITE, f"    home: {login.home.path}", *more)


def program(login: Ground, name: str, text: str) -> None:
    """Put a program before one of Slurm's on the login node."""
    path = login.base / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def holding(login: Ground, then: str = "true") -> str:
    """A job that tells that it began, and waits until the file `go` is there."""
    where = login.project
    return f"echo {{n}} >> {where}/ran; until test -e {where}/go; do sleep 0.1; done; {then}"


def arrays(slurm: Slurm, sweep: str) -> list[str]:
    """Ids of all arrays that Slurm ever took for a sweep."""
    rows = (line.split("|") for line in slurm.ask("squeue", "-h", "-r", "-t", "all", "-o", "%F|%j").splitlines())
    return sorted({row[0] for row in rows if row[1].startswith(f"{sweep}.")})


def ended(login: Ground, sweep: str) -> bool:
    """All attempts that have begun have told how they ended."""
    return all(Path(folder.exit).exists() for folders in login.folders(sweep).values() for folder in folders)


def awaited(lock: str) -> bool:
    """Somebody waits for a lock that we hold (proc(5), `locks`: such a line has an arrow)."""
    inode = Path(lock).stat().st_ino
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(row[1] == "->" and row[6].endswith(f":{inode}") for row in rows)


def cut_off(gate: LoginNode, command: subprocess.Popen[str]) -> None:
    """Cut the laptop off under a command; it ends and says so."""
    gate.cut()
    told = command.communicate(timeout=120)[1]
    assert command.returncode == 5 and "the connection to gate broke off" in told, told


def test_jobs_end_and_are_tried_again_without_the_laptop(
    laptop: Ground, login: Ground, gate: LoginNode, slurm: Slurm
) -> None:
    """Injected: sshd and all its sessions killed with three jobs running and two waiting, until all have ended.

    One fails meanwhile in a way that is tried again. Lost: nothing; doubled: nothing.
    """
    mark = f"{login.project}/once"
    once = f"test {{n}} != 2 -o -e {mark} && echo ended on $SLURMD_NODENAME || {{{{ touch {mark}; kill -KILL $$; }}}}"
    laptop.sweep("afar", holding(login, once), "{n: 1..5}", resources={"gpus": 1})
    done = laptop.orch("sweep", "afar", "--hosts", "cluster", "--detach")
    assert done.code == 0, done.err
    until(lambda: len(login.ran()) == 3, what="three run")
    assert sorted(laptop.states("afar").values()) == ["queued"] * 2 + ["running"] * 3
    assert "it is Slurm's job" in laptop.orch("why", "n=5").out
    gate.cut()
    away = laptop.rows("afar")
    assert {row["state"] for row in away.values()} == {"unreachable"}
    assert "the job is not counted dead" in away["n=1"]["reason"]
    (login.project / "go").touch()
    until(lambda: len(login.ran()) == 6 and ended(login, "afar"), what="all have ended, one at its second attempt")
    gate.start()
    assert set(laptop.states("afar").values()) == {"done"}
    assert login.ran() == ["1", "2", "2", "3", "4", "5"] and len(arrays(slurm, "afar")) == 2
    why = laptop.orch("why", "n=2").out
    node = re.findall(r"attempt 2 on (\w+)", why)[0]
    assert "killed by a signal -> retried -> done" in why and "Slurm's job" in why, why
    assert laptop.orch("logs", "n=2").out.splitlines() == [f"ended on {node}"]
    assert "5 of 5 cells have a result" in laptop.orch("report", "afar").out


def test_cuts_in_the_middle_of_the_way_into_slurm_double_nothing(
    laptop: Ground, login: Ground, gate: LoginNode, slurm: Slurm
) -> None:
    """Injected: all of ssh killed at two moments of handing jobs in. Lost: nothing; doubled: nothing.

    First under a sweep that somebody attends, while sbatch, whose array Slurm has, has not answered. Then while the
    login node is about to queue jobs: the laptop never hears of it, they run all the same, and the same command finds
    them done.
    """
    accepted, answer = login.project / "accepted", login.project / "answer"
    wait = f"touch {accepted}; until test -e {answer}; do sleep 0.1; done"
    program(login, "sbatch", f'#!/bin/sh\nsaid=$(/usr/bin/sbatch "$@") && {wait} && echo "$said"\n')
    laptop.sweep("unheard", f"echo unheard {{n}} >> {login.project}/ran", "{n: 1..4}")
    attended = laptop.start("sweep", "unheard", "--hosts", "cluster")
    until(accepted.exists, what="Slurm has accepted")
    cut_off(gate, attended)
    answer.touch()
    until(lambda: len(login.ran()) == 4 and ended(login, "unheard"), what="its jobs have ended")
    gate.start()
    assert laptop.orch("attach", "unheard").code == 0

    laptop.sweep("broken", f"echo broken {{n}} >> {login.project}/ran", "{n: 1..4}")
    login.settle()  # where nothing is left to be done, queueing is the first that needs the lock
    with holding_lock(login.host_folder.queue_lock):
        sending = laptop.start("sweep", "broken", "--hosts", "cluster", "--detach")
        until(lambda: awaited(login.host_folder.queue_lock), what="it is about to queue the jobs")
        cut_off(gate, sending)
    until(lambda: len(login.ran()) == 8 and ended(login, "broken"), what="its jobs have ended")
    gate.start()
    again = laptop.orch("sweep", "broken", "--hosts", "cluster")
    assert again.code == 0 and "already there: 4 done; 0 jobs to run" in again.err, again.err
    assert login.ran() == [f"{name} {number}" for name in ("broken", "unheard") for number in (1, 2, 3, 4)]
    assert len(arrays(slurm, "unheard")) == len(arrays(slurm, "broken")) == 1


def test_a_login_node_without_submitit_is_told_with_the_repair(laptop: Ground, login: Ground, slurm: Slurm) -> None:
    """Its own Python has none: doctor and the sweep say so. Another one is named in the site file, and all run."""
    site(laptop, login)
    laptop.sweep("four", f"echo {{n}} >> {login.project}/ran", "{n: 1..4}")
    found = laptop.orch("doctor", "--host", "cluster").out
    assert "no Python has it that could hand jobs to Slurm: /usr/bin/python3\torch setup --host cluster" in found
    refused = laptop.orch("sweep", "four", "--hosts", "cluster")
    assert refused.code == 1 and "4 jobs held: Slurm refuses it: submitit is not installed in" in refused.err
    assert "orch setup --host cluster makes an environment with it" in refused.err, refused.err
    site(laptop, login, f"    python: {sys.executable}")
    assert laptop.orch("stop", "four").code == 0
    assert laptop.orch("sweep", "four", "--hosts", "cluster").code == 0
    assert login.ran() == ["1", "2", "3", "4"] and len(arrays(slurm, "four")) == 1
