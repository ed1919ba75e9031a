"""Handing waiting jobs to Slurm, and looking after what it has: the keeper's part on a login node.

An entry that was handed over waits in its batch until its run folder is there, like any other. So nothing is lost with
an array that fails, and whatever comes back from Slurm without having begun is handed over again.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from . import absences, arrays, queueing_shell, refusals, slurm, slurm_client
from .arrays import Array
from .atomic import read_json, write_json
from .attempt import cancel, read_exit
from .errors import OrchError
from .folder import Home, HostFolder
from .holds import Hold, Holds, code_of
from .lease import holding
from .queue import Entry, Key
from .slots import limit_of
from .slurm_client import Listing, Shell

POLL_LEAST, POLL_MOST = 2.0, 10.0  # seconds between looks at Slurm's queue: short after a change, then longer
UNSURE = 130.0  # seconds for which an array may still turn up of which nothing was heard: twice a cached squeue's age
PUZZLED = 60.0  # the same where sbatch gave an answer, in words that nobody here knows: it rarely took it then
LOOKS = 2  # looks in that time, at least, that did not find it
AGAIN = 30.0  # seconds until Slurm is asked again after it refused
TRIES = 3  # Slurm jobs of an entry that end before it began, until its sweep is held
PUZZLES = 2  # arrays of a sweep that were refused in unknown words and did not turn up, until it is held
STALLS = 5  # times that one job alone is over a limit that has no name, with nothing of ours in Slurm, until it is held
CHUNK = 1000  # jobs in one array, unless Slurm allows fewer (MaxArraySize)
SINGLES = 20  # jobs that are submitted one by one at each look, where arrays are disabled: each takes a while


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
        self.single = False  # the cluster takes no arrays
        self.cluster = ""  # its name, where it tells
        self.misses: Dict[str, int] = {}  # looks that did not find an array without an id, by token
        self.refusals: Dict[str, refusals.Refusal] = {}  # why such an array was refused
        self.puzzles: Dict[str, int] = {}  # times by sweep that it was refused without a reason that is understood
        self.answers: Dict[Tuple[str, ...], Optional[Listing]] = {}  # of the Slurms that were asked in this look
        self.noise = ""
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
        served, before, self.answers = self._served(), self.listed, {}
        self.arrays = [array for array in map(self._look_at, self.arrays) if array]
        asked = [listing for listing in self.answers.values() if listing]
        self.listed = sum(task.alive for listing in asked for task in listing.tasks.values())
        back = self._hand_over()
        changed = bool(served or back or self.listed != before)
        self.poll = POLL_LEAST if changed else min(POLL_MOST, self.poll * 1.5)
        self.at = time.monotonic() + self.poll
        return Tended(served, back)

    def _listing(self, shell: Shell) -> Optional[Listing]:
        """What Slurm has, asked once at each look; None: it does not answer, and nothing is known."""
        key = slurm_client.key_of(shell)
        if key not in self.answers:
            try:
                self.answers[key] = slurm_client.listing(0.0, shell)
            except OrchError as error:
                self.answers[key] = None
                self._say(error.message)
        found = self.answers[key]
        if found and found.noise != self.noise:
            self.noise = found.noise
            self.log("squeue also says: {}".format(found.noise) if found.noise else "squeue says its own words only")
        return found

    def _served(self) -> List[Entry]:
        begun = [key for key in self.waiting if os.path.isdir(self.home.attempt(*key).path)]
        return [self.waiting.pop(key) for key in begun]

    def _look_at(self, array: Array) -> Optional[Array]:
        """Return the array as it is now; None when Slurm has nothing left of it: what has not begun waits anew."""
        seen = self._listing(array.shell)
        if seen is None:
            return array
        try:
            return self._look_up(array) if array.job is None else self._look_in(array, seen)
        except OrchError as error:
            self._say(error.message)
            return array

    def _look_in(self, array: Array, seen: Listing) -> Optional[Array]:
        rows = {key: seen.task(task, array.name) for key, task in array.tasks().items()}
        lives = any(row and row.alive for row in rows.values())
        if not lives and seen.is_unclear(str(array.job), array.name):
            return self._renamed(array)
        gone = [key for key, row in rows.items() if key in self.waiting and not (row and row.alive)]
        gone = [key for key in gone if not os.path.isdir(self.home.attempt(*key).path)]
        fates = {key: slurm.fate(array.handle(key), self.local, begun=False) for key in gone}
        lives = lives or any(fate.lock != "free" for fate in fates.values())
        over = not lives and all(self._is_over(array, key) for key in rows if key not in fates)
        known = any(rows.values()) or any(fate.state for fate in fates.values())
        for key, fate in fates.items():
            if fate.lock == "free":  # of a job that is cancelled while it waits Slurm keeps nothing, and all the others
                self._came_back(array, key, fate.state or (slurm.CANCELLED if known else ""), over)
        if over:
            arrays.forget(array)
            absences.forget(self.local, str(array.job))
        return None if over else array

    def _is_over(self, array: Array, key: Key) -> bool:
        """An entry that has begun, and that squeue does not list: its record tells, else Slurm."""
        folder = self.home.attempt(*key)
        return read_exit(folder, self.local) is not None or slurm.fate(array.handle(key), self.local).lock == "free"

    def _renamed(self, array: Array) -> Array:
        """Its name is there under another id than we know: what sbatch or squeue printed was cut."""
        job = slurm_client.named(array.name, array.single, array.shell)
        if not job or job == array.job or not slurm_client.witnesses(job, array.name, array.shell).whole:
            return array  # ids are cut in what squeue prints: the controller knows no such array
        self.log("{}: its array is {}, not {}".format(array.keys[0][0], job, array.job))
        return arrays.identify(array, job)

    def _look_up(self, array: Array) -> Optional[Array]:
        """Find an array of which nobody knows whether Slurm has it; None once it is given up."""
        job = slurm_client.named(array.name, array.single, array.shell)
        if job:
            self.misses.pop(array.token, None)
            return arrays.identify(array, job)
        self.misses[array.token] = self.misses.get(array.token, 0) + 1
        refusal = self.refusals.get(array.token)
        puzzled = refusal is not None and refusal.kind == refusals.UNKNOWN
        if self.misses[array.token] < LOOKS or time.time() - array.at <= (PUZZLED if puzzled else UNSURE):
            return array
        arrays.forget(array)
        if refusal and puzzled and array.keys[0] in self.waiting:
            self._puzzled(self.waiting[array.keys[0]], refusal, PUZZLES)
        return None

    def _puzzled(self, entry: Entry, refusal: refusals.Refusal, most: int) -> None:
        """Count what was refused without a reason that is understood; a person must look before long."""
        sweep = entry.key[0]
        self.puzzles[sweep] = self.puzzles.get(sweep, 0) + 1
        if self.puzzles[sweep] >= most:
            text = "Slurm refused it {} times, and orch does not know why: {}. To mend it: {}"
            self._hold(entry, text.format(self.puzzles.pop(sweep), refusal.said, _then(refusal, sweep)))

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
        size, submits = 1 if probes else CHUNK, 0
        for group in self._groups(entries):
            if not self._is_there(group[0]):
                continue
            while group and room != 0 and not Holds(self.local).hold_of(group[0].job):
                if self.single and submits >= SINGLES:
                    return
                some, submits = group[: min(size, self.most, room or self.most)], submits + 1
                refusal = self._submit(some)
                if refusal is None:
                    group = group[len(some) :]
                    room = None if room is None else room - len(some)
                    size = 2 * size if probes else size
                elif refusal in (refusals.FULL, refusals.LARGE) and len(some) > 1:
                    size, probes = len(some) // 2, False
                    self.most = size if refusal == refusals.LARGE else self.most
                elif refusal == refusals.LARGE and not self.single:
                    self.single = True  # not even one job as an array
                elif refusal in (refusals.FINAL, refusals.LARGE):
                    break
                else:
                    return

    def _is_there(self, entry: Entry) -> bool:
        """Tell whether the Slurm for which an entry waits answers; ask it first what an array may have."""
        shell = queueing_shell.load(self.home, self.host, slurm.asked(entry.job))
        if self._listing(shell) is None:
            return False
        if not self.most:
            most, self.cluster = slurm.config(shell)
            self.most, self.single = max(1, min(CHUNK, most)), self.single or most == 0
        return True

    def _held(self, handed: "Set[Key]") -> List[Entry]:
        holds = Holds(self.local)
        keys = [key for key, entry in self.waiting.items() if key not in handed and holds.hold_of(entry.job)]
        for key in keys:
            self.tries.pop(key, None)
            self.puzzles.pop(key[0], None)
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
        identity = os.path.basename(self.local.path)
        array = arrays.publish(self.home, self.host, identity, entries, self.single, self.cluster)
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
        perhaps = refusal.kind in (refusals.UNSURE, refusals.UNKNOWN)
        job = self._found(array) if perhaps else None  # Slurm lists what it refused as failed
        if job:
            self._taken(array, job)
            return None
        if refusal.kind != refusals.LARGE:
            self.refused_until = time.monotonic() + AGAIN
        if perhaps:  # it may still turn up
            self.arrays.append(array._replace(at=time.time()))
            self.refusals[array.token] = refusal
        else:
            arrays.forget(array)
        if refusal.kind == refusals.LARGE and array.single:
            text = "Slurm takes neither an array of one job nor a single one: {}. To mend it: {}"
            self._hold(entries[0], text.format(refusal.said, "sacctmgr show qos, or ask the administrator"))
        elif refusal.kind == refusals.FINAL:
            text = "Slurm refuses it: {}. To mend it: {}"
            self._hold(entries[0], text.format(refusal, _then(refusal, entries[0].key[0])))
        elif refusal.kind == refusals.FULL and len(entries) == 1:
            self.ceiling = self.listed
            if not self.listed and not refusal.reason:
                self._puzzled(entries[0], refusal, STALLS)
        return refusal.kind

    def _found(self, array: Array) -> Optional[str]:
        try:
            return slurm_client.named(array.name, array.single, array.shell)
        except OrchError:  # the next look asks again
            return None

    def _say(self, text: str) -> None:
        """Remember what Slurm said last, for `orch why`."""
        if text != refusal(self.local):
            write_json(_said(self.local), {"text": text, "at": time.time()}, sync=False)


def _then(refusal: refusals.Refusal, sweep: str) -> str:
    return "{}, then orch stop {} and the same orch sweep again".format(refusal.hint, sweep)


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
    array = next((array for array in arrays.arrays(home, host) if key in array.tasks()), None)
    task = array.tasks()[key] if array else ""
    try:
        found = slurm_client.listing(shell=array.shell).task(task, array.name) if array else None
    except OrchError as error:
        return error.message
    if found and found.alive:
        return "{}; it is Slurm's job {}".format(slurm.words(found.reason), task)
    if array:
        return "squeue does not list its job {} now, and nothing tells that it ended".format(task)
    said = refusal(local)
    return "Slurm has not taken it yet: {}".format(said) if said else "on its way to Slurm"


def drop(home: Home, host: str, keys: "List[Key]") -> None:
    """Take entries that were ended before they began out of Slurm's queue; should it refuse, its job ends at once."""
    wanted = set(keys)
    for array in arrays.arrays(home, host):
        own = [task for key, task in array.tasks().items() if key in wanted]
        whole = own and len(own) == len(array.keys)  # one order for all is much faster
        slurm_client.cancel([str(array.job)] if whole else own, array.name, shell=array.shell)
