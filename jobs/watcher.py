"""The watcher: parent of one attempt. It knows the true exit status, does the killing and writes the exit record.

It lives in its own session, holds the attempt's lock and slots (its job inherits both on purpose), adopts whatever the
job leaves behind, and does not go before somebody has taken care of the queue: the keeper answers its last word, or the
watcher itself rouses a new keeper. So a killed keeper neither loses an exit status nor stops the queue.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional, Set

from . import host
from .atomic import read_json
from .attempt import handed_in, publish, record_exit
from .errors import OrchError
from .failure import diagnose
from .folder import HostFolder, RunFolder
from .lease import take
from .slots import Lease

GRACE = 30.0  # seconds between SIGTERM and SIGKILL when the stop request names none
LEFTOVER_GRACE = 2.0  # seconds that processes left behind by a job have after SIGTERM

# One byte each from watcher to keeper; the keeper answers DONE with any byte.
STARTED, TAKEN, REFUSED, FREE, DONE = b"p", b"x", b"f", b"s", b"d"

_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Ended(NamedTuple):
    """How the job's first process ended."""

    status: int  # 128 + n for signal n
    signal: Optional[int]
    stopped: bool  # on request
    cpu_seconds: float
    max_rss_mb: float


class Watcher:
    """One attempt from publication to exit record. Lives in a process of its own: see `fork`."""

    def __init__(self, job: Dict[str, Any], folder: RunFolder, local: HostFolder, lease: Lease, talk: socket.socket):
        self.job, self.folder, self.local, self.lease, self.talk = job, folder, local, lease, talk
        self.stopping: Optional[float] = None  # monotonic time of the SIGKILL to come
        self.child, self.child_start, self.began = 0, None, time.time()  # type: int, Optional[int], float

    def run(self) -> None:
        """Do everything; returns when the keeper need not know more."""
        _become_subreaper()
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        lock = take(self.local.attempt_lock(self.folder.job_id, self.folder.attempt), wait=True)
        self._write_identity(lock)
        if not publish(self.folder, self.job, self.lease.device):
            self.talk.send(TAKEN)
            return
        self._spawn(lock)
        self.talk.send(STARTED)
        ended = self._wait()
        self.lease.close()
        self._say(FREE)
        self._record(ended)
        os.unlink(self.local.attempt_lock(self.folder.job_id, self.folder.attempt))
        self._say(DONE)

    def _write_identity(self, lock: Optional[int]) -> None:
        """Say in the lock file who to signal (`stop_attempt`); start times tell a used-again process id apart."""
        me = os.getpid()
        identity = {
            "watcher": [me, host.start_time(me)],
            "job": [self.child, self.child_start],
        }
        os.pwrite(lock or 0, (json.dumps(identity).ljust(127) + "\n").encode(), 0)

    def _spawn(self, lock: Optional[int]) -> None:
        argv = [word.replace("{run}", self.folder.path) for word in self.job["argv"]]
        environment = {**os.environ, **self._environment()}
        for descriptor in [*self.lease.descriptors, lock or 0]:
            os.set_inheritable(descriptor, True)
        self.began = time.time()
        self.child = os.fork()
        if self.child == 0:
            _become(argv, self.job["cwd"], environment, self.folder.log)
        self.child_start = host.start_time(self.child)
        self._write_identity(lock)

    def _environment(self) -> Dict[str, str]:
        device = self.lease.device
        own = {
            "ORCH_RUN": self.folder.path,
            "ORCH_CACHE": os.environ.get("ORCH_CACHE") or os.path.join(self.local.path, "cache"),
            "OMP_NUM_THREADS": str(device["cpus"]),
            "CUDA_VISIBLE_DEVICES": ",".join(device["gpus"]),
        }
        return {**own, **self.job.get("env", {})}

    def _wait(self) -> Ended:
        """Wait for the first process, then for whatever it left behind; kill on request."""
        first = None
        while first is None:
            first = self._reap(self.child)
            if first is None:
                self._heed(self._signal_within())
        self._end_leftovers()
        _, status, usage = first
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = 128 + number if number else os.WEXITSTATUS(status)
        seconds = usage.ru_utime + usage.ru_stime
        return Ended(code, number, self.stopping is not None, round(seconds, 3), round(usage.ru_maxrss / 1024, 1))

    def _reap(self, wanted: int) -> Optional[Any]:
        """Collect the children that have ended; return the wanted one's `wait4` result when it is among them."""
        found = None
        while True:
            try:
                result = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if result[0] == 0:
                return found
            found = result if result[0] == wanted else found

    def _signal_within(self) -> int:
        if self.stopping is None:
            return signal.sigwaitinfo(_WATCHED).si_signo
        left = max(0.0, self.stopping - time.monotonic())
        came = signal.sigtimedwait(_WATCHED, left)
        return came.si_signo if came else 0

    def _heed(self, number: int) -> None:
        if number == 0:
            self._signal_tree(signal.SIGKILL)
            self.stopping = time.monotonic() + 1.0
        elif number in (signal.SIGTERM, signal.SIGINT):
            wish = read_json(self.folder.stop) or {}
            self.stopping = time.monotonic() + float(wish.get("grace", GRACE))
            _signal(os.killpg, self.child, signal.SIGTERM)

    def _signal_tree(self, number: int) -> None:
        for pid in host.descendants(os.getpid()):
            _signal(os.kill, pid, number)

    def _end_leftovers(self) -> None:
        deadline, number = time.monotonic() + LEFTOVER_GRACE, int(signal.SIGTERM)
        while _has_children():
            self._signal_tree(number)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self._reap(0)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _record(self, ended: Ended) -> None:
        record = {
            "status": ended.status,
            "signal": ended.signal,
            "stopped": ended.stopped,
            "began": True,
            "started": self.began,
            "ended": time.time(),
            "host": host.name(),
            "boot_id": host.boot_id(),
            "pid": self.child,
            "start_time": self.child_start,
            "device": self.lease.device,
            "failure": None if ended.stopped else diagnose(self.folder, ended.status),
            "files": handed_in(self.folder),
            "rusage": {"cpu_seconds": ended.cpu_seconds, "max_rss_mb": ended.max_rss_mb},
        }
        record_exit(self.folder, record, self.local)

    def _say(self, word: bytes) -> None:
        try:
            self.talk.send(word)
        except OSError:  # the keeper is gone: `fork` notices
            pass


def fork(
    job: Dict[str, Any],
    folder: RunFolder,
    local: HostFolder,
    lease: Lease,
    orphaned: Callable[[], None],
) -> socket.socket:
    """Start a watcher in a process of its own; return the keeper's end of their conversation.

    Parameters
    ----------
    orphaned:
        Called in the watcher at its end when the keeper is gone: it sees to the queue.
    """
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        _live(Watcher(job, folder, local, lease, theirs), orphaned)
    theirs.close()
    lease.close()
    return ours


def _live(watcher: Watcher, orphaned: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        close_all_but({0, 1, 2, watcher.talk.fileno(), *watcher.lease.descriptors})
        watcher.run()
        code = 0
    except OrchError as error:  # the disk refused the run folder: nothing has begun
        watcher.talk.send(REFUSED + error.message.encode())
    except BaseException:
        traceback.print_exc()  # into the keeper's log
        watcher.talk.send(DONE)
    finally:
        try:
            if watcher.talk.recv(1) == b"":
                orphaned()
        finally:
            os._exit(code)


def stop_attempt(folder: RunFolder, local: HostFolder) -> bool:
    """Wake the watcher of an attempt whose `stop` file has been written; without a watcher signal the job itself.

    Returns False when neither lives. Only processes whose id and start time stand in the attempt's lock file, written
    by the watcher, are signalled.
    """
    identity = read_json(local.attempt_lock(folder.job_id, folder.attempt)) or {}
    pid, started = identity.get("watcher", (0, 0))
    if pid and host.is_alive(pid, started):
        return _signal(os.kill, pid, signal.SIGTERM)
    pid, started = identity.get("job", (0, 0))
    if pid and host.is_alive(pid, started):
        return _signal(os.killpg, pid, signal.SIGTERM)
    return False


def close_all_but(keep: Set[int]) -> None:
    """Close every descriptor but these: a lock inherited by chance would live on with its inheritor."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:  # the one that listed the folder
                pass


def _become(argv: List[str], cwd: str, environment: Dict[str, str], log: str) -> NoReturn:
    """In the child: turn into the job's program. What goes wrong is said in the job's own log, status 126 or 127."""
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these two
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        where = "folder {}".format(cwd) if error.filename == cwd else "program {}".format(argv[0])
        os.write(2, "orch: cannot start the {}: {}\n".format(where, error.strerror).encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)


def _signal(send: Callable[[int, int], None], target: int, number: int) -> bool:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def preload() -> None:
    """Import once, in the keeper, what each watcher needs after its fork."""
    if sys.platform == "linux":
        import ctypes  # noqa: F401


def _become_subreaper() -> None:
    """Adopt orphaned descendants (prctl PR_SET_CHILD_SUBREAPER), so that a stop reaches the whole tree."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
