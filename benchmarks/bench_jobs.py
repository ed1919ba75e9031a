"""What a job costs: N no-op jobs through `orch sweep`, against bare spawns and peers, in one run.

Method. Every tool runs the same N jobs, two at a time where it can be told so, in an empty folder with a home of its
own on the disk that the output's head names. Rounds are interleaved (all tools, then all again), so that other load on
the machine meets all of them; the median counts. `start` is a run of one job: what the tool costs before and after its
jobs. `ms/job` is (wall - start) / (N - 1), and its ratio that to the floor's; `whole` is the whole command over the
whole floor, per job. CPU is that of the whole tree. Memory (peak of the tree's PSS) and directory entries come from one
more run of each, sampled and not timed; harness.py says how. `left` counts processes that still run 3 s later. The
second table is one large sweep: `orch sweep` on 1,000 jobs against the floor of 1,000.

    python benchmarks/bench_jobs.py --with-peers
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import harness
import tools

from jobs.disk import disk

HEADS = (
    "tool",
    "jobs",
    "start s",
    "wall s",
    "ms/job",
    "x floor",
    "whole x",
    "CPU ms/job",
    "PSS MB",
    "entries/job",
    "left",
)


class Row(NamedTuple):
    """What was found for one tool: seconds, and values of the sampled run."""

    tool: tools.Tool
    jobs: int
    starts: list[float]
    walls: list[float]
    cpus: list[float]
    pss_mb: float
    entries: int
    residents: int

    @property
    def wall(self) -> float:
        """Median seconds of the whole command."""
        return statistics.median(self.walls)

    @property
    def start(self) -> float:
        """Median seconds of a run of one job."""
        return statistics.median(self.starts)

    @property
    def per_job(self) -> float:
        """Seconds that one more job costs."""
        return (self.wall - self.start) / max(1, self.jobs - 1)


def main() -> int:
    """Measure and print."""
    args = arguments()
    harness.become_subreaper()
    with tempfile.TemporaryDirectory(prefix="orch-bench-", dir=args.folder, ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        peers = tools.install_peers(place / "peers") if args.with_peers else []
        if not args.with_peers:
            print("peers are left out: --with-peers installs and measures them", file=sys.stderr)
        print(head(place))
        rows = measure([*tools.OURS, *peers], args.jobs, args.rounds, place)
        print(table(f"{args.jobs} no-op jobs, median of {args.rounds} rounds", rows))
        if args.many:
            rows = measure(list(tools.OURS), args.many, 1, place)
            print(table(f"{args.many} no-op jobs in one sweep", rows))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="jobs of each run (default 200)")
    parser.add_argument(
        "--many", type=int, default=1000, help="jobs of the large sweep; 0 leaves it out (default 1000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each tool (default 3)")
    parser.add_argument("--with-peers", action="store_true", help="install peers into throw-away environments")
    parser.add_argument("--folder", help="where to work: decides the disk (default: the system's temporary folder)")
    return parser.parse_args()


def head(place: Path) -> str:
    """Return what the numbers depend on."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.machine()}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"on {disk(place).kind}; {tools.SLOTS} jobs at a time"
    )


def measure(rows: list[tools.Tool], jobs: int, rounds: int, place: Path) -> list[Row]:
    """Run everything; the floor once more at the end, so that a drift of the machine shows in its spread."""
    counts = {tool.name: min(jobs, tool.most) for tool in rows}
    singles: dict[str, list[float]] = {tool.name: [] for tool in rows}
    timed: dict[str, list[harness.Measured]] = {tool.name: [] for tool in rows}
    for _ in range(rounds):
        for tool in rows:
            singles[tool.name].append(once(tool, 1, place)[0].wall)
            timed[tool.name].append(once(tool, counts[tool.name], place)[0])
    found = []
    for tool in rows:
        sampled, entries = once(tool, counts[tool.name], place, sample=True)
        runs = timed[tool.name]
        walls, cpus = [run.wall for run in runs], [run.cpu for run in runs]
        left = max(run.residents for run in [*runs, sampled])
        found.append(Row(tool, counts[tool.name], singles[tool.name], walls, cpus, sampled.pss_mb, entries, left))
    return found


def once(tool: tools.Tool, count: int, place: Path, sample: bool = False) -> tuple[harness.Measured, int]:
    """Run a tool in a fresh folder; return what was measured and how many directory entries the jobs left."""
    with fresh(place) as folder:
        call = tool.prepare(folder, count)
        before = harness.entries(folder)
        run = harness.run(call.argv, call.folder, call.env, sample)
        if not call.check():
            raise SystemExit(f"{tool.name} did not run all {count} jobs; it printed:\n{run.output[-2000:]}")
        print(f"  {tool.name}: {count} jobs in {run.wall:.2f} s", file=sys.stderr, flush=True)
        return run, harness.entries(folder) - before


@contextmanager
def fresh(place: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def table(title: str, rows: list[Row]) -> str:
    """Return the table; the first row is the floor."""
    base = rows[0]

    def cells(row: Row) -> tuple[str, ...]:
        whole = row.wall / row.jobs / (base.wall / base.jobs)
        numbers = (row.start, row.wall, 1000 * row.per_job, row.per_job / base.per_job, whole)
        cpu, entries = 1000 * statistics.median(row.cpus) / row.jobs, row.entries / row.jobs
        shown = [f"{number:.2f}" for number in numbers]
        return (
            row.tool.name,
            str(row.jobs),
            *shown,
            f"{cpu:.1f}",
            f"{row.pss_mb:.0f}",
            f"{entries:.1f}",
            str(row.residents),
        )

    notes = "\n".join(f"{row.tool.name}: {row.tool.note}" for row in rows)
    spread = f"floor from {min(base.walls):.2f} to {max(base.walls):.2f} s: differences below that spread are noise"
    return f"{harness.table(title, HEADS, map(cells, rows))}\n\n{notes}\n{spread}"


if __name__ == "__main__":
    sys.exit(main())
