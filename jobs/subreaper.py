"""The subreaper: a watcher's parent, which inherits all that is left of a job when its watcher is killed.

It does nothing while its watcher lives, and it leaves with it. When the watcher was killed it goes on holding the
job's slots, waits until the last process of the job has ended, whatever descriptors, sessions or variables that had
dropped, and writes this proof into the attempt's lock file. Source: prctl(2), PR_SET_CHILD_SUBREAPER.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, Iterator, NoReturn, Set

from . import host, liveness
from .atomic import read_json
from .folder import HostFolder
from .liveness import Identity
from .logbook import log_trouble
from .standing import close_all_but, stand_alone


def stand_behind(
    watch: Callable[[Identity], NoReturn], local: HostFolder, keep: Set[int], orphaned: Callable[[], None]
) -> NoReturn:
    """Start a watcher as our child and outlive it. Does not return: neither here, nor in the watcher.

    Parameters
    ----------
    watch:
        The watcher's life; it gets what `liveness` needs to know of us.
    keep:
        Descriptors that stay open here: those of its slots.
    orphaned:
        Called after a watcher that was killed, once nothing of its job lives: it sees to the queue.
    """
    try:
        os.setsid()
        stand_alone(liveness.SUBREAPER)
        identity = liveness.here()
        watcher = os.fork()
        if watcher == 0:
            watch(identity)
        close_all_but({0, 1, 2, *keep})
        if not _outlive(watcher):
            _tell_end(local)
            close_all_but({0, 1, 2})
            orphaned()
    except BaseException:
        log_trouble()
    finally:
        os._exit(0)


def _outlive(watcher: int) -> bool:
    """Wait for all children; tell whether the watcher left by itself: then it has ended what its job left behind."""
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return False
        if pid == watcher and status == 0:
            return True


def _tell_end(local: HostFolder) -> None:
    me = os.getpid()
    mine = (me, host.start_time(me))
    for path in _locks(local):
        if liveness.named(read_json(path), "subreaper") == mine:
            liveness.note_end(path)


def _locks(local: HostFolder) -> Iterator[str]:
    for name in sorted(os.listdir(local.locks)):
        yield os.path.join(local.locks, name)


def dismiss(identity: Identity) -> None:
    """End our subreaper, in a watcher whose jobs have ended: it must not become the parent of what we start next.

    Its slots are free when this returns: a dying process closes its descriptors before its children are told.
    """
    subreaper, _ = liveness.named(identity, "subreaper")
    if subreaper and os.getppid() == subreaper:
        os.kill(subreaper, signal.SIGKILL)
        while os.getppid() == subreaper:
            time.sleep(0.0002)
