"""Run a command and account for its whole process tree, whatever it detaches; tables for a terminal.

Method. This process becomes a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), so that processes which detach themselves
come back to it: CPU seconds are then those of the whole tree, and what lives on after a command is seen and counted.
Memory is the sum of PSS (shared pages are divided among their users) over all descendants, sampled every 20 ms; since
sampling costs time itself, a run is either timed or sampled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jobs.host import descendants

SAMPLE_EVERY = 0.02  # seconds
LIMIT = 900.0  # seconds after which a command is killed: something hangs
DRAIN = 3.0  # seconds that a tree has to leave after its command; what is left then is resident
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


class Measured(NamedTuple):
    """One run of a command.

    Attributes
    ----------
    wall, cpu:
        Seconds; CPU of the whole tree.
    rss_mb:
        Largest resident set of a single process of the tree, MB.
    pss_mb:
        Peak of the tree's summed PSS, MB; 0 when the run was not sampled.
    residents:
        Processes that were still there `DRAIN` seconds later (they were ended then).
    output:
        What it printed.
    """

    wall: float
    cpu: float
    rss_mb: float
    pss_mb: float
    residents: int
    output: str


def become_subreaper() -> None:
    """Let orphans of our children become our own children."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def run(argv: Sequence[str], cwd: Path, env: dict[str, str], sample: bool = False) -> Measured:
    """Run a command to its end and wait until its tree has gone.

    Raises
    ------
    SystemExit
        It ended with another status than 0: the text holds the end of what it printed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with _sampling(sample) as peak, (cwd / "output.txt").open("w+b") as output:
        began = time.perf_counter()
        child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        guard = threading.Timer(LIMIT, child.kill)
        guard.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        guard.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        residents = _drain()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if child.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {child.returncode} and printed:\n{text[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, usage.ru_maxrss / 1024, peak[0] / 1024, residents, text)


def _drain() -> int:
    """Reap orphans until none is left or time is up; end and count the rest."""
    until = time.monotonic() + DRAIN
    while time.monotonic() < until:
        _reap()
        if not descendants(os.getpid()):
            return 0
        time.sleep(0.01)
    left = descendants(os.getpid())
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    return len(left)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@contextlib.contextmanager
def _sampling(wanted: bool) -> Iterator[list[int]]:
    """Yield a list whose one item becomes the peak of the tree's PSS in KiB."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY):
            peak[0] = max(peak[0], sum(map(_pss, descendants(os.getpid()))))

    thread = threading.Thread(target=sample, daemon=True)
    if wanted:
        thread.start()
    try:
        yield peak
    finally:
        done.set()
        if wanted:
            thread.join()


def _pss(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def entries(folder: Path) -> int:
    """Count files and folders below a folder."""
    return sum(len(files) + len(folders) for _, folders, files in os.walk(folder))


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment with a home of its own and nothing that steers `orch` from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "XDG_", "SNAKEMAKE_"))}
    return {**kept, "HOME": str(home), "NO_COLOR": "1"}


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, columns aligned for a terminal: the first to the left, the others to the right."""
    lines = [tuple(heads), *map(tuple, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|"
        + "|".join(("-" * (width + 2)) if not place else "-" * (width + 1) + ":" for place, width in enumerate(widths))
        + "|"
    )
    return "\n".join([f"\n{title}\n", row(lines[0]), rule, *map(row, lines[1:])])
