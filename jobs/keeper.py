"""The keeper: one small transient process for each host, user and orch home, that drains the host's queue.

It leases slots, forks a watcher for each attempt and leaves when the queue is empty. Enqueueing and leaving hold one
lock, so that no job is left behind between the two. It may be killed at any time: the watchers rouse another one.
"""

from __future__ import annotations

import collections
import os
import select
import signal
import socket
import time
from typing import Any, BinaryIO, Deque, Dict, Optional, Set

from . import arrays, host, slurm, watcher
from .aftermath import settle
from .errors import ContractError
from .folder import Home, HostFolder
from .handing import Handing
from .holds import Holds, has_room
from .homes import mask
from .lease import holding, is_held, take
from .logbook import log, log_trouble
from .queue import Entry, Key, Queue, ring
from .slots import Slots
from .standing import close_all_but, open_standard_files
from .waits import SLURM, InUse, Patience

FOREIGN_WAIT = 1.0  # seconds between looks when the slots are held by jobs of another keeper
LOOK_WAIT = 60.0  # seconds between looks for batches of which no bell told (its pipe was removed, its ringer killed)
PROBE_WAIT = 10.0  # seconds between looks whether a full disk has room again
DISK_WAIT = 5.0  # seconds between tries when the disk refuses a run folder
START_TRIES = 3  # a keeper that is killed before it has started anything is started again
DEATH_WAIT = 2.0  # seconds that a killed keeper may take until it is gone
READY_WAIT = 10.0  # seconds that a new keeper may take to come up


class Ward:
    """A watcher that the keeper has forked, the lease it holds and the entry it serves (None: it is leaving)."""

    def __init__(self, talk: socket.socket, resources: Dict[str, Any], slot: int) -> None:
        self.talk, self.resources, self.slot = talk, resources, slot
        self.entry: Optional[Entry] = None
        self.used = False  # its cards have served a job


class Keeper:
    """Drain one queue. Runs in a process of its own: see `rouse`."""

    def __init__(self, home: Home, local: HostFolder) -> None:
        self.home, self.local, self.pid = home, local, os.getpid()
        self.queue = Queue(home, host.name())
        self.slots = Slots(local)
        self.due: Deque[Entry] = collections.deque()
        self.held: Deque[Entry] = collections.deque()  # due, but held on purpose
        self.aside: Deque[Entry] = collections.deque()  # due, but other people use the cards, or it is too early
        self.patience = Patience(local)
        self.holds = Holds(local)
        self.probe_at = 0.0  # monotonic time
        self.owed = 0  # what attempts that ended have left to be done, and a full disk refused
        self.open: Dict[str, Set[Key]] = {}  # batch -> entries not served yet
        self.wards: Dict[int, Ward] = {}
        self.refused_until = 0.0
        self.handing = Handing(home, local, host.name(), log)  # what Slurm is to start
        self.wake = os.open(local.wake, os.O_RDWR | os.O_NONBLOCK)

    def run(self, lock: int, tell: BinaryIO) -> None:
        """Work until the queue is empty, then leave.

        Whoever started us hears of it through `tell` when the first watchers live: should we be killed before, it is
        still there to start another; should we be killed later, the watchers are.
        """
        self._read_batches()
        self._fill()
        if not tell.closed:
            _say_ready(tell)
        while True:
            wait = self._fill()
            if self.owed or not self._waits_for_people():
                self._listen(wait)
            elif self._leave(lock):
                return
            else:  # somebody has added a batch, and perhaps was killed before the bell
                self._read_batches()

    def _read_batches(self) -> None:
        self._recall()
        for batch in self.queue.mine():
            if batch not in self.open:
                self._open(batch)
        self._sort_held()

    def _recall(self) -> None:
        """Put back in front what was put aside; what was stopped or taken back meanwhile has its folder."""
        aside, self.aside = self.aside, collections.deque()
        for entry in reversed(aside):
            if os.path.isdir(self.queue.run_folder(entry.key).path):
                self._count_served(entry)
            else:
                self.due.appendleft(entry)

    def _sort_held(self) -> None:
        """Put aside what is held on purpose, and back in front what no longer is."""
        self.holds = Holds(self.local)
        if self.holds or self.held:
            entries = [*self.held, *self.due]
            near = {entry for entry in entries if self.holds.gpus or entry.key[0] in self.holds.sweeps}
            held = {entry for entry in near if self.holds.hold_of(entry.job)}
            self.held = collections.deque(entry for entry in entries if entry in held)
            self.due = collections.deque(entry for entry in entries if entry not in held)
        due, self.due = self.due, collections.deque()
        for entry in due:
            if b'"slurm"' in entry.line and slurm.asked(entry.job) is not None:
                self.handing.add(entry)
            else:
                self.due.append(entry)

    def _waits_for_people(self) -> bool:
        """Tell whether nothing is left to do but what a person must release; so it is when nothing is left."""
        if self.handing.busy or any(entry.key[0] in self.holds.probed() for entry in self.held):
            return False
        return sum(map(len, self.open.values())) == len(self.held)

    def _probe(self) -> None:
        """Release what waited for room on a disk that has it again; then do what it had refused."""
        self.probe_at = time.monotonic() + PROBE_WAIT
        roomy = [name for name, hold in self.holds.probed().items() if has_room(hold.path or "/")]
        if not roomy and not self.owed:
            return
        with holding(self.local.queue_lock):
            for name in Holds(self.local).release(roomy):
                log("{}: there is room again".format(name))
            self.owed = settle(self.home, self.local)
        self._read_batches()

    def _open(self, batch: str) -> None:
        try:
            entries = self.queue.due(batch)
        except ContractError as error:
            log("{}; set aside as {}".format(error, self.queue.set_aside(batch)))
            return
        self.open[batch] = {entry.key for entry in entries}
        self.due.extend(entries)
        self._close_if_served(batch)

    def _close_if_served(self, batch: str) -> None:
        """Each entry was seen to have its folder; not asked again: a folder that is away for a moment had begun."""
        if not self.open[batch]:
            del self.open[batch]
            self.queue.delete(batch)

    def _count_served(self, entry: Entry) -> None:
        if entry.batch in self.open:
            self.open[entry.batch].discard(entry.key)
            self._close_if_served(entry.batch)

    def _fill(self) -> Optional[float]:
        """Start what fits, in order; return after how many seconds to look again, None when somebody will say."""
        if self.refused_until > time.monotonic():
            return self.refused_until - time.monotonic()
        if self.aside and not self.patience.seconds():
            self._recall()
        while self.due:
            job = self.due[0].job
            try:
                lease = self.patience.lease(self.slots, job)
            except InUse:
                self.aside.append(self.due.popleft())
                continue
            if lease is None:
                self.patience.tell()
                return FOREIGN_WAIT
            talk = watcher.fork(self.home, self.local, lease, self._orphaned)
            ward = self.wards[talk.fileno()] = Ward(talk, job["resources"], lease.device["slot"])
            self._give(ward)
        self.patience.settle()
        return self.patience.seconds()

    def _orphaned(self) -> None:
        """In a watcher that has lost its keeper: a dying process closes its sockets before it frees its locks."""
        deadline = time.monotonic() + DEATH_WAIT
        while os.getppid() == self.pid and time.monotonic() < deadline:
            time.sleep(0.001)
        rouse(self.home, self.local)

    def _give(self, ward: Ward) -> None:
        """Give a watcher the next entry, or dismiss it when there is none that its lease fits.

        A card is looked at anew for each job: somebody may have come since.
        """
        fits = self.due and ward.slot < self.slots.jobs and self.refused_until <= time.monotonic()
        fits = (
            fits and self.due[0].job["resources"] == ward.resources and not (ward.used and ward.resources.get("gpus"))
        )
        fits = fits and not self.patience.too_early(self.due[0].job)
        ward.entry, ward.used = self.due.popleft() if fits else None, True
        watcher.send_job(ward.talk, ward.entry.line if ward.entry else b"")

    def _listen(self, timeout: Optional[float]) -> None:
        if timeout is None:
            timeout = PROBE_WAIT if self._probes() else LOOK_WAIT
        if self.handing.busy:
            timeout = min(timeout, max(0.0, self.handing.at - time.monotonic()))
        ready, _, _ = select.select([self.wake, *self.wards], [], [], timeout)
        if not ready:
            self._read_batches()
        for descriptor in ready:
            if descriptor == self.wake:
                _drain(self.wake)
                self.slots.refresh()
                self.patience.soon()
                self._read_batches()
            else:
                self._hear(self.wards[descriptor])
        if self._probes() and self.probe_at <= time.monotonic():
            self._probe()
        self._tend()
        self._reap()

    def _tend(self) -> None:
        """See to what Slurm has, when it is time; then to what its jobs left to be done."""
        if not self.handing.busy or self.handing.at > time.monotonic():
            return
        tended = self.handing.tend()
        self.patience.say(SLURM, self.handing.word)
        self.patience.tell()
        for entry in tended.served:
            self._count_served(entry)
        self.due.extend(tended.back)
        with holding(self.local.queue_lock):
            self.owed = settle(self.home, self.local)
        self._read_batches()

    def _probes(self) -> bool:
        return bool(self.owed or self.holds.probed())

    def _hear(self, ward: Ward) -> None:
        try:
            words = ward.talk.recv(4096)
        except OSError:  # killed before it had read its next job
            words = b""
        if not words or words == watcher.FREE:  # it has left, or it was killed
            self._lost(ward)
        elif words[:1] == watcher.REFUSED:
            self._refused(ward, words[1:].decode("utf-8", "replace"))
            self._give(ward)
        else:
            self._served(ward, words)

    def _served(self, ward: Ward, words: bytes) -> None:
        """Count the entry as served with STARTED or TAKEN; at its end the watcher is ready for another."""
        if ward.entry and words[:1] in (watcher.STARTED, watcher.TAKEN):
            self._count_served(ward.entry)
        if words[-1:] in (watcher.TAKEN, watcher.DONE):
            self._give(ward)

    def _lost(self, ward: Ward) -> None:
        """Forget a watcher; an entry of which it said nothing waits again (its folder tells whether it began)."""
        del self.wards[ward.talk.fileno()]
        if ward.resources.get("gpus"):
            self.patience.soon()
        ward.talk.close()
        if ward.entry and os.path.isdir(self.queue.run_folder(ward.entry.key).path):
            self._count_served(ward.entry)
        elif ward.entry:
            log("a watcher was lost before it began {}".format(ward.entry.key))
            self._hold(ward.entry, FOREIGN_WAIT)

    def _refused(self, ward: Ward, reason: str) -> None:
        log("held for {:.0f} s: {}".format(DISK_WAIT, reason))
        if ward.entry:
            self._hold(ward.entry, DISK_WAIT)

    def _hold(self, entry: Entry, seconds: float) -> None:
        self.due.appendleft(entry)
        self.refused_until = time.monotonic() + seconds

    def let_go(self) -> None:
        """Leave the watchers to themselves."""
        os.close(self.wake)
        for ward in self.wards.values():
            ward.talk.close()

    def _reap(self) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _leave(self, lock: int) -> bool:
        with holding(self.local.queue_lock):
            self.owed = settle(self.home, self.local)
            if self.owed:
                log("{} ended attempts wait for room to be followed up".format(self.owed))
            if self.owed or set(self.queue.mine()) - set(self.open):
                return False
            self._sort_held()
            if not self._waits_for_people():
                return False
            self.patience.forget()
            Holds(self.local).forget({entry.key[0] for entry in self.held})
            os.close(lock)
            return True


def rouse(home: Home, local: HostFolder) -> bool:
    """See to it that a keeper works when the queue is not empty; True when one does.

    Raises
    ------
    DiskError
        The host-local folder cannot be written.
    """
    with holding(local.queue_lock):
        queue = Queue(home, host.name())
        if not settle(home, local) and not queue.mine() and not arrays.arrays(home, host.name()):
            return False
        if is_held(local.keeper_lock) and ring(local.wake):
            return True
        return any(_start(home, local) for _ in range(START_TRIES))


def _start(home: Home, local: HostFolder) -> bool:
    if not os.path.exists(local.wake):
        os.mkfifo(local.wake, 0o600)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            _live(home, local, tell)
        os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    came = select.select([ready], [], [], READY_WAIT)[0] and os.read(ready, 1) == b"r"
    os.close(ready)
    return bool(came) or is_held(local.keeper_lock)


def _live(home: Home, local: HostFolder, tell: int) -> None:
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a watcher that starts a keeper has some blocked
        close_all_but({tell})
        open_standard_files(local.keeper_log)
        os.umask(mask(home.path))
        os.chdir("/")
        lock = take(local.keeper_lock)
        if lock is not None:
            watcher.preload()
            with open(tell, "wb", buffering=0) as told:
                while not _work(home, local, lock, told):
                    time.sleep(DISK_WAIT)
    except BaseException:
        log_trouble()
    finally:
        os._exit(0)


def _work(home: Home, local: HostFolder, lock: int, tell: BinaryIO) -> bool:
    """Serve until the queue is empty; False when the home refused a look (ESTALE, EIO): another keeper must go on.

    To the watchers it is as if their keeper had been killed; there may be none that could start another one.
    """
    keeper = Keeper(home, local)
    try:
        keeper.run(lock, tell)
    except OSError:
        log_trouble()
        keeper.let_go()
        tell.close()
        return False
    return True


def _say_ready(tell: BinaryIO) -> None:
    try:
        tell.write(b"r")
    except OSError:  # whoever started us was killed meanwhile
        pass
    tell.close()


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass
