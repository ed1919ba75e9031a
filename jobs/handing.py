"""Handing waiting jobs to Slurm, and looking after what it has: the keeper's part on a login node.

An entry that was handed over waits in its batch until its run folder is there, like any other. So nothing is lost with
an array that fails, and whatever comes back from Slurm without having begun is handed over again.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from . import arrays, refusals, slurm
from .arrays import Array
from .atomic import read_json, write_json
from .attempt import cancel
from .errors import OrchError
from .folder import Home, HostFolder
from .holds import Hold, Holds, code_of
from .lease import holding
from .queue import Entry, Key
from .slots import limit_of

POLL_LEAST, POLL_MOST = 2.0, 10.0  # seconds between looks at Slurm's queue: short after a change, then longer
UNSURE = 60.0  # seconds for which an array may still turn up of which sbatch did not say that it was accepted
AGAIN = 30.0  # seconds until Slurm is asked again after it refused
TRIES = 3  # Slurm jobs of an entry that end before it began, until its sweep is held
CHUNK = 1000  # jobs in one array, unless Slurm allows fewer (MaxArraySize)


class Tended(NamedTuple):
    """What a look at Slurm brought: entries that have begun or ended, and those that are to be looked at anew."""

    served: List[Entry]
    back: List[Entry]


class Handing:
    """Arrays of one keeper.

    Attributes
    ----------
    waiting:
        Entries that Slurm is to start and that have not begun, by key.
    """

    def __init__(self, home: Home, local: HostFolder, host: str, log: Callable[[str], None]) -> None:
        self.home, self.local, self.host, self.log = home, local, host, log
        self.waiting: Dict[Key, Entry] = {}
        self.arrays: List[Array] = arrays.arrays(home, host)
        self.poll = POLL_LEAST
        self.at = 0.0  # monotonic time of the next look
        self.refused_until = 0.0
        self.tries: Dict[Key, int] = {}
        self.ended: Dict[Key, str] = {}  # how jobs ended that did not begin, as Slurm told first: it forgets
        self.most = 0  # jobs in one array; 0: not asked yet
        self.ceiling: Optional[int] = None  # jobs of this user at which Slurm admitted no more, when it last said so
        self.listed = 0  # jobs that Slurm has of this user
        self.left = 0  # entries that Slurm did not take when it was last asked

    @property
    def busy(self) -> bool:
        """Something waits for Slurm, or runs there."""
        return bool(self.waiting or self.arrays)

    @property
    def word(self) -> str:
        """Why Slurm does not have all that waits, for who asks for the state of it; empty when it has."""
        said = refusal(self.local) if self.left else ""
        return "{}; {} jobs are in Slurm, {} wait for it".format(said, self.listed, self.left) if said else ""

    def add(self, entry: Entry) -> None:
        """Take an entry that Slurm is to start."""
        self.waiting[entry.key] = entry
        self.at = 0.0

    def tend(self) -> Tended:
        """Look once: what has begun, what came back; then hand over what waits."""
        served, back, changed = self._served(), [], False
        try:
            queue = slurm.queue(0.0)
            self.arrays = [array for array in (self._look_at(array, queue) for array in self.arrays) if array]
            changed, self.listed = len(queue) != self.listed, len(queue)
            back = self._hand_over()
        except OrchError as error:  # nothing is known: nothing is done
            self._say(error.message)
        changed = bool(changed or served or back)
        self.poll = POLL_LEAST if changed else min(POLL_MOST, self.poll * 1.5)
        self.at = time.monotonic() + self.poll
        return Tended(served, back)

    def _served(self) -> List[Entry]:
        begun = [key for key in self.waiting if os.path.isdir(self.home.attempt(*key).path)]
        return [self.waiting.pop(key) for key in begun]

    def _look_at(self, array: Array, queue: Dict[str, slurm.Task]) -> Optional[Array]:
        """Return the array as it is now; None when Slurm has nothing left of it: what has not begun waits anew."""
        if array.job is None:
            return self._look_up(array)
        tasks = array.tasks()
        over = not any(task in queue for task in tasks.values())
        gone = [key for key, task in tasks.items() if key in self.waiting and task not in queue]
        gone = [key for key in gone if not os.path.isdir(self.home.attempt(*key).path)]
        how = slurm.endings(array.job) if gone else {}
        for key in gone:
            self._came_back(array, key, how.get(tasks[key]) or (slurm.CANCELLED if how else ""), over)
        if over:
            arrays.forget(array)
        return None if over else array

    def _look_up(self, array: Array) -> Optional[Array]:
        """Find an array of which nobody knows whether Slurm has it; None once it is given up."""
        job = slurm.named(array.name)
        if job:
            return arrays.identify(array, job)
        if time.time() - array.at > UNSURE:
            arrays.forget(array)
            return None
        return array

    def _came_back(self, array: Array, key: Key, how: str, over: bool) -> None:
        """An entry whose job left Slurm before it began: somebody cancelled it there, or it could not start.

        Of a single job that is cancelled while it waits Slurm keeps nothing; how others ended it forgets after a while.
        """
        how = self.ended.setdefault(key, how)
        if over or not how:
            del self.ended[key]
        if how.startswith(slurm.CANCELLED):
            cancel(self.home.attempt(*key), self.waiting[key].job, self.local, "cancelled in Slurm")
        elif over:  # else a network file system may show its folder late
            self.tries[key] = self.tries.get(key, 0) + 1
            if self.tries[key] >= TRIES:
                said = arrays.last_words(array)
                self._hold(self.waiting[key], "{} Slurm jobs ended before it began: {}".format(TRIES, said or how))

    def _hold(self, entry: Entry, reason: str) -> None:
        self.log("{}: {}".format(entry.key[0], reason))
        with holding(self.local.queue_lock):
            Holds(self.local).hold(entry.key[0], Hold("slurm", reason, code=code_of(entry.job)))

    def _hand_over(self) -> List[Entry]:
        """Submit what Slurm does not have, as far as it has room; return entries that are held from now on."""
        handed: Set[Key] = {key for array in self.arrays for key in array.keys}
        held = self._held(handed)
        entries = [entry for key, entry in self.waiting.items() if key not in handed]
        asked_again = self.refused_until <= time.monotonic()
        room = None if self.ceiling is None or asked_again else self.ceiling - self.listed
        if entries and (asked_again or (room or 0) > 0):
            self.most = self.most or min(CHUNK, slurm.array_limit())
            self._submit_all(entries, room)
        held += self._held(handed)
        self.left = len(set(self.waiting) - {key for array in self.arrays for key in array.keys})
        return held

    def _submit_all(self, entries: List[Entry], room: Optional[int]) -> None:
        """Submit in arrays: as many at once as Slurm admits, halved until it takes them.

        Parameters
        ----------
        room:
            How many it probably takes; None: it is tried.
        """
        probes = self.ceiling is not None and room is None  # one job, then twice as many each time
        size = 1 if probes else self.most
        for group in self._groups(entries):
            while group and room != 0 and not Holds(self.local).hold_of(group[0].job):
                some = group[: min(size, self.most, room or self.most)]
                refusal = self._submit(some)
                if refusal is None:
                    group = group[len(some) :]
                    room = None if room is None else room - len(some)
                    size = 2 * size if probes else size
                elif refusal in (refusals.FULL, refusals.LARGE) and len(some) > 1:
                    size, probes = len(some) // 2, False
                    self.most = size if refusal == refusals.LARGE else self.most
                elif refusal == refusals.FINAL:
                    break
                else:
                    return

    def _held(self, handed: "Set[Key]") -> List[Entry]:
        holds = Holds(self.local)
        keys = [key for key, entry in self.waiting.items() if key not in handed and holds.hold_of(entry.job)]
        for key in keys:
            self.tries.pop(key, None)
        return [self.waiting.pop(key) for key in keys]

    def _groups(self, entries: List[Entry]) -> List[List[Entry]]:
        """Entries that may share an array: one sweep, the same needs."""
        groups: Dict[Tuple[str, str], List[Entry]] = {}
        for entry in entries:
            job = entry.job
            groups.setdefault((entry.key[0], repr((job["resources"], slurm.asked(job)))), []).append(entry)
        return list(groups.values())

    def _submit(self, entries: List[Entry]) -> Optional[str]:
        """Submit one array; return None when Slurm has it now, else the kind of refusal."""
        package = arrays.ship(self.home, self.host)
        for entry in entries:  # what follows its end is owed until it is done: see `aftermath`
            self._owe(entry)
        array = arrays.publish(self.home, self.host, os.path.basename(self.local.path), entries)
        try:
            job = arrays.submit(array, entries[0], limit_of(self.local) or len(entries), package)
        except OrchError as error:
            return self._refused(array, entries, refusals.read(error.message, error.hint))
        self._taken(array, job)
        return None

    def _taken(self, array: Array, job: str) -> None:
        self.arrays.append(arrays.identify(array, job))
        self.listed += len(array.keys)
        self._say("")
        self.log("{}: {} jobs are Slurm's array {}".format(array.keys[0][0], len(array.keys), job))

    def _owe(self, entry: Entry) -> None:
        path = self.local.attempt_lock(self.home.attempt(*entry.key))
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640))

    def _refused(self, array: Array, entries: List[Entry], refusal: refusals.Refusal) -> Optional[str]:
        """Not all that sbatch calls a failure is one: Slurm is asked whether it has the array all the same."""
        self.log("{}: {}".format(entries[0].key[0], refusal))
        self._say(str(refusal))
        job = self._found(array) if refusal.kind == refusals.UNSURE else None  # Slurm lists what it refused as failed
        if job:
            self._taken(array, job)
            return None
        if refusal.kind != refusals.LARGE:
            self.refused_until = time.monotonic() + AGAIN
        if refusal.kind == refusals.UNSURE:  # it may still turn up
            self.arrays.append(array._replace(at=time.time()))
        else:
            arrays.forget(array)
        if refusal.kind == refusals.FINAL:
            then = "{0}, then orch stop {1} and the same orch sweep again".format(refusal.hint, entries[0].key[0])
            self._hold(entries[0], "Slurm refuses it: {}. To mend it: {}".format(refusal, then))
        elif refusal.kind == refusals.FULL and len(entries) == 1:
            self.ceiling = self.listed
        return refusal.kind

    def _found(self, array: Array) -> Optional[str]:
        try:
            return slurm.named(array.name)
        except OrchError:  # the next look asks again
            return None

    def _say(self, text: str) -> None:
        """Remember what Slurm said last, for `orch why`."""
        if text != refusal(self.local):
            write_json(_said(self.local), {"text": text, "at": time.time()}, sync=False)


def _said(local: HostFolder) -> str:
    return os.path.join(local.path, "slurm.json")


def refusal(local: HostFolder) -> str:
    """Return why Slurm did not take what waits, when it was last asked; empty when it did."""
    said = read_json(_said(local))
    return str(said.get("text") or "") if isinstance(said, dict) else ""


def task_of(home: Home, host: str, key: Key) -> Optional[str]:
    """Return the id of Slurm's job that stands for an entry which waits, or None."""
    return next((array.tasks()[key] for array in arrays.arrays(home, host) if key in array.tasks()), None)


def why_waits(home: Home, local: HostFolder, host: str, key: Key) -> str:
    """Say why an entry that Slurm is to start has not begun: in Slurm's words, translated."""
    task = task_of(home, host, key)
    try:
        found = slurm.queue().get(task) if task else None
    except OrchError as error:
        return error.message
    if found:
        return "{}; it is Slurm's job {}".format(slurm.words(found.reason), task)
    said = refusal(local)
    return "Slurm has not taken it yet: {}".format(said) if said else "on its way to Slurm"


def drop(home: Home, host: str, keys: "List[Key]") -> None:
    """Take entries that were ended before they began out of Slurm's queue; should it refuse, its job ends at once."""
    wanted = set(keys)
    tasks: List[str] = []
    for array in arrays.arrays(home, host):
        own = [task for key, task in array.tasks().items() if key in wanted]
        tasks += [str(array.job)] if own and len(own) == len(array.keys) else own  # one order for all is much faster
    slurm.cancel(tasks)
