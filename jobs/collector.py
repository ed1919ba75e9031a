"""What happened since the last look, as reports for the index: by offset, never twice, in one pass over the folders."""

from __future__ import annotations

import os
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import events, host
from .attempt import evidence, goes_on, handed_in, place_of, read_cases, read_exit, read_job, read_result, teller_of
from .errors import ContractError
from .folder import Home, HostFolder, RunFolder
from .holds import Holds
from .queue import Entry, Key, Queue
from .spec import JobSpec
from .state import ENDED, GONE, INTERRUPTED, QUEUED, Evidence, Verdict, judge
from .waits import Waits


class Known(NamedTuple):
    """What the index has of one attempt."""

    offset: int  # bytes of events.jsonl
    final: bool  # it has ended and everything was sent


class Collector:
    """Reports of one host's attempts; remembers within a connection what it has sent.

    Parameters
    ----------
    known:
        What the index has already: rows of sweep, job, attempt, offset, final.
    """

    def __init__(self, home: Home, local: HostFolder, known: Iterable[Tuple[str, str, int, int, bool]]) -> None:
        self.home, self.local = home, local
        self.queue = Queue(home, host.name())
        self.known: Dict[Key, Known] = {(row[0], row[1], row[2]): Known(row[3], bool(row[4])) for row in known}
        # What waited when the index last heard: it may have left the queue without beginning.
        self._doubtful: Set[Key] = {key for key, told in self.known.items() if not (told.final or told.offset)}
        self._others: FrozenSet[str] = frozenset()
        self._claimed: Dict[Key, str] = {}  # attempts of other machines
        self._settled: Dict[Tuple[str, str], int] = {}  # (sweep, job) -> mtime of its folder when all was final
        self._holds, self._waits = Holds(local), Waits(local)
        self._followed: List[Tuple[str, str]] = []  # jobs whose last attempt seen was followed by another on its own
        self._told: Set[Tuple[str, Optional[FrozenSet[str]]]] = set()  # batches told of, and for which sweeps

    def leave_to(self, others: Iterable[str]) -> None:
        """Leave attempts that these machines began to them; a machine that falls silent is answered for again."""
        if self._others != frozenset(others):
            self._others = frozenset(others)
            self._settled.clear()

    def reports(self, sweeps: Optional[List[str]] = None) -> Iterator[Dict[str, Any]]:
        """Yield a report for each attempt that has something new, then for each new entry in the queue."""
        names = self.home.sweep_names() if sweeps is None else sweeps
        for sweep in names:
            for job_id in self.home.jobs(sweep):
                yield from self._job(sweep, job_id)
        yield from self._queued(None if sweeps is None else frozenset(sweeps))
        for sweep, job_id in self._followed:  # in the queue when the folders were looked at, begun when the queue was
            yield from self._job(sweep, job_id)
        self._followed.clear()

    def _job(self, sweep: str, job_id: str) -> Iterator[Dict[str, Any]]:
        try:
            changed = os.stat(self.home.job(sweep, job_id)).st_mtime_ns
        except OSError:
            return
        if self._settled.get((sweep, job_id)) == changed:
            return
        keys = [(sweep, job_id, folder.attempt) for folder in self.home.attempts(sweep, job_id)]
        for key in keys:
            told_elsewhere = self._claimed.get(key) in self._others
            if not told_elsewhere and not self.known.get(key, Known(0, False)).final:
                yield from self._attempt(key)
        if keys and all(self.known.get(key, Known(0, True)).final for key in keys):
            self._settled[sweep, job_id] = changed

    def _attempt(self, key: Key) -> Iterator[Dict[str, Any]]:
        folder = self.home.attempt(*key)
        job = read_job(folder)
        if job is None:
            damage = Verdict("failed", "job.json is missing or not readable", "damaged run folder")
            yield self._report(key, None, damage)
            return
        machine = teller_of(job)
        if machine != host.name():
            self._claimed[key] = machine
            if machine in self._others:
                return
        verdict = judge(evidence(folder, job, self.local))
        before = self.known.get(key)
        unread = before is None or before.offset == 0  # perhaps known from the queue, where it had no claim yet
        report = self._report(key, job if unread else None, verdict)
        report["host"] = machine or report["host"]
        lines = _lines(folder, before.offset if before else 0)
        report.update(events=lines.events, offset=lines.offset)
        if lines.damaged:
            report["verdict"]["warning"] = "events.jsonl has {} damaged lines".format(lines.damaged)
        final = verdict.state in ENDED
        if unread or final:
            report["verdict"]["warning"] += _tampering(job)
        if final:
            report.update(_ending(folder, place_of(job, self.local), report["verdict"]))
            if goes_on(report["exit"]) or verdict.state == INTERRUPTED:
                self._followed.append(key[:2])
        self.known[key] = Known(lines.offset, final)
        yield report

    def _queued(self, sweeps: Optional[FrozenSet[str]]) -> Iterator[Dict[str, Any]]:
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
                if not os.path.isdir(self.queue.run_folder(entry.key).path):
                    yield self._report(entry.key, entry.job, _waiting(entry, holds, waits))
                    self.known[entry.key] = Known(0, False)
                elif entry.key not in self.known:  # it began since the folders were looked at
                    yield from self._attempt(entry.key)
        yield from self._gone(seen, sweeps)

    def _gone(self, seen: Set[Key], sweeps: Optional[FrozenSet[str]]) -> Iterator[Dict[str, Any]]:
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


def _waiting(entry: Entry, holds: Holds, waits: Waits) -> Verdict:
    why = holds.why(entry.job) if holds else ""
    why = why or waits.why(entry.job)
    return Verdict(QUEUED, why) if why else judge(Evidence(attempt=False))


def _lines(folder: RunFolder, offset: int) -> events.Lines:
    try:
        return events.read(folder.events, offset)
    except OSError:  # no file that can be read: one damaged run folder must not hide all others
        return events.Lines([], offset, 1)


def _ending(folder: RunFolder, local: HostFolder, verdict: Dict[str, Any]) -> Dict[str, Any]:
    """Exit record, result and scores of an attempt that has ended; warns when they were edited since."""
    record = read_exit(folder, local)
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
