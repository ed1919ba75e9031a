"""What waiting for `orch` costs: start-up, status, planning, the logging call, states, and what stays in memory.

Method. Start-up: `orch --help`, `orch status` and a bare `python -I -c pass` of the same environment, run in turn, the
median of each; what counts is the difference to the bare one. Status reads an index of 1,000 jobs that a real sweep of
no-op commands left, without a terminal (so without asking the host). Imports: `-X importtime` of the same command, the
heavy libraries among what it lists. Memory: the largest resident set that the kernel saw. Everything else is timed in
this process, best of 5 where it reads, median of 5 where it writes (every write is a new file). `left` counts processes
that still run 3 s after the command.

    python benchmarks/bench_cli.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import harness
import tools

from jobs.atomic import write_json
from jobs.disk import disk
from jobs.folder import Home
from jobs.handin import Run
from jobs.queue import Queue
from orchestrator.collect import known_index
from orchestrator.config import Settings
from orchestrator.dispatch import Contact
from orchestrator.plan import DataSet, Pins, Split, plan, sweep_record
from orchestrator.store import Index
from orchestrator.sweep import load_sweep

HEAVY = ("torch", "pandas", "matplotlib", "sqlalchemy", "paramiko", "numpy", "submitit", "yaml", "rich", "jinja2")
LINES = 20_000  # logging calls timed

TRAINER_SWEEP: dict[str, Any] = {  # 8 strategies x 5 folds x 5 seeds = 200 jobs
    "sweep": "planned",
    "data": "made-up",
    "folds": 5,
    "seeds": [0, 1, 2, 3, 4],
    "strategies": {
        "identity": [],
        **{f"rotate-{angle}": [{"rotate": {"degrees": angle}}] for angle in range(5, 40, 5)},
    },
}


class Line(NamedTuple):
    """One row: what, found, budget, and whether it is kept."""

    what: str
    found: str
    budget: str
    kept: bool | None

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts."""
        return (self.what, self.found, self.budget, {True: "yes", False: "NO", None: ""}[self.kept])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000, help="jobs in the index that status reads (default 1000)")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each command (default 15)")
    parser.add_argument("--folder", help="where to work: decides the disk (default: the system's temporary folder)")
    args = parser.parse_args()
    harness.become_subreaper()
    with tempfile.TemporaryDirectory(prefix="orch-bench-", dir=args.folder, ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        call = tools.orch(place, args.jobs)
        print(f"filling an index with {args.jobs} jobs on {disk(place).kind} ...", file=sys.stderr, flush=True)
        filling = harness.run(call.argv, call.folder, call.env)
        os.environ.update({name: value for name, value in call.env.items() if name.startswith("ORCH_")})
        lines = start_up(call, args.rounds)
        lines += states(call, args.jobs)
        lines += planning(place)
        lines += logging(place)
        lines.append(Line("left running after the sweep", str(filling.residents), "0", filling.residents == 0))
    print(harness.table("The command line", ("what", "found", "budget", "kept"), [line.cells() for line in lines]))
    return 0


def start_up(call: tools.Call, rounds: int) -> list[Line]:
    """Time, memory and imports of the commands that people wait for."""
    commands = {"bare": [sys.executable, "-I", "-c", "pass"], "--help": [tools.ORCH, "--help"]}
    commands["status"] = [tools.ORCH, "status"]
    runs: dict[str, list[harness.Measured]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, argv in commands.items():
            runs[name].append(harness.run(argv, call.folder, call.env))
    walls = {name: statistics.median(run.wall for run in found) for name, found in runs.items()}
    lines = [Line("bare Python start", f"{1000 * walls['bare']:.0f} ms", "", None)]
    for name, budget in (("--help", 60), ("status", 120)):
        over = 1000 * (walls[name] - walls["bare"])
        memory = max(run.rss_mb for run in runs[name])
        heavy = imported(commands[name], call)
        unwanted = set(heavy) & {"torch", "pandas", "matplotlib", "sqlalchemy", "paramiko"}
        lines.append(Line(f"orch {name} over bare", f"{over:.0f} ms", f"<= {budget} ms", over <= budget))
        lines.append(Line(f"orch {name} resident", f"{memory:.0f} MB", "<= 60 MB", memory <= 60))
        lines.append(Line(f"orch {name} imports", ", ".join(heavy) or "none", "no heavy one", not unwanted))
    return lines


def imported(argv: list[str], call: tools.Call) -> list[str]:
    """Return the heavy libraries that a command imports."""
    command = [sys.executable, "-X", "importtime", *argv]
    done = subprocess.run(command, cwd=call.folder, env=call.env, capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"\| +([A-Za-z_]\w*)$", done.stderr, re.MULTILINE))
    return [name for name in HEAVY if name in loaded]


def states(call: tools.Call, jobs: int) -> list[Line]:
    """States of all jobs: from the index, and from a host whose files nobody has looked at in this process."""
    settings = Settings({}, call.env, call.folder)
    path = known_index(settings)
    assert path is not None

    def from_index() -> None:
        with Index.open(path) as index:
            assert len(index.jobs("noop")) == jobs

    def from_host() -> None:
        with Contact(settings) as contact:
            _, *chunks = contact.wire.stream("collect", known=[])  # the sweeps' records come first
            assert sum(map(len, chunks)) == jobs

    index_ms, host_s = 1000 * best(from_index), best(from_host)
    return [
        Line(f"states of {jobs} jobs, index", f"{index_ms:.1f} ms", "<= 5 ms", index_ms <= 5),
        Line(f"states of {jobs} jobs, host", f"{host_s:.2f} s", "<= 0.35 s", host_s <= 0.35),
    ]


def planning(place: Path) -> list[Line]:
    """200 trainings: the file read and checked, the plan made, the plan recorded on disk (synced)."""
    path = place / "planned.yaml"
    path.write_text(json.dumps(TRAINER_SWEEP), encoding="utf-8")
    data = DataSet("made-up", "0" * 16, "/manifest.json", ("foreground",), 40, 40, {"2": (320, 320)})
    pins = Pins(sys.executable, "0" * 16, "/code", "2020-01-01T00:00:00Z")
    home = Home(str(place / "planned"))
    Path(home.sweeps).mkdir(parents=True)
    sweep = load_sweep(path)

    def plan_and_record() -> None:
        made = plan(sweep, data, Split("0" * 16, "/split.json"), pins)
        assert len(made.specs) == 200
        Queue(home, "here").add({**spec.to_json(), "attempt": 1} for spec in made.specs)
        write_json(home.sweep("planned"), sweep_record(made))

    reading = 1000 * best(lambda: load_sweep(path))
    recorded = 1000 * statistics.median(times(plan_and_record))
    return [
        Line("a sweep file read and checked", f"{reading:.1f} ms", "", None),
        Line("200 jobs planned and recorded", f"{recorded:.1f} ms", "<= 20 ms", recorded <= 20),
    ]


def logging(place: Path) -> list[Line]:
    """One call with six values, as the trainer makes it for each epoch."""
    folder = place / "run"
    folder.mkdir()
    run = Run(str(folder))
    names = ("train_loss", "train_dice", "val_loss", "val_dice", "lr", "seconds")
    values = dict.fromkeys(names, 0.123456789)

    def log() -> None:
        for step in range(LINES):
            run.metrics(step, **values)

    cost = 1e6 * statistics.median(times(log)) / LINES
    return [Line("a logging call", f"{cost:.1f} us", "<= 50 us", cost <= 50)]


def times(work: Callable[[], object], rounds: int = 5) -> list[float]:
    """Return the seconds of each round."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def best(work: Callable[[], object]) -> float:
    """Return the seconds of the quickest of five rounds."""
    return min(times(work))


if __name__ == "__main__":
    sys.exit(main())
