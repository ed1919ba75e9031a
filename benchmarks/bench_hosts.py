"""What a command costs on the hosts of the lab: connection and work apart, and the connections that sshd counts.

Method. The lab of the tests is brought up (three hosts with their own sshd, network and disk and one home; grace and
ada are emulated, so each of their seconds is a tenth of one on a real machine of that kind). `orch doctor --all` and
`orch setup --all` run as a user starts them, as programs; environments are made first, by a stand-in conda and small
stand-in wheels, so that setup has nothing to do. A round runs both; the table shows the median and the worst of the
rounds. The time of a connection is what a wire takes until the agent answers: sshd, shell, Python, our program. "wall"
is the whole command, Python's own start included. Doctor's wall without its connections is held against 5 s, setup
with nothing to do against 3 s for each host, connections against one for each host and command.

    nice -n -5 python benchmarks/bench_hosts.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import harness
from labdesk import HOSTS, Desk  # first: it finds the lab

from lab import system  # isort: skip
from lab.cluster import Lab  # isort: skip
from standins.lab_place import furnish, rattlers  # isort: skip

DOCTOR, SETUP = 5.0, 3.0  # seconds: the budgets
_MEASURED = re.compile(r"connected in ([\d.]+) s, measured in ([\d.]+) s")
_CHECKED = re.compile(r"^(\w+): nothing to do \(checked .*, ([\d.]+) s\)$", re.MULTILINE)


class Round(NamedTuple):
    """One run of both commands; seconds by host, and of the whole."""

    connect: dict[str, float]
    doctor: dict[str, float]
    setup: dict[str, float]
    doctor_wall: float
    setup_wall: float
    connections: dict[str, tuple[int, int]]


def one_round(desk: Desk, mirrors: Sequence[str]) -> Round:
    """Run both commands once."""
    first = desk.connections()
    told, _, doctor_wall, *_ = desk.orch("doctor", "--all", "--json")
    second = desk.connections()
    text, _, setup_wall, *_ = desk.orch("setup", *mirrors, "--all", "--yes")
    third = desk.connections()
    reached = {one["host"]: _MEASURED.search(one["rows"][0]["evidence"]) for one in json.loads(told)["hosts"]}
    parts = {name: (float(found[1]), float(found[2])) for name, found in reached.items() if found}
    counts = {name: (second[name] - first[name], third[name] - second[name]) for name in HOSTS}
    setup = {name: float(seconds) for name, seconds in _CHECKED.findall(text)}
    if setup.keys() != set(HOSTS):
        raise SystemExit(f"setup had something to do:\n{text}")
    connect = {name: pair[0] for name, pair in parts.items()}
    doctor = {name: pair[1] for name, pair in parts.items()}
    return Round(connect, doctor, setup, doctor_wall, setup_wall, counts)


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({max(values):.1f})"


def report(rounds: Sequence[Round]) -> str:
    """Return the tables: each host, then the whole commands beside their budgets."""
    rows: list[list[str]] = []
    for name in HOSTS:
        counts = {one.connections[name] for one in rounds}
        cells = [_cell([getattr(one, part)[name] for one in rounds]) for part in ("connect", "doctor", "setup")]
        rows.append([name, *cells, " ".join(f"{doctor} + {setup}" for doctor, setup in sorted(counts))])
    heads = ["host", "connection s", "doctor's work s", "setup, nothing to do s", "connections (doctor + setup)"]
    title = f"Side by side, median (worst) of {len(rounds)} rounds; setup's seconds include its connection"
    work = [max(one.doctor.values()) for one in rounds]
    slowest = [max(one.setup.values()) for one in rounds]
    whole: list[list[str]] = [
        ["doctor --all, work of the slowest host", _cell(work), f"<= {DOCTOR:g}"],
        ["doctor --all, wall", _cell([one.doctor_wall for one in rounds]), ""],
        ["setup --all, the slowest host", _cell(slowest), f"<= {SETUP:g}"],
        ["setup --all, wall", _cell([one.setup_wall for one in rounds]), ""],
    ]
    tables = [harness.table(title, heads, rows), harness.table("Budgets", ["what", "seconds", "budget"], whole)]
    return "\n".join(tables)


def main() -> None:
    """Bring the lab up, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    options: Any = parser.parse_args()
    lacking = system.lacking() or system.lacking_arm()
    if lacking:
        print(f"Hosts: no lab on this machine: {lacking}")
        return
    programs = rattlers()
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as place:
        Path(place).chmod(0o711)  # the lab's user must get through to the shared home
        with Lab(Path(place) / "lab") as lab:
            mirrors = furnish(lab, programs)
            desk = Desk(lab, Path(place) / "desk")
            desk.orch("setup", *mirrors, "--all", "--yes")
            desk.orch("doctor", "--all")  # the first one looks twice: a process has to outlive a connection
            before = os.getloadavg()
            rounds = [one_round(desk, mirrors) for _ in range(options.rounds)]
            print(report(rounds))
    print(f"\nload before {before[0]:.1f}, after {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
