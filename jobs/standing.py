"""How keeper and watcher stand among processes: the signals waited for, the orphans adopted, the descriptors kept."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Set

from . import host

# What asks for an end; SIGUSR2 is Slurm's notice that a time limit is near.
ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR2} if os.name == "posix" else set()
# Seconds that a program has to leave when Slurm asks: before a time limit most of `arrays.STOP_NOTICE`, else less than
# the 30 s after which Slurm kills (slurm.conf(5), KillWait), so that its end is still recorded.
NOTICE_GRACE, KILL_GRACE = 60.0, 20.0
WATCHED = {signal.SIGCHLD, signal.SIGHUP, *ENDING} if os.name == "posix" else set()
LOG_LIMIT = 1 << 20  # bytes of keeper.log after which it begins anew


def slurm_grace(number: int) -> float:
    """Return the seconds that a program has to leave after this signal from Slurm."""
    return NOTICE_GRACE if number == signal.SIGUSR2 else KILL_GRACE


def stand_alone(name: str) -> None:
    """Take signals only where we wait for them, and adopt orphaned descendants: a stop reaches the whole tree.

    Source: prctl(2), PR_SET_CHILD_SUBREAPER.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    call_itself(name)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def call_itself(name: str) -> None:
    """Give this process a name of at most 15 bytes, for `ps` and for `liveness` (prctl(2), PR_SET_NAME)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)


def has_children() -> bool:
    """Tell whether this process has children, zombies among them."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def signal_descendants(number: int) -> None:
    """Signal all that descends from this process."""
    for pid in host.descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def close_all_but(keep: Set[int]) -> None:
    """Close every descriptor but these: a lock inherited by chance would live on with its inheritor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:  # the one that listed the folder
                pass


def open_standard_files(log: str) -> None:
    """Read nothing, write into a log, once all descriptors are closed."""
    os.open(os.devnull, os.O_RDONLY)  # the lowest free descriptor: 0
    begin_anew = os.path.exists(log) and os.path.getsize(log) > LOG_LIMIT
    os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if begin_anew else 0), 0o600)
    os.dup2(1, 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  (for the life of the process)
