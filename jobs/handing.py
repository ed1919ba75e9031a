"""Handing waiting jobs to Slurm, and looking after what it has: the keeper's part on a login node.

An entry that was handed over waits in its batch until its run folder is there, like any other. So nothing is lost with
an array that fails, and whatever comes back from Slurm without having begun is handed over again.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from . import arrays, slurm
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

# Refusals that no waiting mends (sbatch's words); others are asked again.
_FINAL = (
    "invalid account",
    "invalid qos",
    "invalid partition",
    "requested node configuration is not available",
    "requested time limit is invalid",
    "memory specification can not be satisfied",
    "more processors requested than permitted",
    "invalid generic resource",
    "invalid feature",
    "submitit is not installed",
    "unrecognized option",
    "invalid --",
)
_TOO_MANY = ("submit limit", "maxsubmit", "job array", "array specification")


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
        self.chunk = 0

    @property
    def busy(self) -> bool:
        """Something waits for Slurm, or runs there."""
        return bool(self.waiting or self.arrays)

    def add(self, entry: Entry) -> None:
        """Take an entry that Slurm is to start."""
        self.waiting[entry.key] = entry
        self.at = 0.0

    def tend(self) -> Tended:
        """Look once: what has begun, what came back; then hand over what waits."""
        served, back = self._served(), []
        try:
            queue = slurm.queue(0.0)
            self.arrays = [array for array in (self._look_at(array, queue) for array in self.arrays) if array]
            back = self._hand_over()
        except OrchError as error:  # nothing is known: nothing is done
            self._say(error.message)
        changed = bool(served or back)
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
        if any(task in queue for task in tasks.values()):
            return array
        for key, task in tasks.items():
            if key in self.waiting and not os.path.isdir(self.home.attempt(*key).path):
                self._came_back(array, key, task)
        arrays.forget(array)
        return None

    def _look_up(self, array: Array) -> Optional[Array]:
        """Find an array of which nobody knows whether Slurm has it; None once it is given up."""
        job = slurm.named(array.name)
        if job:
            return arrays.identify(array, job)
        if time.time() - array.at > UNSURE:
            arrays.forget(array)
            return None
        return array

    def _came_back(self, array: Array, key: Key, task: str) -> None:
        """An entry whose job left Slurm before it began: somebody cancelled it there, or it could not start."""
        how = slurm.ending(task)
        self.tries[key] = self.tries.get(key, 0) + 1
        if how.startswith(slurm.CANCELLED):
            cancel(self.home.attempt(*key), self.waiting[key].job, self.local, "cancelled in Slurm")
        elif self.tries[key] >= TRIES:
            said = arrays.last_words(array)
            self._hold(self.waiting[key], "{} Slurm jobs ended before it began: {}".format(TRIES, said or how))

    def _hold(self, entry: Entry, reason: str) -> None:
        self.log("{}: {}".format(entry.key[0], reason))
        with holding(self.local.queue_lock):
            Holds(self.local).hold(entry.key[0], Hold("slurm", reason, code=code_of(entry.job)))

    def _hand_over(self) -> List[Entry]:
        """Submit what Slurm does not have; return entries that are held from now on."""
        handed: Set[Key] = {key for array in self.arrays for key in array.keys}
        held = self._held(handed)
        if self.refused_until > time.monotonic():
            return held
        for entries in self._groups([entry for key, entry in self.waiting.items() if key not in handed]):
            if not self._submit(entries):
                break
        return held + self._held(handed)

    def _held(self, handed: "Set[Key]") -> List[Entry]:
        holds = Holds(self.local)
        keys = [key for key, entry in self.waiting.items() if key not in handed and holds.hold_of(entry.job)]
        for key in keys:
            self.tries.pop(key, None)
        return [self.waiting.pop(key) for key in keys]

    def _groups(self, entries: List[Entry]) -> List[List[Entry]]:
        """Entries that may share an array: one sweep, the same needs; in chunks."""
        self.chunk = self.chunk or (min(CHUNK, slurm.array_limit()) if entries else 0)
        groups: Dict[Tuple[str, str], List[Entry]] = {}
        for entry in entries:
            job = entry.job
            groups.setdefault((entry.key[0], repr((job["resources"], arrays.asked(job)))), []).append(entry)
        return [some[at : at + self.chunk] for some in groups.values() for at in range(0, len(some), self.chunk)]

    def _submit(self, entries: List[Entry]) -> bool:
        package = arrays.ship(self.home, self.host)
        for entry in entries:  # what follows its end is owed until it is done: see `aftermath`
            self._owe(entry)
        array = arrays.publish(self.home, self.host, os.path.basename(self.local.path), entries)
        try:
            job = arrays.submit(array, entries[0], limit_of(self.local) or len(entries), package)
        except OrchError as error:
            self._refused(array, entries, error)
            return False
        self.arrays.append(arrays.identify(array, job))
        self._say("")
        self.log("{}: {} jobs are Slurm's array {}".format(entries[0].key[0], len(entries), job))
        return True

    def _owe(self, entry: Entry) -> None:
        path = self.local.attempt_lock(self.home.attempt(*entry.key))
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o640))

    def _refused(self, array: Array, entries: List[Entry], error: OrchError) -> None:
        """Not all that sbatch calls a failure is one: Slurm is asked whether it has the array all the same."""
        self.log("{}: {}".format(entries[0].key[0], error.message))
        self._say(error.message)
        said = error.message.lower()
        try:
            job = slurm.named(array.name)
        except OrchError:  # the next look asks again
            job = None
        if job:
            self.arrays.append(arrays.identify(array, job))
            return
        self.refused_until = time.monotonic() + AGAIN
        final = any(words in said for words in _FINAL)
        if final or any(words in said for words in _TOO_MANY):
            arrays.forget(array)
        else:  # it may still turn up
            self.arrays.append(array)
        if final:
            hint = "; {}".format(error.hint) if "submitit" in said else ""
            self._hold(entries[0], "Slurm refuses it: {}{}".format(error.message, hint))
        elif len(entries) > 1 and any(words in said for words in _TOO_MANY):
            self.chunk, self.refused_until = max(1, len(entries) // 2), 0.0

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
    return (
        "Slurm has not taken it: {} (asked again every {:g} s)".format(said, AGAIN) if said else "on its way to Slurm"
    )


def drop(home: Home, host: str, keys: "List[Key]") -> None:
    """Take entries that were ended before they began out of Slurm's queue; should it refuse, its job ends at once."""
    wanted = set(keys)
    tasks: List[str] = []
    for array in arrays.arrays(home, host):
        own = [task for key, task in array.tasks().items() if key in wanted]
        tasks += [str(array.job)] if own and len(own) == len(array.keys) else own  # one order for all is much faster
    slurm.cancel(tasks)
