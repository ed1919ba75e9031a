"""What many sweeps and long trainings cost: `status`, `sync`, `report` beside 300 sweeps; a million events of one job.

Method. Sweeps: one real sweep of 20 jobs with results is run, its record and its run folders are copied under 299 other
names, and each command is run in a home of the one and in a home of all, in turn; the median of each counts, in wall
time and in CPU seconds (the better figure where others use the machine). Both homes have their index already, so that
`--refresh` finds nothing new; `first look` is the sync that fills it. Events: to a job that has ended lines are added
as the trainer writes them, one an epoch, and the index is deleted. Memory is VmHWM of the agent (a child process) and
the largest resident set of the command itself, on the laptop's side.

    python benchmarks/bench_scale.py
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import harness
import tools

from jobs.events import EventWriter
from jobs.host import descendants

FIRST = "s0000"  # the sweep that is run; the others are copies
PROGRAM = """
import json, os, sys
place = os.environ["ORCH_RUN"] + "/"
value = int(sys.argv[1]) / 1000
open(place + "events.jsonl", "w").write("".join(
    json.dumps({"seq": step, "t": 1e9 + step, "kind": "metrics", "step": step, "values": {"val_dice": value}}) + chr(10)
    for step in range(5)))
open(place + "result.json", "w").write(json.dumps({"contract": 1, "values": {"dice": value, "val_dice": value}}))
"""
SETTLE = 0.01  # seconds between looks at the agent's memory
COMMANDS = {
    "status": ["status"],
    "status --refresh": ["status", "--refresh"],
    "status of one": ["status", FIRST],
    "report of one": ["report", FIRST],
}


class Cost(NamedTuple):
    """What one command took: seconds, CPU seconds, MB of its own process and of its agent (0: none was seen)."""

    seconds: float
    cpu: float
    laptop_mb: float
    agent_mb: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=300, help="sweeps beside each other (default 300)")
    parser.add_argument("--jobs", type=int, default=20, help="jobs of each sweep (default 20)")
    parser.add_argument("--events", type=int, default=1_000_000, help="events of one job (default 1,000,000)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each command (default 7)")
    parser.add_argument("--folder", help="where to work: decides the disk (default: the system's temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="orch-bench-", dir=args.folder, ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        _sweeps(place, args)
        _events(place, args.events)
    return 0


def _sweeps(place: Path, args: argparse.Namespace) -> None:
    calls = {number: filled(place / f"home-{number}", number, args.jobs) for number in (1, args.sweeps)}
    looks = {number: cost(call, ["sync"]) for number, call in calls.items()}
    found: dict[tuple[str, int], list[Cost]] = {}
    for _ in range(args.rounds):
        for name, words in COMMANDS.items():
            for number, call in calls.items():
                found.setdefault((name, number), []).append(cost(call, words))
    rows = [_row("first look (sync)", [looks[1]], [looks[args.sweeps]])]
    rows += [_row(name, found[name, 1], found[name, args.sweeps]) for name in COMMANDS]
    title = f"{args.sweeps} sweeps of {args.jobs} jobs, all ended; median of {args.rounds}"
    heads = ("orch ...", "1 sweep", f"{args.sweeps} sweeps", "more", "CPU more", "budget", "laptop MB", "agent MB")
    print(harness.table(title, heads, rows))


def _row(name: str, few: list[Cost], many: list[Cost]) -> tuple[str, ...]:
    one, all_of_them = (statistics.median(cost.seconds for cost in costs) for costs in (few, many))
    laptop, agent = max(cost.laptop_mb for cost in many), max(cost.agent_mb for cost in many)
    cpu = statistics.median(cost.cpu for cost in many) - statistics.median(cost.cpu for cost in few)
    budget = "<= 0.2 s" if name == "status" else ""
    shown = (f"{one:.2f} s", f"{all_of_them:.2f} s", f"{all_of_them - one:.2f} s", f"{cpu:.2f} s", budget)
    return (name, *shown, f"{laptop:.0f}", f"{agent:.0f}" if agent else "")


def _events(place: Path, events: int) -> None:
    call = filled(place / "long", 1, 2)
    cost(call, ["sync"])
    log = next(runs(call).glob(f"{FIRST}/*/attempt-01/events.jsonl"))
    written = EventWriter(log)
    for step in range(10, 10 + events):
        values = {"train_loss": 1 / step, "val_loss": 1 / step, "train_dice": 0.5, "val_dice": 0.5, "lr": 1e-3}
        written.write("metrics", step=step, values={**values, "seconds": 1.25})
    written.close()
    index = next((place / "long").glob("orch/state/*/index.db"))
    index.unlink()  # nothing is known: all of it is told
    rows = []
    for name in ("first look", "second look"):
        took = cost(call, ["sync"])
        cells = (f"{took.seconds:.1f} s", f"{took.laptop_mb:.0f}", f"{took.agent_mb:.0f}", "<= 60")
        rows.append((f"{name} (sync)", *cells))
    print(harness.table(f"{events:,} events of one job, {log.stat().st_size / 1e6:.0f} MB",
                        ("", "time", "laptop MB", "agent MB", "budget of the agent"), rows))  # fmt: skip


def filled(folder: Path, sweeps: int, jobs: int) -> tools.Call:
    """Return a call whose home holds that many sweeps, all ended; its index knows only the one that was run."""
    folder.mkdir()
    call = tools.orch(folder, 1)
    about: dict[str, Any] = {"sweep": FIRST, "command": [tools.JOB_PYTHON, "job.py", "{n}"], "metric": "dice"}
    (folder / "job.py").write_text(PROGRAM, encoding="utf-8")
    (folder / f"{FIRST}.yaml").write_text(json.dumps({**about, "grid": {"n": list(range(jobs))}}), encoding="utf-8")
    words = [tools.ORCH, "sweep", f"{FIRST}.yaml", "--parallel", str(tools.SLOTS)]
    subprocess.run(words, cwd=folder, env=call.env, capture_output=True, check=True)
    for number in range(1, sweeps):
        _copied(runs(call), f"s{number:04d}")
    return call


def runs(call: tools.Call) -> Path:
    """Return the folder of all runs in a call's home."""
    return Path(call.env["ORCH_HOME"]) / "runs"


def _copied(runs: Path, name: str) -> None:
    """Copy the sweep that was run, with all its run folders, under another name."""
    record = runs.parent / "sweeps" / f"{FIRST}.json"
    shutil.copytree(runs / FIRST, runs / name)
    for told in (runs / name).glob("*/attempt-01/job.json"):
        told.write_text(told.read_text(encoding="utf-8").replace(FIRST, name), encoding="utf-8")
    text = record.read_text(encoding="utf-8").replace(FIRST, name)
    record.with_name(f"{name}.json").write_text(text, encoding="utf-8")


def cost(call: tools.Call, words: list[str]) -> Cost:
    """Run a command and return what it took."""
    began = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen([tools.ORCH, *words], cwd=call.folder, env=call.env, **quiet)
    with _watched(child.pid) as agent:
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 6):
        raise SystemExit(f"orch {' '.join(words)} ended with {child.returncode}")
    seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return Cost(seconds, cpu, usage.ru_maxrss / 1024, agent[0] / 1024)


@contextmanager
def _watched(process: int) -> Iterator[list[int]]:
    """Yield a list whose one item becomes the largest VmHWM of the process's descendants, KiB."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(SETTLE):
            peak[0] = max([peak[0], *map(_high_water, descendants(process))])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _high_water(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
