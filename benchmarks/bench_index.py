"""The index: writing metric values, reading them back, a pivot, states; against the disk's limit and MLflow.

Method. R runs of 100 epochs with 6 metrics, values pseudo-random and the same for all. Every row is a process of its
own with an empty folder; imports are not counted; rounds are interleaved, the median counts, the slowest stands beside
it. `write` is one transaction per run for MLflow and the driver, one per frame of the collector (200 reports) for ours,
from events in memory, and once more from `events.jsonl` files, parsing included. `read` is everything into arrays
(ours, the driver) or lists (MLflow). `pivot` is one result value per (strategy, fold). MLflow takes `log_batch` per run
into its own SQLite file, made beforehand, and reads through `get_metric_history`, its only way; on fewer runs, because
it is slow: compare it with our row of as many runs. The first row is what the driver itself can do at that moment.

    python benchmarks/bench_index.py --with-peers
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import harness

from jobs.collector import CHUNK
from jobs.disk import disk
from jobs.events import EventWriter
from jobs.events import read as read_events
from orchestrator.store import Index

EPOCHS = 100
KEYS = ("train_loss", "val_loss", "train_dice", "val_dice", "lr", "seconds")
SWEEP = "bench"
HEADS = ("store", "runs", "write s", "values/s", "read s", "pivot ms", "states ms", "bytes/value", "slowest write")
BUDGETS = "budgets for 1,000 runs: 500,000 values/s; read 0.8 s as rows, 0.1 s packed; pivot 30 ms; states 5 ms"
Found = dict[str, float]

MLFLOW = """
import json, os, sys, time
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///" + os.path.join(sys.argv[1], "mlflow.db")
os.environ["GIT_PYTHON_REFRESH"] = "quiet"
import mlflow
from mlflow.entities import Metric
keys, runs, epochs = sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])
client = mlflow.MlflowClient()
experiment = client.create_experiment("bench")
clock = time.perf_counter
begun, ids = clock(), []
for run in range(runs):
    one = client.create_run(experiment, tags={"strategy": str(run // 5), "fold": str(run % 5)}).info.run_id
    values = [Metric(key, ((run * 7919 + step * 104729 + place * 1299709) % 1000003) / 1000003, step, step)
              for step in range(epochs) for place, key in enumerate(keys)]
    client.log_batch(one, metrics=values)
    ids.append(one)
wrote, begun = clock() - begun, clock()
count = sum(len(client.get_metric_history(one, key)) for one in ids for key in keys)
read, begun = clock() - begun, clock()
table = {(r.data.tags["strategy"], r.data.tags["fold"]): r.data.metrics["val_dice"]
         for r in client.search_runs([experiment], max_results=50000)}
pivot = clock() - begun
assert count == runs * epochs * len(keys) and len(table) == runs
size = os.path.getsize(os.path.join(sys.argv[1], "mlflow.db"))
print(json.dumps({"write": wrote, "read": read, "pivot": pivot, "bytes": size}))
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="runs of 600 values (default 1000)")
    parser.add_argument("--peer-runs", type=int, default=35, help="runs that a peer gets (default 35)")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each row (default 5)")
    parser.add_argument("--with-peers", action="store_true", help="install MLflow into a throw-away environment")
    parser.add_argument("--folder", help="where to work: decides the disk (default: the system's temporary folder)")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(ROWS[args.one[0]](Path(args.one[1]), args.runs)))
        return 0
    with tempfile.TemporaryDirectory(prefix="orch-bench-", dir=args.folder) as folder:
        place = Path(folder)
        rows = [(name, args.runs, _ours(name, args.runs)) for name in ROWS]
        rows += [(name, args.peer_runs, _ours(name, args.peer_runs)) for name in ("orch, ended runs",)]
        rows += _peer(place, args)
        print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
              f"SQLite {sqlite3.sqlite_version}, on {disk(place).kind}")  # fmt: skip
        found = _measure(rows, args.rounds, place)
        print(harness.table(f"The index, median of {args.rounds}", HEADS, found))
        print(BUDGETS)
    return 0


def _measure(rows: list[tuple[str, int, Callable[[Path], list[str]]]], rounds: int, place: Path) -> list[list[str]]:
    kept: list[list[Found]] = [[] for _ in rows]
    for _ in range(rounds):
        for results, (_, _, command) in zip(kept, rows, strict=True):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                done = subprocess.run(command(Path(folder)), capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    return [_cells(name, runs, results) for results, (name, runs, _) in zip(kept, rows, strict=True)]


def _cells(name: str, runs: int, results: list[Found]) -> list[str]:
    middle = {key: statistics.median(one[key] for one in results) for key in results[0]}
    values = runs * EPOCHS * len(KEYS)
    return [
        name,
        str(runs),
        f"{middle['write']:.2f}",
        f"{values / middle['write']:,.0f}",
        f"{middle['read']:.3f}",
        f"{1000 * middle['pivot']:.1f}",
        f"{1000 * middle['states']:.1f}" if "states" in middle else "",
        f"{middle['bytes'] / values:.0f}",
        f"{max(one['write'] for one in results):.2f} s",
    ]


def _ours(name: str, runs: int) -> Callable[[Path], list[str]]:
    return lambda folder: [sys.executable, __file__, "--runs", str(runs), "--one", name, str(folder)]


def _peer(place: Path, args: argparse.Namespace) -> list[tuple[str, int, Callable[[Path], list[str]]]]:
    if not args.with_peers:
        print("MLflow is left out: --with-peers installs and measures it", file=sys.stderr)
        return []
    python = str(place / "mlflow-environment" / "bin" / "python")
    steps = [[sys.executable, "-m", "venv", str(Path(python).parents[1])]]
    steps += [[python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "mlflow"]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"MLflow is left out: it could not be installed ({done.stderr.strip()[-200:]})", file=sys.stderr)
            return []
    told = [",".join(KEYS), str(args.peer_runs), str(EPOCHS)]
    return [("MLflow log_batch", args.peer_runs, lambda folder: [python, "-c", MLFLOW, str(folder), *told])]


def value(run: int, step: int, key: int) -> float:
    """Return a value with all its digits."""
    return ((run * 7919 + step * 104729 + key * 1299709) % 1000003) / 1000003


def events(run: int) -> list[dict[str, Any]]:
    """Return the events of one run."""
    return [
        {
            "seq": step,
            "t": 1e9 + step,
            "kind": "metrics",
            "step": step,
            "values": {key: value(run, step, place) for place, key in enumerate(KEYS)},
        }
        for step in range(EPOCHS)
    ]


def report(run: int, state: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one run's report."""
    names = {"strategy": f"s{run // 5}", "fold": run % 5}
    return {
        "host": "local",
        "sweep": SWEEP,
        "job": f"{run:016x}",
        "attempt": 1,
        "spec": {"label": f"s{run // 5}/{run % 5}", "names": names},
        "verdict": {"state": state, "reason": "", "warning": ""},
        "result": {"values": {"dice": value(run, 0, 3)}},
        "events": found,
        "offset": 1 + len(found),
    }


def live(folder: Path, runs: int) -> Found:
    """Ours, narrow rows: runs that still go on."""
    return _index(folder, [report(run, "running", events(run)) for run in range(runs)])


def ended(folder: Path, runs: int) -> Found:
    """Ours, packed series: runs that ended."""
    return _index(folder, [report(run, "done", events(run)) for run in range(runs)])


def from_files(folder: Path, runs: int) -> Found:
    """Ours, from `events.jsonl` of runs that ended, reading and parsing included."""
    for run in range(runs):
        writer = EventWriter(folder / f"{run}.jsonl")
        for event in events(run):
            writer.write(event["kind"], step=event["step"], values=event["values"])
        writer.close()
    return _index(folder, (report(run, "done", read_events(folder / f"{run}.jsonl").events) for run in range(runs)))


def _index(folder: Path, reports: Iterable[dict[str, Any]]) -> Found:
    path = folder / "index.db"
    with Index.open(path) as index:
        wrote = timed(lambda: [index.ingest(chunk) for chunk in batched(reports)])
        read = timed(lambda: _count(index))
        pivot = timed(lambda: _pivot(index))
        states = timed(lambda: index.jobs(SWEEP))
    return {"write": wrote, "read": read, "pivot": pivot, "states": states, "bytes": path.stat().st_size}


def batched(reports: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield what the collector hands over at a time."""
    source = iter(reports)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk


def _count(index: Index) -> int:
    return sum(len(curve.values) for curves in index.metrics(SWEEP).values() for curve in curves.values())


def _pivot(index: Index) -> dict[tuple[Any, Any], float | None]:
    scores = index.scores(SWEEP, "dice")
    return {(job.names["strategy"], job.names["fold"]): scores.get(job.id, {}).get("dice") for job in index.jobs(SWEEP)}


def driver(folder: Path, runs: int) -> Found:
    """The limit: the raw driver, one table of narrow rows, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE m (r INTEGER, k INTEGER, s INTEGER, v REAL, PRIMARY KEY (r, k, s)) WITHOUT ROWID")

    def rows(run: int) -> Iterator[tuple[int, int, int, float]]:
        return ((run, key, step, value(run, step, key)) for key in range(len(KEYS)) for step in range(EPOCHS))

    ready = [list(rows(run)) for run in range(runs)]
    wrote = timed(lambda: [connection.executemany("INSERT INTO m VALUES (?, ?, ?, ?)", one) for one in ready])
    read = timed(lambda: connection.execute("SELECT * FROM m").fetchall())
    pivot = timed(lambda: dict(connection.execute("SELECT r, max(v) FROM m WHERE k = 3 GROUP BY r").fetchall()))
    pages = connection.execute("PRAGMA page_count").fetchone()[0] * 4096
    return {"write": wrote, "read": read, "pivot": pivot, "bytes": pages}


def timed(action: Callable[[], object]) -> float:
    """Return how long an action takes, s."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


ROWS: dict[str, Callable[[Path, int], Found]] = {
    "raw driver in memory": driver,
    "orch, live runs": live,
    "orch, ended runs": ended,
    "orch, events.jsonl": from_files,
}

if __name__ == "__main__":
    raise SystemExit(main())
