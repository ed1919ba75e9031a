"""A stop request, as the watcher reads it, and the signal that wakes whoever heeds it."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any, Callable, Optional, Tuple

from . import host, slurm
from .atomic import exists, read_json, write_json
from .folder import HostFolder, RunFolder

GRACE = 30.0  # seconds between SIGTERM and SIGKILL when the stop request names none


def ask(folder: RunFolder, by: str, grace: Optional[float]) -> bool:
    """Write the stop request; False when there was one already.

    Raises
    ------
    OSError
        Not even an empty file can be made.
    """
    first = not os.path.exists(folder.stop)
    now = time.time()
    if not first and _kill_time(folder, now) <= now + (GRACE if grace is None else grace):
        return False  # the watcher may not have read the shorter grace yet: asking again must not put it off
    wish = {"at": now, "by": by}
    try:
        write_json(folder.stop, wish if grace is None else {**wish, "grace": grace})
    except OSError:  # a full disk often has room for a name: an empty request counts too
        os.close(os.open(folder.stop, os.O_WRONLY | os.O_CREAT, 0o666))
    return first


def _kill_time(folder: RunFolder, now: float) -> float:
    """When the request that stands there has SIGKILL sent, in seconds since 1970."""
    wish = read_json(folder.stop)
    at = wish.get("at") if isinstance(wish, dict) else None
    return (float(at) if isinstance(at, (int, float)) else now) + (grace_of(folder) or 0.0)


def grace_of(folder: RunFolder) -> Optional[float]:
    """Return the seconds between SIGTERM and SIGKILL that a stop request names, None when there is no request."""
    if not exists(folder.stop):
        return None
    wish = read_json(folder.stop)
    grace = wish.get("grace", GRACE) if isinstance(wish, dict) else GRACE
    return max(0.0, float(grace)) if isinstance(grace, (int, float)) and math.isfinite(grace) else GRACE


def wake(folder: RunFolder, local: HostFolder, first: bool = True) -> bool:
    """Wake the watcher of an attempt whose stop request has been written; False when nothing of it lives.

    Without a watcher the job itself is signalled: with SIGTERM at first, with SIGKILL when asked again. Signalled are
    only processes whose id and start time stand in the attempt's lock file, written by the watcher, or that both hold
    that lock and were started with this run folder in `ORCH_RUN`.
    """
    task = slurm.task_of(read_json(folder.job))
    if task:
        return slurm.cancel([task], "TERM")
    path = local.attempt_lock(folder)
    identity = read_json(path)
    pid, started = _named(identity, "watcher")
    if pid and host.is_alive(pid, started):
        return send(os.kill, pid, signal.SIGTERM)
    number = signal.SIGTERM if first else signal.SIGKILL
    pid, started = _named(identity, "job")
    if pid and host.is_alive(pid, started):
        return send(os.killpg, pid, number)
    left = [pid for pid in host.holders(path) if host.has_variable(pid, "ORCH_RUN", folder.path)]
    sent = [send(os.kill, pid, number) for pid in left]  # to all, not only until the first
    return any(sent)


def _named(identity: Any, who: str) -> "Tuple[int, Optional[int]]":
    """Process id and start time from a lock file; (0, None) where it names none."""
    found = identity.get(who) if isinstance(identity, dict) else None
    sound = isinstance(found, list) and len(found) == 2 and all(isinstance(number, int) for number in found)
    return (found[0], found[1]) if sound and found else (0, None)


def send(signaller: Callable[[int, int], None], target: int, number: int) -> bool:
    """Send a signal with `os.kill` or `os.killpg`; False when there is nobody to take it."""
    try:
        signaller(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
