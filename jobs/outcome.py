"""How an attempt ended: its failure named, what follows decided, both recorded, then done.

Nothing here may lose the exit status: each look that a disk or a file server refuses is made again for a while, and
then done without; the record itself is tried until a disk takes it.
"""

from __future__ import annotations

import signal
import time
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, TypeVar

from . import host, slurm
from .aftermath import decided, follow
from .attempt import record_exit
from .failure import Proof, diagnose
from .folder import HostFolder, RunFolder
from .logbook import log_trouble
from .proofs import Counter, lost_card, memory_kill, silent_disk
from .results import handed_in, read_result
from .transient import retried

RETRY_WAIT = 5.0  # seconds between tries to write an exit record that neither run folder nor spool can take
LOOK_LIMIT = 20.0  # seconds for which a look at the run folder is tried before it is done without

Value = TypeVar("Value")


class Ended(NamedTuple):
    """How the job's first process ended."""

    status: int  # 128 + n for signal n
    signal: Optional[int]
    cpu_seconds: float
    max_rss_mb: float


class Outcome(NamedTuple):
    """All that the watcher knows of an attempt at its end.

    Attributes
    ----------
    stopped, timed_out, evicted:
        A person's stop; over its time limit; Slurm asked it to leave.
    stepped_aside:
        Why it was asked to leave its cards to other people, or empty.
    task:
        Slurm's job, or empty.
    oom, oom_before:
        The counter of memory kills, and its value when the program began.
    pid, start_time, began:
        The first process (0: it could not be started), its start in clock ticks since boot, in seconds since 1970.
    log_left_out:
        Bytes of its log that are gone (`log_limit`).
    """

    ended: Ended
    stopped: bool
    timed_out: bool
    evicted: bool
    stepped_aside: str
    task: str
    oom: Counter
    oom_before: int
    pid: int
    start_time: Optional[int]
    began: float
    device: Mapping[str, Any]
    log_left_out: int


def conclude(folder: RunFolder, job: Mapping[str, Any], local: HostFolder, outcome: Outcome) -> bool:
    """Record how an attempt ended and do what follows; False when something is left to be done."""
    why = attempted(lambda: slurm.ousted(outcome.task), "") if outcome.evicted else ""
    stopped = outcome.stopped or why == slurm.CANCELLED
    failure = None if stopped else attempted(lambda: _diagnose(folder, job, outcome, why), None)
    done = attempted(lambda: read_result(folder)[0] == "valid", False)
    decision = attempted(lambda: decided(job, failure), None) if failure and not done else None
    record = {**_facts(folder, outcome), "stopped": stopped, "failure": failure, "decision": decision}
    while not attempted(lambda: record_exit(folder, record, local), False, limit=0.0):
        time.sleep(RETRY_WAIT)  # the lock is held meanwhile: the attempt counts as running, and nothing is lost
    if not failure or not decision or outcome.task:  # of Slurm's the keeper on the login node follows
        return True

    def followed() -> bool:
        follow(folder, job, local, failure, decision)
        return True

    return attempted(followed, False, limit=0.0)


def _facts(folder: RunFolder, outcome: Outcome) -> Dict[str, Any]:
    """What the exit record says whatever follows."""
    nothing: Dict[str, str] = {}
    return {
        "status": outcome.ended.status,
        "signal": outcome.ended.signal,
        "began": True,
        "started": outcome.began,
        "ended": time.time(),
        "host": host.name(),
        "boot_id": host.boot_id(),
        "pid": outcome.pid,
        "start_time": outcome.start_time,
        "device": outcome.device,
        "files": attempted(lambda: handed_in(folder), nothing),
        "rusage": {"cpu_seconds": outcome.ended.cpu_seconds, "max_rss_mb": outcome.ended.max_rss_mb},
        "log_left_out": outcome.log_left_out,
    }


def _diagnose(folder: RunFolder, job: Mapping[str, Any], outcome: Outcome, ousted: str) -> Optional[Dict[str, Any]]:
    """Name the failure: by what is proved first, then by the program's words, then by the state of its cards."""
    ended, proved = outcome.ended, None
    if outcome.timed_out:
        limit = job["resources"]["time_limit_s"]
        proved = Proof("timeout", "over its time limit of {:g} s, by the watcher's clock".format(limit))
    elif outcome.stepped_aside:
        proved = Proof("foreign_pressure", outcome.stepped_aside)
    elif outcome.evicted:
        proved = Proof("preempted", "Slurm asked it to leave: {}".format(ousted or "it did not say why"))
    elif ended.status == 128 + signal.SIGKILL:
        proved = memory_kill(outcome.oom, outcome.oom_before, outcome.pid, outcome.start_time)
    failure = diagnose(folder, ended.status, ended.signal, proved)
    if failure:
        proved = silent_disk(failure, folder.path) or lost_card(failure, outcome.device["gpus"])
    return diagnose(folder, ended.status, ended.signal, proved) if failure and proved else failure


def _follow(
    folder: RunFolder,
    job: Mapping[str, Any],
    local: HostFolder,
    failure: Mapping[str, Any],
    decision: Mapping[str, Any],
) -> bool:
    follow(folder, job, local, failure, decision)
    return True


def attempted(work: Callable[[], Value], instead: Value, limit: float = LOOK_LIMIT) -> Value:
    """Do what a full disk or a run folder edited by hand can spoil, without losing the exit status over it.

    Parameters
    ----------
    limit:
        Seconds for which it is tried while its error may pass.
    """
    try:
        return retried(work, limit)
    except Exception:
        log_trouble()
        return instead
