"""A stop request, as the watcher reads it, and the signal that wakes whoever heeds it."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any, Callable, Dict, Optional

from . import host, liveness, queueing_shell, slurm, slurm_client
from .atomic import patiently, read_json, write_json
from .folder import HostFolder, RunFolder
from .transient import may_pass

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
    """Return the seconds between SIGTERM and SIGKILL that a stop request names, None when there is no request.

    Raises
    ------
    OSError
        Whether there is one cannot be told at the moment.
    """
    wish = None
    try:
        patiently(lambda: os.stat(folder.stop))
        wish = read_json(folder.stop)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # one that cannot be read (a folder, somebody else's) counts as one without words
        if may_pass(error):
            raise
    grace = wish.get("grace", GRACE) if isinstance(wish, dict) else GRACE
    return max(0.0, float(grace)) if isinstance(grace, (int, float)) and math.isfinite(grace) else GRACE


def wake(folder: RunFolder, local: HostFolder, first: bool = True) -> bool:
    """Wake the watcher of an attempt whose stop request has been written; False when nothing of it lives.

    Without a watcher the processes of the job are signalled: with SIGTERM at first, with SIGKILL when asked again.
    Those are meant that descend from the attempt's subreaper or first process, or that bear its mark (`liveness`); of
    others that might have come from it none is touched.
    """
    job = read_json(folder.job)
    given = slurm.handle(job, queueing_shell.of(folder.home, job))
    if given.task:
        return slurm_client.cancel([given.task], given.name, "TERM", given.shell)
    identity = liveness.identity_of(folder, _claim(job), local)
    pid, started = liveness.named(identity, "watcher")
    if pid and host.is_alive(pid, started):
        return send(os.kill, pid, signal.SIGTERM)
    number = signal.SIGTERM if first else signal.SIGKILL
    left = liveness.remains(folder, identity, local).sure
    sent = [_signal(process.pid, process.start, number) for process in left]  # to all, not only until the first
    return any(sent)


def _claim(job: Any) -> Dict[str, Any]:
    claim = job.get("claim") if isinstance(job, dict) else None
    return claim if isinstance(claim, dict) else {}


def _signal(pid: int, started: int, number: int) -> bool:
    """Signal exactly this process: its number is not used again while a descriptor names it (pidfd_open(2))."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # a kernel before 5.3, or it has ended
        return host.is_alive(pid, started) and send(os.kill, pid, number)
    try:
        return host.is_alive(pid, started) and send(signal.pidfd_send_signal, handle, number)
    finally:
        os.close(handle)


def send(signaller: Callable[[int, int], None], target: int, number: int) -> bool:
    """Send a signal with `os.kill` or `os.killpg`; False when there is nobody to take it."""
    try:
        signaller(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
