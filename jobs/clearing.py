"""What may go from an orch home, each with the reason why it is safe.

Code snapshots, environments, checkpoints, and folders that killed processes left half made.
Everything that is not known, not old, or not proved to be out of use stays.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import attempt, envs, host
from .aside import dead
from .atomic import read_bytes
from .errors import ContractError
from .events import read
from .folder import Home, RunFolder
from .moves import weigh
from .queue import Queue
from .shelving import inside
from .state import DONE, ENDED
from .uses import Mentions

if TYPE_CHECKING:
    from .agent import Agent

CODE, ENVIRONMENT, CHECKPOINT, HALF_MADE = "code", "environment", "checkpoint", "half-made"
KINDS = (CODE, ENVIRONMENT, CHECKPOINT, HALF_MADE)
SUPERSEDED, BEST, NONE = "superseded", "best", "none"
RULES = (SUPERSEDED, BEST, NONE)  # which checkpoints may go
LEAST = 3600.0  # seconds: nothing younger goes, whatever is asked for: it may have been made for jobs not yet queued
DAY = 86400.0  # seconds until what is half made counts as left

_HASH = re.compile(r"[0-9a-f]{16}\Z")
_ATTEMPT = re.compile(rb"[0-9a-f]{16}/attempt-[0-9]+")
_FILES = tuple(name + end for name in ("best", "last") for end in (".pt", ".json"))
Item = Dict[str, Any]


class Task(NamedTuple):
    """Attempts of one job in order, whether each is done (None: not ended), and whether an attempt waits."""

    folders: List[RunFolder]
    done: "List[Optional[bool]]"
    waits: bool

    @property
    def rests(self) -> bool:
        """Nothing of it waits, runs, or may run where nobody can tell."""
        return not self.waits and None not in self.done


class Clearing:
    """One look at a home.

    Parameters
    ----------
    rule:
        Which checkpoints may go: `superseded` (a result of a later attempt counts), `best` (of each job only the best
        model stays), `none`.
    older:
        Seconds since something was last used or written; at least `LEAST`.

    Raises
    ------
    ContractError
        A sweep's record or a batch cannot be read: what it needs is not known, so nothing may go.
    """

    def __init__(self, agent: Agent, rule: str = SUPERSEDED, older: float = 7 * DAY) -> None:
        self.agent, self.home, self.rule = agent, agent.home, rule
        self.now = time.time()
        self.older = max(older, LEAST)
        self._envs = list(_environments(self.home))
        self._codes = [name for name in _listing(self.home.code) if _HASH.match(name)]
        self.names = {*self._codes, *(folder.lock for folder, _ in self._envs)}
        self.mentions = Mentions(self.names)
        self.read_from: Set[str] = set()  # attempts that sweeps, and jobs that wait or live, name: `<job>/<attempt>`
        self.tasks: List[Task] = []

    def items(self, kinds: "Tuple[str, ...] | List[str]" = KINDS) -> List[Item]:
        """Return what may go: `kind`, `name`, `pieces`, `bytes`, `files`, `age_s`, `dated`, `why`."""
        found: List[Item] = []
        if {CODE, ENVIRONMENT, CHECKPOINT} & set(kinds):
            self._look()
        for kind, find in zip(KINDS, (self._code, self._environments, self._checkpoints, self._half_made)):
            found += find() if kind in kinds else ()
        return found

    # --- Evidence ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        waiting: Set[Tuple[str, str]] = set()
        for key, line in waiting_lines(self.home):
            self._note(line, "job {} waits".format(key[1]))
            waiting.add(key[:2])
        for name in self.home.sweep_names():
            self._note(_record(self.home.sweep(name)), "sweep {} is pinned to it".format(name))
            for job in self.home.jobs(name):
                self._look_at(self.home.attempts(name, job), (name, job) in waiting)

    def _look_at(self, folders: List[RunFolder], waits: bool) -> None:
        """Read what a job's attempts name; those that live, and a newest one from which it may go on, count."""
        done: List[Optional[bool]] = []
        for folder in folders:
            state = self.agent.verdict(folder).state
            done.append(state == DONE if state in ENDED else None)
            if state not in ENDED:
                self._note(_text(folder.job), "an attempt of {} is not known to have ended".format(folder.job_id))
            elif folder is folders[-1] and state != DONE:
                self.mentions.read(_text(folder.job), "job {} can be tried again with it".format(folder.job_id))
        self.tasks.append(Task(folders, done, waits))

    def _note(self, text: bytes, who: str) -> None:
        self.mentions.read(text, who)
        self.read_from |= attempts_in(text)

    # --- What may go -------------------------------------------------------------------------------------------------

    def _code(self) -> Iterator[Item]:
        for name in self._codes:
            if name not in self.mentions.found:
                why = "no sweep is pinned to it, no job that waits, runs or can be tried again names it"
                yield from self._item(CODE, ["code/" + name], why)

    def _environments(self) -> Iterator[Item]:
        newest: Dict[str, str] = {}
        for folder, state in self._envs:
            if state == envs.VERIFIED:
                newest.setdefault(folder.arch, folder.lock)
        for folder, state in self._envs:
            old = state == envs.VERIFIED and folder.lock != newest[folder.arch]
            if old and folder.lock not in self.mentions.found:
                base = "envs/{}/{}".format(folder.arch, folder.lock)
                why = "{} is newer and verified; no job that waits, runs or can be tried again names it"
                ends = ("", ".build.json", ".constraints.txt", ".verified")
                yield from self._item(ENVIRONMENT, [base + end for end in ends], why.format(newest[folder.arch]))

    def _checkpoints(self) -> Iterator[Item]:
        fenced = _fenced(self.home) if self.rule != NONE else set()
        for task in self.tasks if self.rule != NONE else ():
            if task.rests:
                for folder, names, why in _of_task(task, fenced, self.rule):
                    base = os.path.relpath(folder.path, self.home.path).replace(os.sep, "/")
                    if "{}/{}".format(folder.job_id, os.path.basename(folder.path)) not in self.read_from:
                        yield from self._item(CHECKPOINT, ["{}/{}".format(base, name) for name in names], why)

    def _half_made(self) -> Iterator[Item]:
        places = ["code", *("runs/{}/{}".format(*pair) for pair in _jobs(self.home))]
        for place in places:
            for name in _listing(os.path.join(self.home.path, place)):
                if name.startswith("."):
                    why = dead(name) or _claimed(os.path.join(self.home.path, place, name))
                    yield from self._item(HALF_MADE, [place + "/" + name], why, DAY) if why else ()

    def _item(self, kind: str, pieces: List[str], why: str, older: Optional[float] = None) -> Iterator[Item]:
        """The item, if it is old enough, lies in the home and no piece of it is a link."""
        paths = {piece: os.path.join(self.home.path, piece) for piece in pieces}
        there = [piece for piece in pieces if os.path.lexists(paths[piece])]
        if not there or any(os.path.islink(paths[piece]) or not inside(self.home, piece) for piece in there):
            return
        try:
            dates = [os.lstat(paths[piece]) for piece in there]
        except OSError:  # gone since
            return
        age = self.now - max(one.st_mtime for one in dates)
        if age >= (self.older if older is None else older):
            told = {"kind": kind, "name": there[0], "pieces": there, "age_s": age, "dated": dates[0].st_mtime_ns}
            yield {**told, **weigh(*(paths[piece] for piece in there)), "why": why}


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def _of_task(task: Task, fenced: Set[Tuple[str, str, int]], rule: str) -> Iterator[Tuple[RunFolder, List[str], str]]:
    """Which checkpoints of a job that rests may go: of each attempt the names, and why."""
    kept = _counting(task, fenced)
    if kept is not None:
        why = "the result of attempt {} counts, and its best model stays".format(kept.attempt)
        for folder in task.folders:
            if folder.attempt < kept.attempt:
                yield folder, list(_FILES), why
        if rule == BEST:
            yield kept, ["last.pt", "last.json"], "the attempt is done: nothing goes on from it"
    elif rule == BEST:
        yield from _of_unfinished(task)


def _of_unfinished(task: Task) -> Iterator[Tuple[RunFolder, List[str], str]]:
    """Without a result the newest state to go on from and the newest best model stay."""
    last = max((one.attempt for one in task.folders if os.path.exists(one.checkpoint("last"))), default=0)
    best = max((one.attempt for one in task.folders if os.path.exists(one.checkpoint("best"))), default=0)
    for folder in task.folders:
        gone = [name for name, newest in (("best", best), ("last", last)) if folder.attempt < newest]
        files = [name + end for name in gone for end in (".pt", ".json")]
        if files:
            yield folder, files, "a later attempt has newer ones"


def _counting(task: Task, fenced: Set[Tuple[str, str, int]]) -> Optional[RunFolder]:
    """The attempt whose result counts (the first done one without a fence), if it has a best model of its own."""
    for folder, done in zip(task.folders, task.done):
        if done and (folder.sweep, folder.job_id, folder.attempt) not in fenced:
            return folder if os.path.isfile(folder.checkpoint("best")) else None
    return None


def _fenced(home: Home) -> Set[Tuple[str, str, int]]:
    lines = read(home.journal, 0).events
    return {(one["sweep"], one["job"], one["attempt"]) for one in lines if one.get("kind") == "fence"}


# --- Reading ---------------------------------------------------------------------------------------------------------


def waiting_lines(home: Home) -> "Iterator[Tuple[Tuple[str, str, int], bytes]]":
    """Yield key and text of every entry that waits in any queue of a home.

    Raises
    ------
    ContractError
        A batch is damaged: nobody knows what its jobs need.
    """
    for name in home.queue_hosts():
        queue = Queue(home, name)
        for batch in queue.batches():
            for entry in queue.whole(batch):
                if not os.path.isdir(queue.run_folder(entry.key).path):
                    yield entry.key, entry.line


def attempts_in(text: bytes) -> Set[str]:
    """Return the attempts that a text names, `<job id>/attempt-NN`: somebody may read a model of theirs."""
    return {name.decode() for name in _ATTEMPT.findall(text)}


def _environments(home: Home) -> "Iterator[Tuple[envs.EnvFolder, str]]":
    for arch in _listing(os.path.join(home.path, "envs")):
        for found in envs.found(home, arch):
            yield envs.EnvFolder(home.path, arch, found["lock"]), found["state"]


def _record(path: str) -> bytes:
    """Text of a sweep's record; a sweep of which only runs are there has none."""
    try:
        text = read_bytes(path)
    except FileNotFoundError:
        return b""
    if not text.rstrip().endswith(b"}"):
        raise ContractError(
            "{} is damaged: nobody knows what it needs".format(path), "run the sweep again, then orch gc"
        )
    return text


def _text(path: str) -> bytes:
    try:
        return read_bytes(path)
    except OSError:
        return b""


def _claimed(path: str) -> str:
    """The proof that whoever was about to publish an attempt is gone, from the claim inside."""
    claim = attempt.claim_of(attempt.read_job(RunFolder(path)))
    here = claim.get("host") == host.name() and host.boot_id()
    other = here and claim.get("boot_id") not in (None, "", host.boot_id())
    return "it was left half made by a process of an earlier boot of {}".format(host.name()) if other else ""


def _jobs(home: Home) -> Iterator[Tuple[str, str]]:
    return ((sweep, job) for sweep in home.sweep_names() for job in home.jobs(sweep))


def _listing(path: str) -> List[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
