"""How many cores and how much memory this process may really use: affinity, control groups, then the machine."""

from __future__ import annotations

import os
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

GROUPS = "/proc/self/cgroup"  # this process's list of control groups
MOUNT = "/sys/fs/cgroup"  # where control groups are mounted


class Limit(NamedTuple):
    """A number and why it is not larger; None where the system does not tell."""

    value: Optional[int]
    reason: str


def cpus(groups: str = GROUPS, mount: str = MOUNT) -> Limit:
    """Return the cores this process may use, at least 1.

    Parameters
    ----------
    groups, mount:
        The process's list of control groups, and where control groups are mounted (versions 1 and 2).
    """
    present = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    reason = "all of the machine" if allowed == present else "this process may run on {} of {}".format(allowed, present)
    quota = min(_quotas(groups, mount), default=None)
    if quota is not None and quota < allowed:
        return Limit(max(1, int(quota)), "the control group allows {:g} of {} cores".format(quota, present))
    return Limit(allowed, reason)


def memory_mb(groups: str = GROUPS, mount: str = MOUNT, meminfo: str = "/proc/meminfo") -> Limit:
    """Return the memory this process may use, in MiB."""
    machine = _meminfo(meminfo)
    limits = [int(text) for text in _values(groups, mount, "memory", "memory.max", "memory.limit_in_bytes")]
    group = min(limits, default=None)
    if group is not None and (machine is None or group < machine):
        return Limit(group >> 20, "the control group allows no more")
    if machine is None:
        return Limit(None, "this system does not tell")
    return Limit(machine >> 20, "all of the machine")


def own_files(groups: str, mount: str, controller: str, second: str, first: str) -> Iterator[str]:
    """Yield the paths that a file of this process's control group may have, its own group's first."""
    for folder, name in _folders(groups, mount, controller, second, first):
        yield os.path.join(folder, name)


def _quotas(groups: str, mount: str) -> Iterator[float]:
    """Cores per control group from this process's own up to the root (cgroups(7): the least one counts)."""
    for text in _values(groups, mount, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        parts = text.split()
        if len(parts) == 2:
            yield int(parts[0]) / int(parts[1])
        else:  # version 1 keeps the period in a file of its own; 100 ms is the kernel's and everybody's value
            yield int(parts[0]) / 100_000


def _values(groups: str, mount: str, controller: str, second: str, first: str) -> Iterator[str]:
    """Texts of a limit file, `second` in version 2 and `first` in version 1; `max` and -1 mean no limit."""
    for path in own_files(groups, mount, controller, second, first):
        text = _read(path)
        if text and not text.startswith(("max", "-")):
            yield text


def _folders(groups: str, mount: str, controller: str, second: str, first: str) -> Iterator[Tuple[str, str]]:
    for names, path in _own_groups(groups).items():
        if names and controller not in names.split(","):
            continue
        base, name = (os.path.join(mount, names), first) if names else (mount, second)
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            yield os.path.join(base, *parts[:depth]), name


def _own_groups(groups: str) -> Dict[str, str]:
    """Controllers (empty in version 2) and this process's group, from lines like `4:cpu,cpuacct:/slice`."""
    lines = (line.split(":", 2) for line in (_read(groups) or "").splitlines())
    return {parts[1]: parts[2] for parts in lines if len(parts) == 3}


def _meminfo(path: str) -> Optional[int]:
    for line in (_read(path) or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return None


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip()
    except OSError:
        return None
