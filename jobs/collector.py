"""What happened since the last look, as reports for the index: by offset, never twice, in one pass over the folders."""

from __future__ import annotations

import marshal
import os
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from . import begun, events, host
from .attempt import evidence, goes_on, read_job, teller_of
from .errors import ContractError
from .folder import Home, HostFolder, RunFolder
from .holds import Holds
from .queue import Entry, Key, Queue
from .results import handed_in, read_cases, read_result
from .spec import JobSpec
from .state import ENDED, GONE, INTERRUPTED, QUEUED, RUNNING, UNREACHABLE, Evidence, Verdict, judge
from .waits import Waits

CHUNK = 200  # reports in one frame
EVENT = 150  # bytes of one event, about
HEAVY = 5000  # events and rows of scores after which a frame is sent: some 1 MB, and as objects ten times as much

Wanted = Optional[FrozenSet[str]]  # names of sweeps; None: all


class Known(NamedTuple):
    """What the index has of one attempt."""

    offset: int  # bytes of events.jsonl
    final: bool  # it has ended and everything was sent


class Collector:
    """Reports of one host's attempts; remembers within a connection what it has sent.

    Parameters
    ----------
    known:
        What the index has already: rows of sweep, job, attempt, offset (None: tell all of it again), final.
    since:
        How far the index has followed the lists of begun attempts; then `known` need not name what is final.
    """

    def __init__(
        self,
        home: Home,
        local: HostFolder,
        known: Iterable[Tuple[str, str, int, Optional[int], bool]],
        since: Optional[Mapping[str, int]] = None,
    ) -> None:
        self.home, self.local = home, local
        self.queue = Queue(home, host.name())
        self.known: Dict[Key, Known] = {}
        self._unsure: List[Key] = []  # perhaps begun, perhaps waiting
        self._doubtful: Set[Key] = set()  # they waited when the index last heard, and may wait no more
        for sweep, job, number, offset, final in known:
            if offset is None:
                self._unsure.append((sweep, job, number))
            else:
                self.known[sweep, job, number] = Known(offset, bool(final))
            if not (offset or final):
                self._doubtful.add((sweep, job, number))
        self._since = since
        self.unlisted = False  # an older keeper works here: what it begins stands on no list
        self._only: Wanted = None  # the sweeps for which `_since` holds
        self._others: FrozenSet[str] = frozenset()
        self._claimed: Dict[Key, str] = {}  # attempts of other machines
        self._damaged: Set[Key] = set()  # told of as damaged
        self._queued: Set[Key] = set()  # they wait here: when they begin, a list says so
        self._begun: Set[Key] = set()  # told of as begun; an old answer (NFS) does not make them wait again
        self._holds, self._waits = Holds(local), Waits(local)
        self._followed: List[Tuple[str, str]] = []  # jobs whose last attempt seen was followed by another on its own
        self._batches: Set[str] = set()  # what lay in the queue at the last look
        self._told: Set[Tuple[str, Wanted]] = set()  # batches told of, and for which sweeps

    def leave_to(self, others: Iterable[str]) -> None:
        """Leave attempts that these machines began to them; a machine that falls silent is answered for again."""
        self._others = frozenset(others)

    @property
    def since(self) -> Optional[Mapping[str, int]]:
        """What to begin with next time, when all sweeps were looked at; None: with nothing."""
        return self._since if self._only is None and not self.unlisted else None

    def follows(self) -> bool:
        """Tell whether the lists of begun attempts lead on from what the index has followed."""
        if self.unlisted:
            return False
        now = begun.ends(self.home, self._others, self.local.home_id)
        return now is not None and self._since is not None and begun.between(self.home, self._since, now) is not None

    def reports(self, sweeps: Optional[List[str]] = None) -> Iterator[Dict[str, Any]]:
        """Yield a report for each attempt that has something new, then for each new entry in the queue."""
        only = None if sweeps is None or self.since is not None else frozenset(sweeps)
        now = begun.ends(
            self.home, self._others, self.local.home_id
        )  # first: what begins meanwhile is for the next look
        noted = self._noted(now, only)
        late: Optional[List[Key]] = [key for key in noted or () if not self._there(key)]
        if noted is None:
            for sweep in self.home.sweep_names() if only is None else sorted(only):
                for job_id in self.home.jobs(sweep):
                    yield from self._job(sweep, job_id)
        else:
            for key in self._unended(noted, only):
                yield from self._unless_final(key)
        yield from self._entries(only)
        for sweep, job_id in self._followed:  # in the queue when the folders were looked at, begun when the queue was
            yield from self._job(sweep, job_id)
        self._followed.clear()
        late = late if noted is not None else self._hidden(now, only)
        appeared = [key for key in late or () if self._there(key)]
        for key in appeared:
            yield from self._unless_final(key)
        if late is not None and len(appeared) == len(late):  # else the same lines are read next time
            self._since, self._only = now, only
        if self.unlisted:  # the look after it has left goes over everything once more
            self._since = None

    def batches(self, sweeps: Optional[List[str]] = None) -> Iterator[List[Dict[str, Any]]]:
        """Yield the reports put together for frames: not too many, and not too much in them."""
        batch: List[Dict[str, Any]] = []
        weight = 0
        for report in self.reports(sweeps):
            batch.append(report)
            weight += max(len(report["events"]), report.pop("bytes", 0) // EVENT)
            weight += len(report["cases"] or ()) + _documents(report)
            if len(batch) == CHUNK or weight >= HEAVY:
                yield batch
                batch, weight = [], 0
        yield batch

    def _noted(self, now: Optional[begun.Told], only: Wanted) -> Optional[List[Key]]:
        """Attempts that began since the last look; None when to tell them takes a look at every folder."""
        if now is None or self._since is None or self._only != only or self.unlisted:
            return None
        noted = begun.between(self.home, self._since, now)
        return None if noted is None else [key for key in noted if only is None or key[0] in only]

    def _hidden(self, now: Optional[begun.Told], only: Wanted) -> Optional[List[Key]]:
        """Attempts on a list that a look at every folder has not told of; None when the lists cannot be read.

        They wait, for all we know: they are about to appear. Or the listing of their folder was an old one (NFS).
        """
        named = begun.between(self.home, dict.fromkeys(now, 0), now) if now is not None else []
        if named is None:
            return None
        named = [key for key in dict.fromkeys(named) if only is None or key[0] in only]
        waiting = [key for key in named if not self.known.get(key, Known(0, True)).final]
        about_to = [key for key in waiting if key in self._queued or not self._there(key)]
        lately = now is not None and begun.grew_lately(self.home, now)
        return about_to + [key for key in named if key not in self.known and (lately or self._there(key))]

    def _unended(self, noted: List[Key], only: Wanted) -> List[Key]:
        """Attempts that may have news."""
        unended = [key for key, known in self.known.items() if not known.final and key not in self._queued]
        self._queued.update(key for key in unended if key not in self._begun and not self._there(key))
        self._queued.difference_update(noted)
        unsure, self._unsure = self._unsure, []
        return [key for key in dict.fromkeys((*unended, *unsure, *noted)) if only is None or key[0] in only]

    def _there(self, key: Key) -> bool:
        return os.path.isdir(self.home.attempt(*key).path)

    def _job(self, sweep: str, job_id: str) -> Iterator[Dict[str, Any]]:
        for folder in self.home.attempts(sweep, job_id):
            yield from self._unless_final((sweep, job_id, folder.attempt))

    def _unless_final(self, key: Key) -> Iterator[Dict[str, Any]]:
        final = self.known.get(key, Known(0, False)).final
        if not final and self._claimed.get(key) not in self._others and self._there(key):
            yield from self._whatever_lies_there(key)

    def _whatever_lies_there(self, key: Key) -> Iterator[Dict[str, Any]]:
        """Report an attempt; one whose folder holds what nobody foresaw is told as damaged, and hides no other."""
        try:
            yield from self._attempt(key)
        except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            self.known[key] = self.known.get(key, Known(0, False))
            if key not in self._damaged:
                self._damaged.add(key)
                why = "its run folder cannot be understood: {}".format(error or type(error).__name__)
                yield self._report(key, None, Verdict(UNREACHABLE, why, "damaged run folder"))

    def _attempt(self, key: Key) -> Iterator[Dict[str, Any]]:
        self._queued.discard(key)
        self._begun.add(key)
        folder = self.home.attempt(*key)
        job = read_job(folder)
        if job is None:
            self.known[key] = Known(0, False)  # perhaps the file server does not show it yet
            if key not in self._damaged:
                self._damaged.add(key)
                damage = Verdict("failed", "job.json is missing or not readable", "damaged run folder")
                yield self._report(key, None, damage)
            return
        machine = teller_of(job)
        if machine != host.name():
            self._claimed[key] = machine
            if machine in self._others:
                return
        yield from self._news(folder, job, evidence(folder, job, self.local), machine or host.name())

    def _news(self, folder: RunFolder, job: Dict[str, Any], seen: Evidence, machine: str) -> Iterator[Dict[str, Any]]:
        """Report an attempt's events piece by piece; with the last of them its state, and its ending."""
        key, verdict = (folder.sweep, folder.job_id, folder.attempt), judge(seen)
        before = self.known.get(key, Known(0, False))
        unread, final, damaged = before.offset == 0, verdict.state in ENDED, 0  # unread: perhaps known from the queue
        for lines in _pieces(folder, before.offset):
            size = lines.offset - self.known.get(key, before).offset
            damaged += lines.damaged
            whole = not lines.more
            now = verdict if whole or not final else Verdict(RUNNING, "it has ended; its events are still to be read")
            report = self._report(key, job if unread else None, now)
            report.update(host=machine, events=lines.events, offset=lines.offset, bytes=size)
            self.known[key] = Known(lines.offset, final and whole)
            if whole:
                if final and before.offset:  # what earlier looks met counts too
                    damaged = sum(piece.damaged for piece in _pieces(folder, 0))
                if damaged:
                    report["verdict"]["warning"] = "events.jsonl has {} damaged lines".format(damaged)
                if unread or final:
                    report["verdict"]["warning"] += _tampering(job)
                if final:
                    self._end(report, folder, seen)
            unread = False
            yield report

    def _end(self, report: Dict[str, Any], folder: RunFolder, seen: Evidence) -> None:
        report.update(_ending(folder, seen.record, report["verdict"]))
        if goes_on(report["exit"]) or report["verdict"]["state"] == INTERRUPTED:
            self._followed.append((folder.sweep, folder.job_id))

    def _entries(self, sweeps: Wanted) -> Iterator[Dict[str, Any]]:
        batches, holds, waits = self.queue.batches(), Holds(self.local), Waits(self.local)
        same = (holds, waits) == (self._holds, self._waits)
        self._told = {told for told in self._told if told[0] in batches} if same else set()
        self._holds, self._waits = holds, waits
        seen: Set[Key] = set()
        for name in batches:
            if (name, sweeps) in self._told:
                continue
            self._told.add((name, sweeps))
            for entry in self.queue.entries(name):
                seen.add(entry.key)
                new = entry.key not in self.known or bool(holds.gpus) or entry.key[0] in holds.sweeps
                new = new or waits.concern(entry.job)
                if (sweeps is not None and entry.key[0] not in sweeps) or not new:
                    continue
                if entry.key not in self._begun and not self._there(entry.key):
                    yield self._report(entry.key, entry.job, _waiting(entry, holds, waits))
                    self.known[entry.key] = Known(0, False)
                    self._queued.add(entry.key)
                elif entry.key not in self.known:  # it began since the folders were looked at
                    yield from self._whatever_lies_there(entry.key)
        left, self._batches = self._batches.difference(batches), set(batches)
        yield from self._unnamed(sweeps) if left else ()
        yield from self._gone(seen, sweeps)

    def _unnamed(self, sweeps: Wanted) -> Iterator[Dict[str, Any]]:
        """Report what waited here and has begun, whether or not a list names it: a batch has left the queue."""
        for key in sorted(self._queued):
            if (sweeps is None or key[0] in sweeps) and self._there(key):
                yield from self._unless_final(key)

    def _gone(self, seen: Set[Key], sweeps: Wanted) -> Iterator[Dict[str, Any]]:
        """Tell, once, of what no longer waits and never began: its batch was damaged, or a reboot gave it a new number.

        Whether it waited here the index knows: entries of other hosts and homes are in doubt here, too.
        """
        asked = {key for key in self._doubtful if sweeps is None or key[0] in sweeps}
        self._doubtful -= asked
        for key in sorted(asked - seen):
            if not os.path.isdir(self.queue.run_folder(key).path):
                yield self._report(key, None, Verdict(GONE, "neither in the queue nor begun"))

    def _report(self, key: Key, spec: Optional[Dict[str, Any]], verdict: Verdict) -> Dict[str, Any]:
        return {
            "host": host.name(),
            "sweep": key[0],
            "job": key[1],
            "attempt": key[2],
            "spec": spec,
            "verdict": verdict.to_json(),
            "exit": None,
            "result": None,
            "cases": None,
            "events": [],
            "offset": 0,
        }


def _documents(report: Dict[str, Any]) -> int:
    """What a report's documents weigh, in events: a large one is no smaller than its text."""
    return len(marshal.dumps([report["spec"], report["exit"], report["result"]])) // EVENT  # quicker than its JSON


def _waiting(entry: Entry, holds: Holds, waits: Waits) -> Verdict:
    why = holds.why(entry.job) if holds else ""
    why = why or waits.why(entry.job)
    return Verdict(QUEUED, why) if why else judge(Evidence(attempt=False))


def _pieces(folder: RunFolder, offset: int) -> Iterator[events.Lines]:
    try:
        yield from events.pieces(folder.events, offset)
    except OSError:  # no file that can be read: one damaged run folder must not hide all others
        yield events.Lines([], offset, 1)


def _ending(folder: RunFolder, record: Optional[Mapping[str, Any]], verdict: Dict[str, Any]) -> Dict[str, Any]:
    """Exit record, result and scores of an attempt that has ended; warns when they were edited since."""
    result = read_result(folder)[1]
    before, now = (record or {}).get("files"), handed_in(folder)
    if isinstance(before, dict) and before != now:
        verdict["warning"] = "edited by hand after its end: {}".format(_differing(before, now))
    return {"exit": record, "result": result, "cases": read_cases(folder) if result else None}


def _tampering(job: Dict[str, Any]) -> str:
    try:
        JobSpec.from_json(job)
    except ContractError as error:
        return error.message
    return ""


def _differing(before: Dict[str, str], now: Dict[str, str]) -> str:
    return ", ".join(sorted(name for name in {*before, *now} if before.get(name) != now.get(name)))
