"""This machine and its processes, as evidence: host name, boot, process start times, trees."""

from __future__ import annotations

import functools
import os
import platform
from typing import Dict, List, Optional


@functools.lru_cache(maxsize=None)
def name() -> str:
    """Return the host's own name: run folders remember it, and only that host can tell whether a lock is free."""
    return platform.node() or "localhost"


@functools.lru_cache(maxsize=None)
def boot_id() -> str:
    """Return the kernel's identity of this boot, or an empty text where the kernel gives none."""
    return _first_line("/proc/sys/kernel/random/boot_id") or ""


def start_time(pid: int) -> Optional[int]:
    """Return a process's start time in clock ticks since boot, or None when there is no such process.

    A process id is used again sooner or later; with its start time it names one process only (proc(5), field 22).
    """
    stat = _first_line("/proc/{}/stat".format(pid))
    return int(stat.rpartition(")")[2].split()[19]) if stat else None


def is_alive(pid: int, started: Optional[int]) -> bool:
    """Tell whether exactly that process lives (a zombie does not)."""
    stat = _first_line("/proc/{}/stat".format(pid))
    if not stat:
        return False
    fields = stat.rpartition(")")[2].split()
    return fields[0] not in "ZX" and (started is None or int(fields[19]) == started)


def descendants(root: int) -> List[int]:
    """Return the ids of all living descendants of a process, parents first."""
    children: Dict[int, List[int]] = {}
    for entry in os.listdir("/proc"):
        stat = _first_line("/proc/{}/stat".format(entry)) if entry.isdigit() else None
        if stat:
            fields = stat.rpartition(")")[2].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, frontier = [], [root]
    while frontier:
        frontier = [child for parent in frontier for child in children.get(parent, [])]
        found.extend(frontier)
    return found


def _first_line(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.readline().strip()
    except OSError:
        return None
