"""What sweeps over SSH cost: one exchange, states from a cold index, 10,000 jobs on three hosts, a slow line.

Method. The lab of the tests is brought up: three hosts with their own sshd, network and disk and one home. grace and
ada are emulated, so a job there takes about ten times what it would on a real machine of that kind. Commands run as a
user starts them. "after connection" is what the index takes from opened connections to the last row written, in a
process of its own; "cold" is an index that knows nothing, "warm" one that knows all. For the slow line everything
arrives 40 ms late in both directions (delayed.py) and 1 % of the packets to the host are lost; round trips are what
`orch` takes longer there than on the quick line, beyond what `ssh HOST true` takes longer, over the 80 ms of one.
The sweeps of no-op jobs (`true`) end by themselves; memory is the largest resident set of the command on the laptop.

    nice -n -5 python benchmarks/bench_fleet.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from labdesk import HOSTS, Desk  # first: it finds the lab

from lab import system  # isort: skip
from lab.cluster import USER, Lab  # isort: skip

DELAY = 40.0  # ms, each way
LOSS = 1.0  # % of the packets to the host
SIZES = (1000, 3000, 10000)
_LOOK = """
import os, sys, time
from pathlib import Path
from orchestrator.collect import every_host, own_index, refresh
from orchestrator.config import Settings
from orchestrator.fleet import Fleet
settings = Settings({}, os.environ, Path.cwd())
with own_index(settings) as index, Fleet.open(settings, sys.argv[1:] or every_host(settings), create=False) as fleet:
    began = time.perf_counter()
    refresh(fleet, index)
    print(time.perf_counter() - began, len(index.jobs()))
"""


def sweep(desk: Desk, name: str, jobs: int) -> None:
    """Write a sweep of no-op jobs."""
    (desk.folder / "sweeps").mkdir(exist_ok=True)
    (desk.folder / "sweeps" / f"{name}.yaml").write_text(f'command: ["true"]\ngrid: {{n: 1..{jobs}}}\n')


def look(desk: Desk, *hosts: str, cold: bool = False) -> tuple[float, int]:
    """Return the seconds after connection that a look at hosts takes, and how many jobs are known then."""
    with tempfile.TemporaryDirectory(dir=desk.folder) as state, desk.lab.laptop():
        env = {**desk.env, "ORCH_STATE": state} if cold else desk.env
        argv = [sys.executable, "-c", _LOOK, *hosts]
        text = subprocess.run(argv, cwd=desk.folder, env=env, capture_output=True, text=True, check=True).stdout
    seconds, jobs = text.split()
    return float(seconds), int(jobs)


def shell(desk: Desk) -> float:
    """Return the seconds of `ssh nodal true`."""
    began = time.perf_counter()
    with desk.lab.laptop():
        subprocess.run(["ssh", "nodal", "true"], cwd=desk.folder, env=desk.env, check=True, capture_output=True)
    return time.perf_counter() - began


def one_host(desk: Desk, rounds: int) -> list[list[str]]:
    """Submit 200 jobs to one host; look at 1,000 states that nobody knows yet."""
    walls = []
    for number in range(rounds):
        sweep(desk, f"two-{number}", 200)
        before = desk.connections()["nodal"]
        walls.append(desk.orch("sweep", f"two-{number}", "--hosts", "nodal", "--detach").wall)
        connections = desk.connections()["nodal"] - before
    for number in range(rounds):
        desk.orch("attach", f"two-{number}")
    colds = [look(desk, "nodal", cold=True) for _ in range(rounds)]
    per = f"{1000 * statistics.median(seconds / jobs for seconds, jobs in colds):.2f}"
    return [
        ["200 jobs to one SSH host, the whole command s", _cell(walls), "<= 2"],
        ["connections for it", str(connections), "1"],
        [f"{colds[0][1]} states from a cold host, after connection s", _cell([each for each, _ in colds]), ""],
        ["the same for 1,000 s", per, "<= 0.35"],
    ]


def slow_line(lab: Lab, folder: Path, plain: Desk, rounds: int) -> list[list[str]]:
    """Submit and poll over a line with delay and loss."""
    proxy = f"{sys.executable} {Path(__file__).with_name('delayed.py')} %h %p {DELAY:g}"
    late = Desk(lab, folder, f"home: /home/{USER}/.orch", f"Host *\n  ProxyCommand {proxy}")
    lab["nodal"].drop(LOSS)
    extra: dict[str, list[float]] = {"submit": [], "poll": []}
    for number in range(rounds):
        found = {}
        for desk, word in ((plain, "near"), (late, "far")):
            sweep(desk, f"{word}-{number}", 20)
            submit = desk.orch("sweep", f"{word}-{number}", "--hosts", "nodal", "--detach").wall
            poll = desk.orch("status", f"{word}-{number}", "--refresh").wall
            found[word] = (shell(desk), submit, poll)
        base, submit, poll = (far - near for far, near in zip(found["far"], found["near"], strict=True))
        extra["submit"].append((submit - base) / (2 * DELAY / 1000))
        extra["poll"].append((poll - base) / (2 * DELAY / 1000))
    lab["nodal"].heal()
    return [
        [f"round trips to {what}, median", f"{statistics.median(some):.1f}", "<= 5"] for what, some in extra.items()
    ]


def three_hosts(desk: Desk, sizes: list[int]) -> list[list[str]]:
    """Run no-op sweeps over all hosts, then look at all that is there."""
    rows = []
    for jobs in sizes:
        sweep(desk, f"many-{jobs}", jobs)
        done = desk.orch("sweep", f"many-{jobs}", "--hosts", ",".join(HOSTS))
        assert f"{jobs} done" in done.err, done.err
        rows.append(
            [f"{jobs:,}", f"{done.wall:.1f}", f"{1000 * done.wall / jobs:.1f}", f"{done.cpu:.1f}", f"{done.rss_mb:.0f}"]
        )
    return rows


def _cell(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({max(values):.2f})"


def main() -> None:
    """Bring the lab up, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    options: Any = parser.parse_args()
    lacking = system.lacking() or system.lacking_arm()
    if lacking:
        print(f"Fleet: no lab on this machine: {lacking}")
        return
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as place:
        Path(place).chmod(0o711)  # the lab's user must get through to the shared home
        with Lab(Path(place) / "lab") as lab:
            desk = Desk(lab, Path(place) / "desk", f"home: /home/{USER}/.orch")
            one = one_host(desk, options.rounds)
            one += slow_line(lab, Path(place) / "late", desk, options.rounds)
            many = three_hosts(desk, options.sizes)
            warm, jobs = look(desk)
            cold, _ = look(desk, cold=True)
            status = desk.orch("status", "--refresh")
    one += [
        [f"look at {jobs:,} jobs of 3 hosts, warm, after connection s", f"{warm:.2f}", "<= 2"],
        [f"look at {jobs:,} jobs of 3 hosts, cold, after connection s", f"{cold:.2f}", ""],
        ["orch status --refresh, the whole command s (MB)", f"{status.wall:.1f} ({status.rss_mb:.0f})", ""],
    ]
    print(harness.table(f"Median (worst) of {options.rounds} rounds", ["what", "measured", "budget"], one))
    heads = ["jobs on 3 hosts", "wall s", "ms/job", "CPU s on the laptop", "largest RSS MB (<= 150)"]
    print(harness.table("No-op sweeps to their end", heads, many))
    print(f"\nload before {before:.1f}, after {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
