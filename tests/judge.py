"""The judge: decides promises 1 to 5 from a record alone. It imports nothing of the product.

A record is a file of JSON lines that are only appended to, so that their order is the order in which things were done.
Job programs say `start`, `beat` and `end`, bystanders `signal`; a test says what was asked, which faults were injected
and what `orch` told (all by `record.py`). `judge` reads it and returns the breaches; as a program:

    python tests/judge.py RECORD...
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ENDED = {"done", "failed", "stopped", "interrupted"}


class Breach(NamedTuple):
    """A promise that does not hold (0: the record itself is at fault), and why."""

    promise: int
    why: str


class _Case:
    """What the record says so far."""

    def __init__(self) -> None:
        self.breaches: list[Breach] = []
        self.starts: dict[tuple[str, int], dict[str, Any]] = {}
        self.codes: dict[tuple[str, int], int] = {}
        self.over: dict[tuple[str, int], str] = {}  # attempt -> who told that it has ended
        self.accepted: set[str] = set()
        self.marks: dict[str, set[Any]] = defaultdict(set)  # disturbed, excused, unwitnessed, off, dead
        self.files: dict[str, str] = {}
        self.rested = False
        self.last: dict[str, dict[tuple[str, int], Mapping[str, Any]]] = defaultdict(dict)  # by whom, since the rest
        self.counted: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))

    def breach(self, promise: int, why: str) -> None:
        self.breaches.append(Breach(promise, why))

    def hear(self, line: Mapping[str, Any]) -> None:
        getattr(self, "on_" + str(line["say"]))(line)

    def on_start(self, line: Mapping[str, Any]) -> None:
        key = (line["job"], line["attempt"])
        if key in self.starts:
            self.breach(1, f"{_name(key)} was started twice: {_place(self.starts[key])}, then {_place(line)}")
        self._not_after_its_end(key, line, "started")
        if line.get("met", "").strip():
            self.breach(2, f"{_name(key)} began while attempt {line['met'].strip()} of the job lived")
        for other, start in self.starts.items():
            if other[0] == key[0] and other != key and not self._is_gone(other, start, line):
                self.breach(2, f"{_name(key)} began at {_place(line)}; nothing shows that {_name(other)} had ended")
        self.starts[key] = dict(line)

    def _is_gone(self, key: tuple[str, int], start: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """On its own boot the newcomer has looked; elsewhere something must have shown its end."""
        marks = self.marks
        shown = key in self.codes or start["boot"] in marks["off"] or start["host"] in marks["dead"]
        return bool(shown or start["boot"] == now["boot"] or key[0] in marks["disturbed"])

    def on_end(self, line: Mapping[str, Any]) -> None:
        key = (line["job"], line["attempt"])
        if key not in self.starts:
            self.breach(0, f"{_name(key)} ended and did not start")
        self._not_after_its_end(key, line, "was at work")
        self.codes[key] = line["code"]

    def on_beat(self, line: Mapping[str, Any]) -> None:
        key = (line["job"], line["attempt"])
        self._not_after_its_end(key, line, "was at work")
        if line["host"] not in self.marks["dead"]:
            for _, number in [one for one in self.starts if one[0] == key[0] and one[1] > key[1]]:
                self.breach(2, f"{_name(key)} was at work after attempt {number} of the job had begun")

    def _not_after_its_end(self, key: tuple[str, int], line: Mapping[str, Any], what: str) -> None:
        if key in self.over and line["host"] not in self.marks["dead"]:
            self.breach(2, f"{_name(key)} {what} after {self.over[key]} had told that it has ended")

    def on_told(self, line: Mapping[str, Any]) -> None:
        key = (line["job"], line["attempt"])
        if line["state"] in ENDED and key[1]:
            self.over.setdefault(key, line["by"])
        if self.rested:
            self.last[line["by"]][key] = line

    def on_counts(self, line: Mapping[str, Any]) -> None:
        if self.rested:
            self.counted[line["by"]][line["job"]].add(line["attempt"])

    def on_accepted(self, line: Mapping[str, Any]) -> None:
        self.accepted.add(line["job"])

    def on_unwitnessed(self, line: Mapping[str, Any]) -> None:
        self.marks["unwitnessed"].add((line["job"], line["attempt"]))

    def on_file(self, line: Mapping[str, Any]) -> None:
        if self.files.setdefault(line["path"], line["digest"]) != line["digest"]:
            self.breach(5, f"{line['path']}, which is not ours, was changed")

    def on_signal(self, line: Mapping[str, Any]) -> None:
        self.breach(5, f"a process that is not ours got signal {line.get('number')}")

    def on_rest(self, line: Mapping[str, Any]) -> None:
        self.rested = True

    def on_disturbed(self, line: Mapping[str, Any]) -> None:
        self.marks["disturbed"].add(line["job"])

    def on_excused(self, line: Mapping[str, Any]) -> None:
        self.marks["excused"].add(line["job"])

    def on_off(self, line: Mapping[str, Any]) -> None:
        self.marks["off"].add(line["boot"])

    def on_dead(self, line: Mapping[str, Any]) -> None:
        self.marks["dead"].add(line["host"])

    def close(self) -> None:
        """What can only be said once all is over."""
        if not self.rested or (not self.last and (self.starts or self.accepted)):
            self.breach(0, "the record does not come to rest, or nobody told anything afterwards")
        for by, told in self.last.items():
            self._nothing_is_lost(by, told)
            self._ends_are_true(by, told)
        self._all_tell_the_same()
        for by, jobs in self.counted.items():
            for job, attempts in jobs.items():
                if len(attempts) > 1:
                    self.breach(3, f"{by} counts {len(attempts)} results of {job}: attempts {sorted(attempts)}")

    def _all_tell_the_same(self) -> None:
        first = next(iter(self.last), "")
        for by, told in self.last.items():
            for key in sorted({*told, *self.last[first]}):
                mine, other = ((view.get(key) or {}).get("state") for view in (told, self.last[first]))
                if mine != other:
                    self.breach(4, f"{by} tells {mine} of {_name(key)}, {first} tells {other}")

    def _nothing_is_lost(self, by: str, told: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        for key in sorted(self.starts.keys() - told.keys()):
            self.breach(4, f"{by} does not know {_name(key)}, which ran")
        ended = {job for (job, _), line in told.items() if line["state"] in ENDED}
        for job in sorted(self.accepted - ended - self.marks["excused"]):
            self.breach(4, f"{job} was accepted, and {by} tells no end of it")
        for key in sorted(self.starts.keys() & told.keys()):
            if told[key]["state"] not in ENDED and not self._on_a_dead_host(key):
                self.breach(4, f"{by} tells {told[key]['state']} of {_name(key)} after all came to rest")

    def _on_a_dead_host(self, key: tuple[str, int]) -> bool:
        return key in self.starts and self.starts[key]["host"] in self.marks["dead"]

    def _ends_are_true(self, by: str, told: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        newest = dict(sorted(told))
        for (job, number), line in told.items():
            code, status = self.codes.get((job, number)), line["status"]
            if self._on_a_dead_host((job, number)):
                continue
            if code is not None and status not in (None, code) and job not in self.marks["disturbed"]:
                self.breach(4, f"{by} tells exit status {status} of {_name((job, number))}, which ended with {code}")
            if code is not None and status is None and (job, number) not in self.marks["unwitnessed"]:
                self.breach(4, f"{by} has lost the exit status of {_name((job, number))}")
            calm = number == newest[job] and job not in self.marks["disturbed"] | self.marks["excused"]
            if calm and code is not None and line["state"] != ("failed" if code else "done"):
                self.breach(4, f"{by} tells {line['state']} of {_name((job, number))}, which ended with {code}")


def _name(key: tuple[str, int]) -> str:
    return f"{key[0]} attempt {key[1]}"


def _place(line: Mapping[str, Any]) -> str:
    return f"{line['host']} process {line['pid']}"


def judge(lines: Iterable[Mapping[str, Any]], *, final: bool = True) -> list[Breach]:
    """Return the breaches in a record's lines, in their order; `final` False leaves out what only the end can show."""
    case = _Case()
    for line in lines:
        case.hear(line)
    if final:
        case.close()
    return case.breaches


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a record."""
    for line in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(line)


if __name__ == "__main__":
    found = {name: judge(read(Path(name))) for name in sys.argv[1:]}
    for name, breaches in found.items():
        sys.stdout.writelines(f"{name}: promise {one.promise}: {one.why}\n" for one in breaches)
    sys.exit(int(any(found.values())))
