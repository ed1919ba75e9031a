"""What Slurm costs: submitting beside one plain `sbatch --array`, states with one squeue, the end of a job, growth.

Method. The Slurm of the tests is brought up: three nodes of four cores on this machine, an array of up to 50,000 jobs.
Commands run as a user starts them, on the login node. While jobs are submitted the partition is down: none begins, so
that only the way into Slurm is measured. "in Slurm" is the time from the command's begin until squeue lists the last
job. Then twelve begin, and all are asked for and stopped. The calls of squeue are counted by a program of that name
which stands first in the PATH that submitted the jobs. "noticed" is the time from the end of a job that
`orch attach` waits for until that command has ended. Memory is the largest resident set of a command; the login node's
agent and keeper, processes of their own, are not in it. The files of a job are those in the home of the login node.

From the sizes that were measured follows what 100,000 jobs cost: a straight line (least squares) through the figures of
each step and of memory, and how the cost grows, as the slope in a plot of logarithms (1: linear, above: worse) between
the two largest sizes. More is possible with `--sizes 1000 3000 10000 30000`, and takes some minutes.

    python benchmarks/bench_slurm.py
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import harness

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "tests")]

from ground import ORCH, Ground, until  # noqa: E402
from lab.slurm import Slurm, lacking  # noqa: E402

SIZES = (1000, 3000, 10000)
GOAL = 100_000  # jobs that are told of without being measured: Slurm and its nodes share this machine with us
CORES = 12  # of its nodes together
RUN = 200  # jobs that are run to their end for the count of files
SITE = ("hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")


class Run(NamedTuple):
    """Seconds of a command and its largest resident set, MB."""

    wall: float
    rss_mb: float


class Cost(NamedTuple):
    """What so many jobs cost: seconds to submit them (without and with Slurm), to ask for them, to stop them; MB."""

    jobs: int
    submit: float
    there: float
    status: float
    stop: float
    memory: float


def orch(ground: Ground, *words: str, **variables: str) -> Run:
    """Run `orch`; its wall time and memory."""
    began = time.perf_counter()
    with (ground.base / "said.txt").open("w+") as said:
        env = ground.environment | variables
        child = subprocess.Popen(
            [*ORCH, *words], cwd=ground.project, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        rss_mb = 0.0
        while child.poll() is None:  # not by wait4(2), which counts the agent too: a laptop has it elsewhere
            rss_mb = max(rss_mb, largest(child.pid))
            time.sleep(0.005)
        wall = time.perf_counter() - began
        said.seek(0)
        if child.returncode:
            raise SystemExit(f"orch {' '.join(words)} ended with {child.returncode}:\n{said.read()[-2000:]}")
    return Run(wall, rss_mb)


def largest(pid: int) -> float:
    """Return the largest resident set that a process has had, MB; 0 once it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def listed(slurm: Slurm) -> int:
    """How many jobs Slurm has."""
    return len(slurm.ask("squeue", "-h", "-r", "-o", "%i").split())


def plain(slurm: Slurm, jobs: int) -> float:
    """Return the seconds of one plain `sbatch --array`, until squeue lists all of it."""
    began = time.perf_counter()
    slurm.ask("sbatch", f"--array=0-{jobs - 1}", "--output=/dev/null", "--wrap", "true")
    until(lambda: listed(slurm) == jobs, 60)
    seconds = time.perf_counter() - began
    slurm.ask("scancel", "-u", "root")
    until(lambda: not listed(slurm), 60)
    return seconds


def growth(slurm: Slurm, ground: Ground, jobs: int) -> tuple[list[str], Cost]:
    """Submit, ask for, and stop so many jobs of which none begins; return the row of the table, and its numbers."""
    slurm.ask("scontrol", "update", "partitionname=gpu", "state=down")
    alone, name, before = plain(slurm, jobs), f"many-{jobs}", harness.entries(Path(ground.home.path))
    ground.sweep(name, f"echo {{n}} >> {ground.project}/{name}; exec sleep 600", f"{{n: 1..{jobs}}}")
    began = time.perf_counter()
    submit = orch(ground, "sweep", name, "--detach", PATH=f"{counter(ground)}:{os.environ['PATH']}")
    until(lambda: listed(slurm) == jobs, 600)
    there = time.perf_counter() - began
    files = (harness.entries(Path(ground.home.path)) - before) / jobs
    slurm.ask("scontrol", "update", "partitionname=gpu", "state=up")
    until(lambda: len(ground.ran(name)) == CORES, 120)
    status, calls = counted(ground)
    stop = orch(ground, "stop", name)
    until(lambda: not listed(slurm), 300)
    ground.settle(300)
    seconds = [f"{value:.2f}" for value in (alone, submit.wall, there, 1.5 * alone + 3, status.wall)]
    memory = max(submit.rss_mb, status.rss_mb, stop.rss_mb)
    row = [f"{jobs:,}", *seconds, str(calls), f"{stop.wall:.1f}", f"{memory:.0f}", f"{files:.2f}"]
    return row, Cost(jobs, submit.wall, there, status.wall, stop.wall, memory)


def reached(costs: Sequence[Cost], what: str) -> list[str]:
    """Return for one cost what the line through all sizes tells of `GOAL`, and its growth between the last two."""
    values = [(cost.jobs, float(getattr(cost, what))) for cost in costs]
    line = statistics.linear_regression(*zip(*values, strict=True))
    (jobs, value), (most, last) = values[-2:]
    power = math.log(last / value) / math.log(most / jobs)
    return [f"{line.intercept + line.slope * GOAL:.0f}", f"{power:.2f}"]


def counted(ground: Ground) -> tuple[Run, int]:
    """Return what `orch status --refresh` took, and how often it called squeue."""
    count = ground.base / "calls"
    count.write_text("")
    run = orch(ground, "status", "--refresh", COUNT_SQUEUE=str(count))
    return run, len(count.read_text().split())


def counter(ground: Ground) -> Path:
    """Return the folder of a squeue that counts the calls of those commands that name a file for it."""
    folder = ground.base / "bin"
    folder.mkdir(exist_ok=True)
    real = shutil.which("squeue")
    (folder / "squeue").write_text(
        f'#!/bin/sh\ntest -z "$COUNT_SQUEUE" || echo x >> "$COUNT_SQUEUE"\nexec {real} "$@"\n'
    )
    (folder / "squeue").chmod(0o755)
    return folder


def ends(slurm: Slurm, ground: Ground, rounds: int) -> list[float]:
    """Return the seconds from the end of a job until whoever waits for it knows."""
    found = []
    for number in range(rounds):
        go, ended = ground.project / f"go-{number}", ground.project / f"ended-{number}"
        ground.sweep(f"end-{number}", f"until test -e {go}; do sleep 0.02; done; touch {ended}", "{n: [1]}")
        orch(ground, "sweep", f"end-{number}", "--detach")
        waits = ground.start("attach", f"end-{number}")
        until(lambda name=f"end-{number}": ground.states(name)["n=1"] == "running", 120)  # type: ignore[misc]
        time.sleep(5 + number)  # so long that nobody looks often any more
        go.touch()
        until(ended.exists, 60)
        began = time.perf_counter()
        waits.communicate()
        found.append(time.perf_counter() - began)
    return found


def files(slurm: Slurm, ground: Ground) -> tuple[float, str]:
    """Run jobs to their end; return how many files and folders each has then, and which."""
    before = harness.entries(Path(ground.home.path))
    ground.sweep("whole", "true", f"{{n: 1..{RUN}}}")
    orch(ground, "sweep", "whole")
    ground.settle()
    attempt = next(Path(ground.home.path).glob("runs/whole/*/*"))
    names = ", ".join(sorted(path.name for path in attempt.iterdir()))
    return (harness.entries(Path(ground.home.path)) - before) / RUN, names


def main() -> None:
    """Bring Slurm up, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    options: Any = parser.parse_args()
    if lacking():
        print(f"Slurm: none on this machine: {lacking()}")
        return
    before = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="orch-bench-") as place,
        Slurm(Path(place) / "s", array_size=50001) as slurm,
    ):
        ground = Ground(Path(place) / "ground", SLURM_CONF=str(slurm.conf))
        ground.write("orch.yaml")
        ground.write("site.yaml", *SITE)
        measured = [growth(slurm, ground, jobs) for jobs in options.sizes]
        noticed = ends(slurm, ground, options.rounds)
        each, names = files(slurm, ground)
        ground.close()
    heads = [
        "jobs",
        "sbatch s",
        "orch s",
        "in Slurm s",
        "budget s",
        "status s",
        "squeue calls",
        "stop s",
        "MB (<= 300)",
    ]
    print(harness.table("Jobs in Slurm", [*heads, "files of one that waits"], [row for row, _ in measured]))
    if len(measured) > 1:
        costs = [cost for _, cost in measured]
        words = {"submit": "to submit, s", "there": "until all are in Slurm, s", "status": "status, s"}
        words |= {"stop": "to stop, s", "memory": "memory, MB (<= 300)"}
        rows = [[text, *reached(costs, what)] for what, text in words.items()]
        print(harness.table(f"{GOAL:,} jobs, by the line", ["what", "expected", "grows with the power"], rows))
    worst = f"{statistics.median(noticed):.1f} ({max(noticed):.1f})"
    more = [
        [f"end of a job noticed s, median (worst) of {options.rounds}", worst, "<= 10"],
        [f"files and folders of an ended job: two folders, {names}", f"{each:.1f}", ""],
    ]
    print(harness.table("Jobs that run", ["what", "measured", "budget"], more))
    print(f"\nload before {before:.1f}, after {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
