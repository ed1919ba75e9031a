"""The watcher: parent of attempts. It knows the true exit status, does the killing and writes the exit record.

It lives in its own session, holds its slots and the attempt's lock (its job inherits both on purpose), adopts whatever
the job leaves behind, and takes one attempt after another from its keeper. When the keeper is gone it goes on with its
attempt, then rouses a new keeper: so a killed keeper neither loses an exit status nor stops the queue.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource  # noqa: F401  (else `os.wait4` imports it once it has collected a child, and loses it when that fails)
import signal
import sys
import time
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

from . import host, stop
from .atomic import forget
from .attempt import publish
from .errors import OrchError
from .folder import Home, HostFolder, RunFolder
from .integrity import verified
from .lease import take
from .liveness import WATCHER, Identity, write_identity
from .log_limit import LogLimit
from .logbook import log, log_trouble
from .lookout import Lookout
from .messages import DONE, FREE, REFUSED, STARTED, TAKEN, Channel, pair
from .outcome import Ended, Outcome, attempted, conclude
from .proofs import oom_counter, oom_kills
from .slots import Lease
from .spawn import say_why_not, start
from .standing import ENDING, WATCHED, close_all_but, has_children, signal_descendants, slurm_grace, stand_alone
from .subreaper import dismiss, stand_behind

REASON_LIMIT = 1000  # bytes of a refusal's reason
ASK_WAIT = 1.0  # seconds between tries to read a stop request that the home does not show, or to do what failed
DOUBTS = 5  # times that the system may deny a child that has ended before its status counts as lost
LEFTOVER_GRACE = 2.0  # seconds that processes left behind by a job have after SIGTERM


class StatusLost(Exception):
    """The exit status of a program is lost: its end is proved as after a watcher's death."""


class Watch:
    """One attempt, from publication to exit record.

    Parameters
    ----------
    say:
        Tells the keeper (STARTED, or TAKEN when somebody else has begun this attempt).
    parent:
        The subreaper that outlives this process, if there is one (`liveness.here`).
    """

    def __init__(
        self,
        job: Dict[str, Any],
        folder: RunFolder,
        local: HostFolder,
        lease: Lease,
        say: Callable[[bytes], object],
        parent: Optional[Identity] = None,
    ) -> None:
        self.job, self.folder, self.local, self.lease, self.say = job, folder, local, lease, say
        me = os.getpid()
        self.processes: Dict[str, Any] = {"watcher": [me, host.start_time(me)], **(parent or {})}
        self.kill_at: Optional[float] = None  # monotonic time of the SIGKILL to come, once a stop was asked for
        self.limit_at: Optional[float] = None  # monotonic time at which its time limit is over
        self.stopped = self.timed_out = self.owes = False  # a person's stop; over its limit; something is left to do
        self.lookout = Lookout(job, local, lease)
        self.log_limit = LogLimit(folder.log, job["resources"])
        self.task = str((lease.device.get("slurm") or {}).get("job") or "")  # Slurm's job that we are, if it started us
        self.evicted = False  # Slurm asked us to leave
        self.oom = oom_counter()
        self.oom_before = 0
        self.child = self.doubts = 0
        self.first: Optional[Any] = None  # how the first process ended (`wait4`)
        self.ask_at: Optional[float] = None  # monotonic time of another try to read the stop request
        self.child_start: Optional[int] = None
        self.began = time.time()
        self.told = False  # the keeper knows that it has begun

    def run(self) -> bool:
        """Do everything; False when this attempt is somebody else's.

        Raises
        ------
        DiskError
            The run folder cannot be made: nothing has begun.
        """
        path = self.local.attempt_lock(self.folder)
        lock = self._take(path)
        if lock is None:
            return False
        try:
            self._write_identity(lock)
            if not publish(self.folder, self.job, self.lease.device, self.local, self.processes):
                return False
            self.owes = True  # whatever happens from here on: the lock file stays until all is recorded and done
            self._record(self._wait_surely() if self._spawn(lock) else Ended(127, None, 0.0, 0.0))
        finally:  # a lock file that stays is looked at again by whoever wakes the queue
            with contextlib.suppress(OSError):
                if not self.owes:
                    forget(path)
            with contextlib.suppress(OSError):
                os.close(lock)
        return True

    def _take(self, path: str) -> Optional[int]:
        """The attempt's lock, or None when another has begun the attempt: its end is not waited for."""
        while True:
            lock = take(path)
            if lock is not None or os.path.isdir(self.folder.path):
                return lock
            time.sleep(0.01)  # another is about to begin it

    def _write_identity(self, lock: int) -> None:
        """Say in the lock file who to signal (`stop_attempt`); start times tell a used-again process id apart."""
        write_identity(lock, {**self.processes, "job": [self.child, self.child_start]})

    def _spawn(self, lock: int) -> bool:
        """Start the program; what goes wrong is said in the job's own log."""
        environment = {**os.environ, **self._environment()}
        for descriptor in [*self.lease.descriptors, lock]:
            os.set_inheritable(descriptor, True)
        self.oom_before = oom_kills(self.oom)
        try:
            self.child = start(self._prepare, environment, self.folder.log, self._pause)
        except Exception as error:
            say_why_not(self.job, self.folder.log, error)
        finally:
            os.set_inheritable(lock, False)
        self.began = time.time()
        limit = self.job["resources"].get("time_limit_s")
        self.limit_at = time.monotonic() + limit if limit else None
        self.log_limit.begin()
        self.lookout.begin()
        self.child_start = host.start_time(self.child) if self.child else None
        attempted(lambda: self._write_identity(lock), None, limit=0.0)  # the subreaper and the claim do without
        self._tell()
        return bool(self.child)

    def _prepare(self) -> Tuple[List[str], str]:
        """The program's words and its folder, once its code and environment have been verified."""
        job = verified(self.job, self.folder.home, self.local)
        return [word.replace("{run}", self.folder.path) for word in job["argv"]], job["cwd"]

    def _tell(self) -> None:
        if not self.told:
            self.told = True
            attempted(lambda: self.say(STARTED), None, limit=0.0)  # the keeper finds the folder, whatever it hears

    def _pause(self, seconds: float, error: Exception) -> bool:
        """Wait for another try to start the program; False when it is stopped meanwhile."""
        log("{} cannot be started yet: {}".format(self.folder.path, error))
        self._tell()  # it is published: nobody else can begin it
        came = signal.sigtimedwait(ENDING, seconds)
        self.stopped = bool(came) and attempted(lambda: stop.grace_of(self.folder), None) is not None
        return not self.stopped

    def _environment(self) -> Dict[str, str]:
        device = self.lease.device
        own = {
            "ORCH_RUN": self.folder.path,
            "ORCH_CACHE": self.local.cache,
            "OMP_NUM_THREADS": str(device["cpus"]),
            "CUDA_VISIBLE_DEVICES": ",".join(device["gpus"]),
        }
        micro = (self.job.get("tuning") or {}).get("micro_batch")
        if micro:
            own["ORCH_MICRO_BATCH"] = str(micro)
        return {**own, **self.job.get("env", {})}

    def _wait_surely(self) -> Ended:
        """Whatever else fails: the program is not given up, and its exit status not lost."""
        while True:
            try:
                return self._wait()
            except StatusLost:
                raise
            except Exception:
                log_trouble()
                time.sleep(ASK_WAIT)

    def _wait(self) -> Ended:
        """Wait for the first process, killing on request; then end whatever it left behind."""
        self.first = self.first or self._reap(self.child)
        while self.first is None:
            self._heed(self._next_signal())
            self.first = self._reap(self.child)
        self._end_leftovers()
        self.lookout.end()
        attempted(self.log_limit.look, None, limit=0.0)
        _, status, usage = self.first
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = 128 + number if number else os.WEXITSTATUS(status)
        return Ended(code, number, round(usage.ru_utime + usage.ru_stime, 3), round(usage.ru_maxrss / 1024, 1))

    def _reap(self, wanted: int) -> Optional[Any]:
        """Collect the children that have ended; return the wanted one's `wait4` result when it is among them."""
        found = None
        while True:
            try:
                result = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                if wanted and not found:
                    self._doubt()
                return found
            if result[0] == 0:
                return found
            found = result if result[0] == wanted else found

    def _doubt(self) -> None:
        """It is our child, so the answer was wrong, or somebody else has collected it."""
        if not host.is_alive(self.child, self.child_start):
            self.doubts += 1
            if self.doubts > DOUBTS:
                raise StatusLost("nobody can tell how {} ended".format(self.folder.path))
        self.ask_at = time.monotonic() + ASK_WAIT

    def _next_signal(self) -> int:
        """The next signal, or 0 when a time has come: for SIGKILL, that of the time limit, or for a look around."""
        times = (self.kill_at, self.limit_at, self.lookout.due, self.ask_at, self.log_limit.due)
        due = min((at for at in times if at is not None), default=None)
        if due is None:
            return signal.sigwaitinfo(WATCHED).si_signo
        came = signal.sigtimedwait(WATCHED, max(0.0, due - time.monotonic()))
        return came.si_signo if came else 0

    def _heed(self, number: int) -> None:
        now = time.monotonic()
        if number == 0 and self.kill_at is not None and self.kill_at <= now:
            self.kill_at = now + 1.0
            signal_descendants(signal.SIGKILL)
        elif number == 0 and self.limit_at is not None and self.limit_at <= now:
            self.timed_out, self.limit_at, self.lookout.due = True, None, None
            self._ask_to_leave(stop.GRACE)
        elif number == 0 and self.lookout.due is not None and self.lookout.due <= now:
            self.lookout.due = now + ASK_WAIT  # should this look fail
            if self.lookout.look():
                self.limit_at = None
                self._ask_to_leave(self.lookout.grace)
        elif number == 0 and self.log_limit.due is not None and self.log_limit.due <= now:
            attempted(self.log_limit.look, None, limit=0.0)
        elif number in ENDING or (self.ask_at is not None and self.ask_at <= now):
            self._read_stop(number)

    def _read_stop(self, number: int) -> None:
        """Look whether somebody has asked for a stop; again in a second where the home does not answer."""
        self.ask_at = None
        try:
            grace = stop.grace_of(self.folder)
        except OSError:
            log_trouble()
            self.ask_at, grace = time.monotonic() + ASK_WAIT, None
        self.stopped = self.stopped or grace is not None
        if grace is None and self.task and number in ENDING:
            self.evicted, grace = True, slurm_grace(number)
        if grace is not None:  # else it was meant for an attempt that has ended, or for everybody on this machine
            self.limit_at, self.lookout.due = None, None
            self._ask_to_leave(grace)

    def _ask_to_leave(self, grace: float) -> None:
        kill_at = time.monotonic() + grace
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        stop.send(os.killpg, self.child, signal.SIGTERM)

    def _end_leftovers(self) -> None:
        deadline, number = time.monotonic() + LEFTOVER_GRACE, signal.SIGTERM
        while has_children():
            signal_descendants(number)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self._reap(0)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _record(self, ended: Ended) -> None:
        outcome = Outcome(
            ended,
            self.stopped,
            self.timed_out,
            self.evicted,
            self.lookout.reason,
            self.task,
            self.oom,
            self.oom_before,
            self.child,
            self.child_start,
            self.began,
            self.lease.device,
            self.log_limit.left_out,
        )
        self.owes = not conclude(self.folder, self.job, self.local, outcome)


def fork(home: Home, local: HostFolder, lease: Lease, orphaned: Callable[[], None]) -> Tuple[Channel, int]:
    """Start a watcher in a process of its own; return the keeper's end of their conversation, and the process id.

    It owns the lease from then on; where it cannot be started, nobody does.

    Parameters
    ----------
    orphaned:
        Called in the watcher at its end when the keeper is gone: it sees to the queue.

    Raises
    ------
    OSError
        No process can be started, or there are too many open files.
    """
    try:
        ours, theirs = pair()
        try:
            child = os.fork()
            if child == 0:
                slots = {*lease.descriptors}
                stand_behind(lambda us: _live(home, local, lease, theirs, orphaned, us), local, slots, orphaned)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
    finally:
        lease.close()
    return ours, child


def _live(
    home: Home,
    local: HostFolder,
    lease: Lease,
    keeper: Channel,
    orphaned: Callable[[], None],
    parent: Optional[Identity] = None,
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        close_all_but({0, 1, 2, keeper.fileno(), *lease.descriptors})
        lease.sign()
        stand_alone(WATCHER)
        dismissed = _serve(home, local, lease, keeper, parent)
        os.chdir("/")
        dismiss(parent or {})
        status = 0
        lease.close()
        if dismissed:
            keeper.say(FREE)
        else:
            orphaned()
    except BaseException:
        log_trouble()
        lease.close()
        if not parent:  # else it sees to the queue, once nothing of our job lives
            orphaned()
    finally:
        os._exit(status)


def _serve(home: Home, local: HostFolder, lease: Lease, keeper: Channel, parent: Optional[Identity]) -> bool:
    """Watch one attempt after another; True when the keeper has no more, False when the keeper is gone."""
    while True:
        line = keeper.next()
        if not line:
            return line is not None
        job = json.loads(line)
        folder = home.attempt(job["sweep"], job["id"], job["attempt"])
        watch = Watch(job, folder, local, lease, keeper.say, parent)
        try:
            keeper.say(DONE if watch.run() else TAKEN)
        except (OrchError, OSError) as error:
            if watch.told:  # it has run: what failed then is no reason to give it to anybody again
                log_trouble()
            keeper.say(DONE if watch.told else REFUSED + str(error).encode("utf-8", "replace")[:REASON_LIMIT])


def preload() -> None:
    """Do once, in the keeper, what each watcher would do after its fork."""
    oom_counter()
    gc.disable()  # neither makes cycles worth a collection, and collecting copies the pages shared with the keeper
    if sys.platform == "linux":
        import ctypes  # noqa: F401
