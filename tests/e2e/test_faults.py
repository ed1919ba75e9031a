"""Killed, full, unwritable, twice at the same time: what was injected, how often, and what was lost (nothing)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until

KILLS = 18


@pytest.mark.slow
def test_orch_killed_at_any_moment(ground: Ground) -> None:
    """Injected: SIGKILL to `orch` at 18 random moments of its life, while a sweep grows to 40 jobs.

    Lost: nothing. Every job ran exactly once, and all count.
    """
    dice = random.Random(1)
    began, span = time.monotonic(), 0.0
    for kill in range(KILLS + 1):
        ground.sweep("many", "echo {n} >> ran; sleep 0.05", f"{{n: 1..{4 + 2 * kill}}}")
        if kill == 0:
            assert ground.orch("sweep", "many").code == 0
            span = time.monotonic() - began
            continue
        victim = ground.start("sweep", "many", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_killed(victim, dice.uniform(0.0, 1.1 * span))
    said = ground.orch("sweep", "many", "--json")
    assert (said.code, said.json["counts"]) == (0, {"done": 40})
    assert ground.ran() == sorted(map(str, range(1, 41)))
    assert all(len(attempts) == 1 for attempts in ground.folders("many").values())
    assert ground.orch("index", "check").code == 0


def until_killed(victim: subprocess.Popen[str], seconds: float) -> None:
    """Kill a process when it has lived for so long, if it still does."""
    try:
        victim.wait(seconds)
    except subprocess.TimeoutExpired:
        victim.kill()
        victim.wait()


@pytest.mark.parametrize("count", [2, 4])
def test_the_same_sweep_started_several_times_at_once(ground: Ground, count: int) -> None:
    """Injected: two, then four `orch sweep` of one file at the same moment. Started twice: nothing."""
    ground.sweep("s", "echo {n} >> ran", "{n: 1..20}")
    running = [ground.start("sweep", "s", "--json") for _ in range(count)]
    for one in running:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
        assert json.loads(out)["counts"] == {"done": 20}
    assert ground.ran() == sorted(map(str, range(1, 21)))
    assert all(len(attempts) == 1 for attempts in ground.folders("s").values())


def test_a_killed_keeper_stops_nothing(ground: Ground) -> None:
    """Injected: SIGKILL to the keeper, three times in one sweep of 12 jobs, `orch` only watching. Lost: nothing."""
    ground.sweep("s", "echo {n} >> ran; sleep 0.3", "{n: 1..12}")
    watching = ground.start("sweep", "s", "--parallel", "2")
    until(ground.ran, what="the first job")
    killed: set[int] = set()
    while len(killed) < 3:
        (keeper,) = until(lambda: set(ground.keepers()) - killed, what="a new keeper")
        os.kill(keeper, signal.SIGKILL)
        killed.add(keeper)
    _, err = watching.communicate(timeout=120)
    assert watching.returncode == 0, err
    assert ground.ran() == sorted(map(str, range(1, 13)))
    ground.settle()


def test_a_killed_job_fails_with_its_kind_and_runs_again(ground: Ground) -> None:
    """Injected: SIGKILL to a running program, twice. Started again: once by itself, then by the next sweep.

    Said: killed, by which signal, what to do.
    """
    ground.sweep("s", "echo $$ >> pids; test -e go || exec sleep 300")
    watching = ground.start("sweep", "s")
    for number in range(2):
        pids = until(lambda number=number: len(ground.ran("pids")) > number and ground.ran("pids"))
        os.kill(int(pids[number]), signal.SIGKILL)
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 1
    assert "killed: ended by signal SIGKILL" in err
    ground.write("go")
    assert ground.orch("sweep", "s").code == 0


def test_everything_killed_at_once_is_interrupted_with_proof(ground: Ground) -> None:
    """Injected: SIGKILL to keeper, watcher and job together, as a lost machine would. Lost: only that attempt."""
    ground.sweep("s", "echo $$ >> pids; test -e go || exec sleep 300")
    assert ground.orch("sweep", "s", "--detach").code == 0
    until(lambda: ground.ran("pids"))
    ground.close()
    assert ground.states("s") == {"s": "interrupted"}
    assert "the attempt's lock is free" in ground.orch("why", "s").out
    ground.write("go")
    assert ground.orch("sweep", "s").code == 0
    assert len(ground.folders("s")["s"]) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 1 MiB, really mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("needs root to mount a small disk: sudo .venv/bin/python -m pytest tests/e2e -k disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def tight(small_disk: Path, tmp_path: Path) -> Iterator[Ground]:
    """A ground whose orch home lies on the small disk."""
    found = Ground(tmp_path / "ground", ORCH_HOME=str(small_disk / "home"))
    yield found
    found.close()


def test_a_disk_that_is_full_before_anything_begins(tight: Ground, small_disk: Path) -> None:
    """Injected: not a byte free in the orch home. Said: the disk, the repair; after it, the same command works."""
    tight.sweep("s", "echo {n} >> ran", "{n: 1..5}")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(fill(small_disk)))
    said = tight.orch("sweep", "s")
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert "the disk is full" in said.err
    assert "free some space, then run the same command again" in said.err
    assert tight.ran() == []
    ballast.unlink()
    assert tight.orch("sweep", "s").code == 0
    assert tight.ran() == ["1", "2", "3", "4", "5"]


def fill(disk: Path) -> int:
    """How many bytes are free."""
    free = os.statvfs(disk)
    return free.f_bavail * free.f_frsize


def test_a_disk_that_fills_up_while_jobs_run(tight: Ground, small_disk: Path) -> None:
    """Injected: a job eats the whole disk, eight wait behind it. Lost: nothing; they begin when there is room."""
    script = 'echo {n} >> ran; test {n} != 1 || { cat /dev/zero > "$BALLAST"; touch full; }'
    tight.sweep(
        "s",
        script.replace("{ cat", "{{ cat").replace("; }", "; }}"),
        "{n: 1..9}",
        env={"BALLAST": str(small_disk / "ballast")},
    )
    watching = tight.start("sweep", "s", "--parallel", "1")
    until(lambda: (tight.project / "full").exists(), what="the disk is full")
    (small_disk / "ballast").unlink()
    _, err = watching.communicate(timeout=120)
    assert (watching.returncode, tight.ran()) == (0, [str(n) for n in range(1, 10)]), err
    assert tight.orch("index", "check").code == 0


def test_a_home_that_cannot_be_written(ground: Ground) -> None:
    """Injected: an orch home below a plain file. Said: where, why, and how to name another."""
    ground.sweep("s", "true")
    ground.write("file", "x")
    said = ground.orch("sweep", "s", ORCH_HOME=str(ground.project / "file" / "home"))
    assert said.code == 1
    assert said.err.count("error:") == 1
    assert "cannot write" in said.err
    assert "fix:" in said.err


def test_a_state_folder_that_cannot_be_written(ground: Ground) -> None:
    """Injected: the index's folder below a plain file. Said: where and why; nothing is started."""
    ground.sweep("s", "echo x >> ran")
    ground.write("file", "x")
    said = ground.orch("sweep", "s", ORCH_STATE=str(ground.project / "file" / "state"))
    assert (said.code, said.err.count("error:"), ground.ran()) == (1, 1, [])
    assert "file" in said.err
