"""Starting the keeper as a process of its own, and anew when it fails: with the reason told, and a limit."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import BinaryIO, NoReturn, Optional

from . import arrays, host, protocol, watcher
from .aftermath import settle
from .attempt import replay_spool
from .errors import HomeMismatch, HomeMissing, OrchError
from .folder import Home, HostFolder
from .home_identity import is_deleted, moved_to
from .homes import mask
from .keeper import DISK_WAIT, Keeper
from .lease import holding, is_held, take
from .liveness import KEEPER
from .logbook import log, log_trouble
from .queue import Queue, ring
from .stall import Backoff
from .standing import call_itself, close_all_but, open_standard_files
from .waits import DISPATCHER, Patience

START_TRIES = 3  # a keeper that is killed before it has started anything is started again
READY_WAIT = 10.0  # seconds that a new keeper may take to come up
FORK_WAITS = (0.05, 0.2, 1.0, 2.0)  # seconds between tries to fork while a command waits for it
ORPHAN_TRIES = 40  # tries of a watcher without a keeper: about half an hour
AWAY_MOST = 7 * 86400.0  # seconds for which a disk that is away is waited for
DELETED_MOST = 300.0  # ... and a home that was deleted or renamed: whoever opens it at its new place starts a keeper
RESTARTS = 20  # times that a keeper that did nothing in between begins anew after a fault of its own
LIVED = 60.0  # seconds after which a keeper counts as one that worked


def ensure_running(home: Home, local: HostFolder) -> bool:
    """See to it that a keeper works when the queue is not empty; True when one does.

    Where no process can be started, `waits.json` says why; what waits is safe, and the next command tries again.

    Raises
    ------
    DiskError
        The host-local folder cannot be written.
    """
    return bool(_ensure(home, local))


def _ensure(home: Home, local: HostFolder) -> Optional[bool]:
    """True when a keeper works, False when none is needed, None when none could be started."""
    with holding(local.queue_lock):
        queue = Queue(home, host.name())
        if not settle(home, local) and not queue.mine() and not arrays.arrays(home, host.name()):
            return False
        if is_held(local.keeper_lock) and ring(local.wake):
            return True
        return any(_start(home, local) for _ in range(START_TRIES)) or None


def _succeed(home: Home, local: HostFolder) -> None:
    """In a watcher without a keeper: nobody else may come, so that it is tried for long."""
    backoff = Backoff(1.0, 60.0)
    while backoff.tries < ORPHAN_TRIES and _ensured(home, local) is None:
        time.sleep(backoff.next())


def _ensured(home: Home, local: HostFolder) -> Optional[bool]:
    try:
        return _ensure(home, local)
    except (OrchError, OSError):  # a disk that is full or does not answer now
        log_trouble()
        return None


def _start(home: Home, local: HostFolder) -> bool:
    if not os.path.exists(local.wake):
        os.mkfifo(local.wake, 0o600)
    ready, tell = os.pipe()
    try:
        begun = _detach(home, local, tell)
    finally:
        os.close(tell)
    try:
        came = begun and select.select([ready], [], [], READY_WAIT)[0] and os.read(ready, 1) == b"r"
    finally:
        os.close(ready)
    return bool(came) or is_held(local.keeper_lock)


def _detach(home: Home, local: HostFolder, tell: int) -> bool:
    """Fork twice: the keeper is nobody's child. False, with the reason told, when no process can be started."""
    reason = ""
    for wait in (*FORK_WAITS, None):
        try:
            child = os.fork()
        except OSError as error:
            reason = str(error.strerror)
        else:
            if child == 0:
                _fork_keeper(home, local, tell)
            reason = os.strerror(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            if reason == os.strerror(0):
                return True
        if wait:
            time.sleep(wait)
    _tell(local, "no keeper can be started: {}; the next orch command tries again".format(reason))
    return False


def _fork_keeper(home: Home, local: HostFolder, tell: int) -> NoReturn:
    """In the process in between: whatever happens, it must not go on as a second one of what forked it."""
    code = 0
    try:
        if os.fork() == 0:
            _live(home, local, tell)
    except OSError as error:
        code = error.errno or 1
    finally:
        os._exit(code)


def _live(home: Home, local: HostFolder, tell: int) -> NoReturn:
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a watcher that starts a keeper has some blocked
        close_all_but({tell})
        open_standard_files(local.keeper_log)
        call_itself(KEEPER)
        os.umask(mask(home.path))
        os.chdir("/")
        lock = take(local.keeper_lock)
        if lock is not None:
            protocol.tell(local)
            watcher.preload()
            with open(tell, "wb", buffering=0) as told:
                _work_on(home, local, lock, told)
    except BaseException:
        log_trouble()
    finally:
        os._exit(0)


def _work_on(home: Home, local: HostFolder, lock: int, tell: BinaryIO) -> None:
    """Serve until the queue is empty, beginning anew after each fault: a disk's for a week, ours so many times."""
    backoff, faults, worked_at = Backoff(DISK_WAIT, 60.0), 0, time.time()
    while True:
        home = moved_to(home, local)
        began = time.monotonic()
        error = _work(home, local, lock, tell)
        if error is None:
            return
        if time.monotonic() - began > LIVED:
            backoff.reset()
            faults, worked_at = 0, time.time()
        faults += not isinstance(error, (OSError, HomeMissing, HomeMismatch))
        most = DELETED_MOST if is_deleted(home, local) else AWAY_MOST
        if faults > RESTARTS or time.time() - worked_at > most:
            _tell(local, "the keeper has given up ({}); the next orch command starts another".format(error))
            return
        wait = backoff.next()
        log("the keeper begins anew in {:.0f} s: {}".format(wait, error))
        _tell(local, "the keeper begins anew: {}".format(error))
        close_all_but({0, 1, 2, lock})
        _wait_for_bell(local.wake, wait)


def _wait_for_bell(path: str, seconds: float) -> None:
    """Wait, but no longer than until a command asks for a keeper: it may know that the home has moved, or is back."""
    try:
        wake = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        time.sleep(seconds)
        return
    select.select([wake], [], [], seconds)
    os.close(wake)


def _work(home: Home, local: HostFolder, lock: int, tell: BinaryIO) -> Optional[Exception]:
    """Serve until the queue is empty; return why the keeper must begin anew (ESTALE, its home is away, a fault).

    To the watchers it is as if their keeper had been killed; there may be none that could start another one.
    """
    keeper = None
    try:
        keeper = Keeper(home, local, lambda: _succeed(home, local))
        replay_spool(local, home)
        keeper.run(lock, tell)
    except Exception as error:
        if not isinstance(error, OrchError):  # those say all there is to say
            log_trouble()
        if keeper:
            keeper.let_go()
        tell.close()
        return error
    return None


def _tell(local: HostFolder, reason: str) -> None:
    patience = Patience(local)
    patience.say(DISPATCHER, reason)
    patience.tell()
