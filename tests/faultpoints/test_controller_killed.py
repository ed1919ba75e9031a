"""`orch` killed at the lines of submit and sync: afterwards the same command completes, and nothing is doubled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground

pytestmark = pytest.mark.slow
KILLED_AT = Path(__file__).with_name("killed_at.py")
PARTS = 4  # groups, that run side by side
STEP = 13  # every 13th line is a fault point
JOBS = 3


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Ground]:
    """A project with one host that a folder plays."""
    found = Ground(tmp_path / "ground")
    (found.base / "grace" / "local").mkdir(parents=True)
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", f"  grace: {{way: fake, address: {json.dumps(str(found.base / 'grace'))}}}")
    yield found
    found.close()


def killed(ground: Ground, number: int, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-B", str(KILLED_AT), str(number), *words]
    return subprocess.run(
        argv, cwd=ground.project, env=ground.environment, capture_output=True, text=True, timeout=120, check=False
    )


def lines(ground: Ground, *words: str) -> int:
    done = killed(ground, 0, *words)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", range(PARTS))
def test_a_submit_killed_at_any_line_is_completed_by_the_same_command(hosts: Ground, part: int) -> None:
    """Injected: SIGKILL at every 13th line of `orch sweep --hosts`, a quarter of them here. Lost, doubled: none."""
    hosts.sweep("count", "true", f"{{n: 1..{JOBS}}}")
    total = lines(hosts, "sweep", "count", "--hosts", "grace", "--detach")
    points = list(range(1, total, STEP))[part::PARTS]
    assert total > 200 and len(points) > 5, "the lines are found"
    kills = 0
    for point in points:
        name = f"s{point}"
        hosts.sweep(name, f"echo {{n}} >> {hosts.project}/ran-{name}", f"{{n: 1..{JOBS}}}")
        kills += killed(hosts, point, "sweep", name, "--hosts", "grace", "--detach").returncode == -signal.SIGKILL
        again = hosts.orch("sweep", name, "--hosts", "grace")
        assert again.code == 0, f"killed at line {point}: {again.err}"
        assert hosts.ran(f"ran-{name}") == [str(number + 1) for number in range(JOBS)], f"killed at line {point}"
    assert kills >= len(points) - 1, (
        "a run that met its jobs further on has fewer lines: the last point may lie behind it"
    )
    assert hosts.orch("index", "check").code == 0


def test_a_sync_killed_at_any_line_is_completed_by_the_same_command(hosts: Ground) -> None:
    """Injected: SIGKILL at every 13th line of `orch sync`, with fresh results each time. Lost: none; doubled: none."""
    script = (
        """echo '{{"seq":0,"t":1.0,"kind":"metrics","step":1,"values":{{"loss":0.5}}}}' >> "$ORCH_RUN/events.jsonl" """
    )
    hosts.sweep("count", script)
    assert hosts.orch("sweep", "count", "--hosts", "grace").code == 0
    total = lines(hosts, "sync")
    points = range(5, total, STEP)
    assert len(points) > 5
    kills = 0
    for point in points:
        hosts.sweep(f"s{point}", script, "{n: [1, 2]}")
        assert hosts.orch("sweep", f"s{point}", "--hosts", "grace", "--detach").code == 0
        kills += killed(hosts, point, "sync").returncode == -signal.SIGKILL
    assert kills >= len(points) - 1
    assert hosts.orch("sync").code == 0
    hosts.settle()
    assert hosts.orch("sync").code == 0
    for point in points:
        assert hosts.states(f"s{point}") == {"n=1": "done", "n=2": "done"}
    checked = hosts.orch("index", "check")
    assert checked.code == 0, checked.out + checked.err
