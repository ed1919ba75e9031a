"""Failure kinds that are proved by something else than the log: the kernel's counters and its log, and nvidia-smi."""

from __future__ import annotations

import functools
import os
import re
from typing import List, Mapping, NamedTuple, Optional

from . import limits
from .documents import read
from .failure import BY_NAME, Proof
from .holds import ROOM_LEAST, has_room

_CLOCK_SLACK = 5.0  # seconds by which the kernel's log and its process times may differ
_UNTOLD = ("unknown", "code_error", "killed", "crashed")  # kinds behind which a lost card can hide


class Counter(NamedTuple):
    """Where the kernel counts the processes that it killed for lack of memory."""

    path: str
    words: str  # for the evidence


@functools.lru_cache(maxsize=None)
def oom_counter(groups: str = limits.GROUPS, mount: str = limits.MOUNT, vmstat: str = "/proc/vmstat") -> Counter:
    """Return the closest counter: of this process's control group (version 2 or 1), else of the whole machine.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `memory.events`; cgroup-v1/memory.rst, `memory.oom_control`.
    """
    for path in limits.own_files(groups, mount, "memory", "memory.events", "memory.oom_control"):
        if _count(path) is not None:
            return Counter(path, "the control group's {}".format(os.path.basename(path)))
    return Counter(vmstat, "this machine's vmstat")


def oom_kills(counter: Counter) -> int:
    """Return how many processes the kernel has killed there for lack of memory; 0 where it does not tell."""
    return _count(counter.path) or 0


def _count(path: str) -> Optional[int]:
    try:
        found = re.search(rb"^oom_kill (\d+)$", read(path), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None


def memory_kill(counter: Counter, before: int, pid: int, started: Optional[int]) -> Optional[Proof]:
    """Tell whether the kernel killed a job for lack of memory: by its log, which names the process, or its counter.

    Parameters
    ----------
    before:
        The counter's value when the job began.
    pid, started:
        Its first process, and when that began, in clock ticks since boot.
    """
    line = _kernel_line(pid, (started or 0) / os.sysconf("SC_CLK_TCK"))
    if line:
        return Proof("out_of_memory", "the kernel's log: {}".format(line))
    more = oom_kills(counter) - before
    if more > 0:
        text = "SIGKILL, and {} counts {} oom_kill more since it began".format(counter.words, more)
        return Proof("out_of_memory", text)
    return None


def _kernel_line(pid: int, since: float, path: str = "/dev/kmsg") -> str:
    """The kernel's word that it killed this process, where its log can be read (dev-kmsg: one record for each read)."""
    wanted = "Killed process {} ".format(pid)
    for record in _records(path):
        head, _, text = record.partition(";")
        fields = head.split(",")
        if wanted in text and len(fields) > 2 and int(fields[2]) / 1e6 >= since - _CLOCK_SLACK:
            return text.splitlines()[0]
    return ""


def _records(path: str) -> List[str]:
    records: List[str] = []
    try:
        log = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return records
    try:
        while True:
            try:
                block = os.read(log, 8192)
            except BrokenPipeError:  # overwritten meanwhile: the next read goes on behind the gap
                continue
            if not block:
                return records
            records.append(block.decode("utf-8", "replace"))
    except OSError:  # its end, or not for us
        return records
    finally:
        os.close(log)


def silent_disk(failure: Mapping[str, str], path: str) -> Optional[Proof]:
    """Tell whether a run folder's disk is full where the log does not say so: then it could not take those words."""
    if failure["kind"] != "unknown" or has_room(path, ROOM_LEAST):
        return None
    return Proof("disk_full", "the run folder's disk takes no file (proved by writing one), so the log may lack words")


def lost_card(failure: Mapping[str, str], gpus: List[str]) -> Optional[Proof]:
    """Ask nvidia-smi whether the cards of a job are still there, when its own words do not tell what happened."""
    if not gpus or failure["kind"] not in _UNTOLD:
        return None
    from .gpu import look

    seen = look()
    for kind in ("driver_mismatch", "gpu_lost"):
        if not seen.cards and re.search(str(BY_NAME[kind].pattern), seen.reason):
            return Proof(kind, seen.reason)
    missing = sorted(set(gpus) - {card.uuid for card in seen.cards})
    if missing and (seen.cards or "did not answer" in seen.reason):
        why = "nvidia-smi no longer lists {}".format(missing[0]) if seen.cards else seen.reason
        return Proof("gpu_lost", why)
    return None
