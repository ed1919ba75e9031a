"""Whether anything of an attempt still lives on this host: its lock first, then the whole tree of its processes.

A program may close the descriptors that it inherited, and the lock with them (Python's `subprocess` does). So a free
lock proves an end only with a word of the attempt's subreaper, or with a look at every process: what bears the
attempt's mark or descends from it lives; what might have come from it and shows no mark cannot be proved ended.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from . import host
from .atomic import digest, read_json
from .folder import HostFolder, RunFolder
from .lease import is_held, take

IDENTITY_SIZE = 256  # bytes of a lock file: written once before the attempt appears, overwritten in place later
KEEPER, WATCHER, SUBREAPER = "orch-keeper", "orch-watcher", "orch-subreaper"  # our processes' names (prctl(2))
FREE = "the attempt's lock is free"  # of all of its processes, see `proof`
_ENDED = "ended"  # key in a lock file: nothing of the attempt lives
_OWN = frozenset({KEEPER, WATCHER, SUBREAPER})
_REAPERS = frozenset({"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "conmon", "containerd-shim"})
_SHOWN = 3  # processes named in a reason
_WORDS = 60  # characters of a command in a reason

Identity = Mapping[str, Any]


class Process(NamedTuple):
    """A process as `stat` tells of it; with its start (clock ticks since boot) it names one process only."""

    pid: int
    parent: int
    group: int
    session: int
    terminal: int
    start: int
    name: str


class Remains(NamedTuple):
    """What is left of an attempt: surely its own; perhaps its own; and why that cannot be told, where it cannot."""

    sure: List[Process]
    doubtful: List[Process]
    hidden: str = ""


def here() -> Dict[str, Any]:
    """Return what a later look needs to know of this process as the parent of attempts: for the attempt's claim."""
    me, fields = os.getpid(), host.stat(os.getppid())[1]
    reaper = int(fields[1]) if fields else 1  # the keeper's parent: orphans go to it when watcher and we are gone
    return {
        "subreaper": [me, host.start_time(me)],
        "reaper": [reaper, host.start_time(reaper)],
        "cgroup": _cgroup("self"),
    }


def write_identity(lock: int, identity: Identity) -> None:
    """Write into a lock file, over what stood there: pairs of process id and start time only.

    Raises
    ------
    OSError
        The disk does not take it.
    """
    pairs = {who: identity[who] for who in ("watcher", "job", "subreaper", _ENDED) if who in identity}
    os.pwrite(lock, (json.dumps(pairs).ljust(IDENTITY_SIZE - 1) + "\n").encode(), 0)


def identity_of(folder: RunFolder, claim: Mapping[str, Any], local: HostFolder) -> Dict[str, Any]:
    """Return who watched an attempt: the lock file's word, and the claim's where the file is gone."""
    found = read_json(local.attempt_lock(folder))
    claimed = claim.get("processes")
    return {**(claimed if isinstance(claimed, dict) else {}), **(found if isinstance(found, dict) else {})}


def named(identity: Any, who: str) -> Tuple[int, Optional[int]]:
    """Return process id and start time of `watcher`, `job`, `subreaper` or `reaper`; (0, None) where none is named."""
    found = identity.get(who) if isinstance(identity, dict) else None
    sound = isinstance(found, list) and len(found) == 2 and all(isinstance(number, int) for number in found)
    return (found[0], found[1]) if sound and found else (0, None)


def proof(folder: RunFolder, claim: Mapping[str, Any], local: HostFolder) -> Tuple[str, str]:
    """Return `held`, `free` or `unknown`, and why, for an attempt of this boot that has no exit record."""
    path, stranger = local.attempt_lock(folder), host.stranger(folder.path)
    try:
        if is_held(path):
            return "held", ""
        identity = identity_of(folder, claim, local)
    except PermissionError:
        return "unknown", "it is {}'s, whose locks cannot be read".format(stranger)
    except OSError as error:
        return "unknown", "its lock cannot be read: {}".format(error.strerror)
    if stranger and not os.path.exists(path):  # somebody may have cleaned /var/tmp
        return "unknown", "it is {}'s, and its lock is gone: only they can tell".format(stranger)
    if _ENDED not in identity:
        left = remains(folder, identity, local)
        identity = identity_of(folder, claim, local)  # the subreaper may just have written it
    if _ENDED in identity:
        return "free", FREE
    if left.sure:
        return "held", "its watcher is gone; {} lives on".format(_named(left.sure))
    if stranger and host.user():
        return "unknown", "it is {}'s, and its watcher is gone: only they can tell".format(stranger)
    if left.hidden or left.doubtful:
        return "unknown", _unproved(left)
    note_end(path)
    return "free", FREE


def _unproved(left: Remains) -> str:
    """What a person must know who is to decide."""
    if left.hidden:
        return "its watcher is gone, and whether its processes have ended cannot be proved: {}".format(left.hidden)
    text = "its watcher is gone, and this may be a process of it: {}; once it ends, or you end it (kill {}), it counts"
    return text.format(_named(left.doubtful), left.doubtful[0].pid)


def _named(processes: List[Process]) -> str:
    """Some processes in words: id and command."""
    shown = []
    for process in processes[:_SHOWN]:
        words = " ".join(host.program(process.pid)[1]).strip() or process.name
        shown.append("process {} ({})".format(process.pid, words[:_WORDS]))
    more = len(processes) - len(shown)
    return ", ".join(shown) + (" and {} more".format(more) if more else "")


def note_end(path: str) -> None:
    """Write the proof of an end into the lock file, if there is one: then nobody needs to look again."""
    try:
        lock = take(path) if os.path.exists(path) else None
        if lock is not None:
            try:
                found = read_json(path)
                write_identity(lock, {**(found if isinstance(found, dict) else {}), _ENDED: [0, 1]})
            finally:
                os.close(lock)
    except OSError:  # looked at again the next time
        pass


def remains(folder: RunFolder, identity: Identity, local: HostFolder) -> Remains:
    """Look at every process of this host for what is left of an attempt."""
    try:
        table = {process.pid: process for process in _processes()}
    except OSError as error:
        return Remains([], [], "there is no /proc here ({})".format(error.strerror))
    look = _Look(folder, identity, local, table)
    sure = look.sure()
    doubtful = [process for process in table.values() if process.pid not in sure and look.is_doubtful(process)]
    hidden = "" if sure or 1 in table else "this host hides the processes of other users (hidepid)"
    return Remains([table[pid] for pid in sorted(sure)], doubtful, hidden)


class _Look:
    """One look at all processes, for one attempt."""

    def __init__(self, folder: RunFolder, identity: Identity, local: HostFolder, table: Dict[int, Process]) -> None:
        self._table, self._folder = table, folder
        self._cgroup = identity.get("cgroup")
        self._lock = os.path.realpath(local.attempt_lock(folder))
        self._user = _owner(folder.path)
        self._watcher, started = named(identity, "watcher")
        self._since = started or 0  # nothing of the attempt is older
        self._job, self._job_start = named(identity, "job")
        self._subreaper = named(identity, "subreaper")
        self._reapers = {1, named(identity, "reaper")[0]}

    def sure(self) -> Set[int]:
        """Those that bear the attempt's mark, or descend from one that does or from its subreaper."""
        ours = {pid for pid, process in self._table.items() if self._is_marked(process)}
        children: Dict[int, List[int]] = {}
        for process in self._table.values():
            children.setdefault(process.parent, []).append(process.pid)
        roots = [*ours, *([self._subreaper[0]] if self._lives(*self._subreaper) else [])]
        while roots:
            roots = [child for root in roots for child in children.get(root, ()) if child not in ours]
            ours.update(roots)
        return {pid for pid in ours if self._table[pid].name not in _OWN}

    def _lives(self, pid: int, started: Optional[int]) -> bool:
        return bool(pid) and pid in self._table and self._table[pid].start == started

    def _is_marked(self, process: Process) -> bool:
        """Started with the run folder in its environment, holding the lock, or in the living first process's group."""
        if process.start < self._since or host.owner(process.pid) not in (self._user, host.user()):
            return False
        if self._job and process.group == self._job and self._lives(self._job, self._job_start):
            return True
        return host.has_variable(process.pid, "ORCH_RUN", self._folder.path) or host.has_open(process.pid, self._lock)

    def is_doubtful(self, process: Process) -> bool:
        """Tell whether an unmarked process may have come from the attempt.

        In its session or first group it may have; so may an orphan younger than the attempt, of the same user and
        control group. What a process older than the attempt has started did not come from it.
        """
        if not self._watcher or process.start < self._since or process.name in _OWN:
            return False
        for number in (self._watcher, self._job):
            same = number and number in (process.session, process.group)
            if same and number not in self._table:  # else the number is another process's by now
                return True
        parent = self._table.get(process.parent)
        adopted = process.parent in self._reapers or (parent is not None and parent.name in _REAPERS)
        if not adopted or process.terminal:
            return False
        if host.owner(process.pid) != self._user:
            return False
        if self._cgroup and _cgroup(process.pid) not in ("", self._cgroup):
            return False
        other = host.variable(process.pid, "ORCH_RUN")
        return not (other and os.path.exists(RunFolder(other).job))  # else it is another attempt's


def _owner(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_uid
    except OSError:
        return host.user()


def _cgroup(pid: "int | str") -> str:
    """The control groups of a process, as 8 hexadecimal digits; empty where they cannot be read."""
    try:
        with open("/proc/{}/cgroup".format(pid), encoding="utf-8", errors="replace") as handle:
            return digest(handle.read(), 8)
    except OSError:
        return ""


def _processes() -> Iterator[Process]:
    """All living processes that are to be seen."""
    for pid in host.processes():
        name, fields = host.stat(pid)
        if fields and fields[0] not in "ZX":
            parent, group, session, terminal = map(int, fields[1:5])
            yield Process(pid, parent, group, session, terminal, int(fields[19]), name)
