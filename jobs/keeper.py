"""The keeper: one small transient process for each host, user and orch home, that drains the host's queue.

It leases slots, forks a watcher for each attempt and leaves when the queue is empty. Enqueueing and leaving hold one
lock, so that no job is left behind between the two. It may be killed at any time: the watchers start another one.
"""

from __future__ import annotations

import collections
import os
import select
import time
from typing import BinaryIO, Callable, Deque, Dict, Optional, Set

from . import host, slurm, watcher
from .aftermath import settle
from .errors import ContractError, OrchError
from .folder import Home, HostFolder
from .handing import Handing
from .holds import Holds, has_room
from .home_identity import check
from .lease import holding, is_held
from .logbook import log
from .messages import DONE, FREE, REFUSED, STARTED, TAKEN
from .queue import Entry, Key, Queue
from .slots import Slots
from .stall import Backoff, WorkerSlot, stall_reason
from .waits import DISPATCHER, SLURM, InUse, Patience

FOREIGN_WAIT = 1.0  # seconds between looks when the slots are held by jobs of another keeper
LOOK_WAIT = 60.0  # seconds between looks for batches of which no bell told (its pipe was removed, its ringer killed)
PROBE_WAIT = 10.0  # seconds between looks whether a full disk has room again
DISK_WAIT = 5.0  # seconds between tries when the disk refuses a run folder
DEATH_WAIT = 2.0  # seconds that a killed keeper may take until it is gone


class Keeper:
    """Drain one queue. Runs in a process of its own: see `daemon`.

    Parameters
    ----------
    successor:
        Called in a watcher that has lost its keeper: it sees to it that another one works.
    """

    def __init__(self, home: Home, local: HostFolder, successor: Callable[[], None]) -> None:
        self.home, self.local, self.successor, self.pid = home, local, successor, os.getpid()
        self.start = host.start_time(self.pid)
        check(home, local.home_id)
        self.queue = Queue(home, host.name(), local.home_id)
        self.slots = Slots(local)
        self.due: Deque[Entry] = collections.deque()
        self.held: Deque[Entry] = collections.deque()  # due, but held on purpose
        self.aside: Deque[Entry] = collections.deque()  # due, but other people use the cards, or it is too early
        self.patience = Patience(local)
        self.holds = Holds(local)
        self.probe_at = 0.0  # monotonic time
        self.owed = 0  # what attempts that ended have left to be done, and a full disk refused
        self.open: Dict[str, Set[Key]] = {}  # batch -> entries not served yet
        self.workers: Dict[int, WorkerSlot] = {}  # by descriptor of the conversation
        self.refusals = Backoff(1.0, 60.0)  # no process could be started, or no lock taken
        self.refused_until = 0.0
        self.moved_at = time.monotonic()  # when something last went on
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
            say_ready(tell)
        while True:
            wait = self._fill()
            if self.owed or not self._waits_for_people():
                self._listen(wait)
            elif self._leave(lock):
                return
            else:  # somebody has added a batch, and perhaps was killed before the bell
                self._read_batches()

    def _read_batches(self) -> None:
        check(self.home, self.local.home_id)
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
        if self.due:
            check(self.home, self.local.home_id)
        if self.aside and not self.patience.seconds():
            self._recall()
        while self.due and self.refused_until <= time.monotonic():
            job = self.due[0].job
            try:
                lease = self.patience.lease(self.slots, job)
            except InUse:
                self.aside.append(self.due.popleft())
                continue
            except (OSError, OrchError) as error:
                return self._put_off("no lock can be taken for it: {}".format(error))
            if lease is None:
                self.patience.tell()
                return FOREIGN_WAIT
            try:
                channel, pid = watcher.fork(self.home, self.local, lease, self._orphaned)
            except OSError as error:
                return self._put_off("no process can be started: {}".format(error.strerror))
            worker = self.workers[channel.fileno()] = WorkerSlot(channel, pid, job["resources"], lease.device["slot"])
            self._give(worker)
        if self.due:  # a watcher was lost, or the disk refused a folder
            return FOREIGN_WAIT
        self.patience.settle()
        return self.patience.seconds()

    def _put_off(self, reason: str) -> float:
        """Say why nothing can be started now; return the seconds until it is tried again."""
        wait = self.refusals.next()
        self._say("{}; tried again in {:.0f} s".format(reason, wait))
        self.refused_until = time.monotonic() + wait
        return wait

    def _orphaned(self) -> None:
        """In a watcher that has lost its keeper: a dying process closes its sockets before it frees its locks."""
        deadline = time.monotonic() + DEATH_WAIT
        while host.is_alive(self.pid, self.start) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.successor()

    def _give(self, worker: WorkerSlot) -> None:
        """Give a watcher the next entry, or dismiss it when there is none that its lease fits.

        A card is looked at anew for each job: somebody may have come since.
        """
        fits = self.due and worker.slot < self.slots.jobs and self.refused_until <= time.monotonic()
        fits = fits and self.due[0].job["resources"] == worker.resources
        fits = fits and not (worker.used and worker.resources.get("gpus"))
        fits = fits and not self.patience.too_early(self.due[0].job)
        if not worker.give(self.due.popleft() if fits else None):
            self._lost(worker)

    def _listen(self, timeout: Optional[float]) -> None:
        if timeout is None:
            timeout = PROBE_WAIT if self._probes() else LOOK_WAIT
        if self.handing.busy:
            timeout = min(timeout, max(0.0, self.handing.at - time.monotonic()))
        unsent = [number for number, worker in self.workers.items() if worker.channel.unsent]
        ready, writable, _ = select.select([self.wake, *self.workers], unsent, [], timeout)
        if not ready:
            self._read_batches()
        for descriptor in ready:
            if descriptor == self.wake:
                _drain(self.wake)
                self.slots.refresh()
                self.patience.soon()
                self._read_batches()
            elif descriptor in self.workers:
                self._hear(self.workers[descriptor])
        for descriptor in writable:
            if descriptor in self.workers and not self.workers[descriptor].channel.flush():
                self._lost(self.workers[descriptor])
        self._watch_progress()
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

    def _hear(self, worker: WorkerSlot) -> None:
        """Heed each message that has come; what was said before an end still counts."""
        for message in worker.channel.receive():
            kind = message[:1]
            if kind in (STARTED, TAKEN) and worker.entry:
                worker.begun, self.moved_at = True, time.monotonic()
                self.refusals.reset()
                self.patience.say(DISPATCHER, "")
                self._count_served(worker.entry)
            elif kind == REFUSED:
                self._refused(worker, message[1:].decode("utf-8", "replace"))
            elif kind not in (DONE, FREE):
                log("process {} says what nobody understands: {!r}".format(worker.pid, message[:40]))
            if kind in (TAKEN, DONE, REFUSED) and not worker.channel.gone:
                self._give(worker)
            elif kind not in (STARTED, TAKEN, DONE, REFUSED):
                worker.channel.gone = True  # it has left; what nobody understands is heard no further
        if worker.channel.gone and worker.channel.fileno() in self.workers:
            self._lost(worker)

    def _lost(self, worker: WorkerSlot) -> None:
        """Forget a watcher; an entry of which it said nothing waits again (its folder tells whether it began)."""
        del self.workers[worker.channel.fileno()]
        if worker.resources.get("gpus"):
            self.patience.soon()
        worker.channel.close()
        if worker.entry and (worker.begun or os.path.isdir(self.queue.run_folder(worker.entry.key).path)):
            self._count_served(worker.entry)
        elif worker.entry:
            reason = "process {} was lost before it began {}".format(worker.pid, worker.entry.key)
            self.due.appendleft(worker.entry)
            self._put_off(reason)

    def _watch_progress(self) -> None:
        """Say why nothing goes on while something is due, and begin anew where that may help.

        Raises
        ------
        Restart
            Everything is to be read again, with no descriptor kept.
        """
        for worker in [worker for worker in self.workers.values() if worker.is_late()]:
            self._see_to(worker)
        if not self.due or self.refused_until > time.monotonic():
            return
        reason = stall_reason(self.local, self.workers.values(), self.moved_at)
        if reason is not None:
            self.moved_at = time.monotonic()
            self._say(reason)

    def _see_to(self, worker: WorkerSlot) -> None:
        """Wait for a watcher that is at work on its entry, and say so; any other loses it (it may be stopped)."""
        worker.given_at = time.monotonic()
        key = worker.entry.key if worker.entry else ("", "", 0)
        if worker.entry and is_held(self.local.attempt_lock(self.queue.run_folder(key))):
            self._say("process {} has {} of sweep {} and has not begun it yet".format(worker.pid, key[1], key[0]))
        else:
            self._lost(worker)

    def _say(self, reason: str) -> None:
        """Tell people why nothing goes on, until something does."""
        log(reason)
        self.patience.say(DISPATCHER, reason)
        self.patience.tell()

    def _refused(self, worker: WorkerSlot, reason: str) -> None:
        if not worker.entry or worker.begun:  # what has begun is not begun again
            return
        self.due.appendleft(worker.entry)
        worker.entry = None
        self._say("held for {:.0f} s: {}".format(DISK_WAIT, reason))
        self.refused_until = time.monotonic() + DISK_WAIT

    def let_go(self) -> None:
        """Leave the watchers to themselves."""
        os.close(self.wake)
        for worker in self.workers.values():
            worker.channel.close()

    def _reap(self) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _leave(self, lock: int) -> bool:
        with holding(self.local.queue_lock):
            check(self.home, self.local.home_id)
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


def say_ready(tell: BinaryIO) -> None:
    """Tell whoever started us that we work."""
    try:
        tell.write(b"r")
    except OSError:  # it was killed meanwhile
        pass
    tell.close()


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass
