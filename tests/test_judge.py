"""The judge itself: records that keep the promises, and one breach of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from judge import judge, read
from record import PRELUDE, Record

Line = dict[str, Any]


def start(attempt: int = 1, *, host: str = "a", boot: str = "b1", pid: int = 7, met: str = "") -> Line:
    return {"say": "start", "job": "j", "attempt": attempt, "host": host, "boot": boot, "pid": pid, "met": met}


def end(attempt: int = 1, code: int = 0, say: str = "end") -> Line:
    return {**start(attempt), "say": say, "code": code}


def told(state: str, attempt: int = 1, status: int | None = None, by: str = "laptop") -> Line:
    return {"say": "told", "by": by, "job": "j", "attempt": attempt, "state": state, "status": status}


def say(what: str, **more: Any) -> Line:
    return {"say": what, "job": "j", **more}


REST = say("rest")
KEPT: dict[str, list[Line]] = {
    "one job": [say("accepted"), start(), end(), REST, told("done", status=0), told("done", status=0, by="rebuilt")],
    "tried again": [start(), end(code=3), start(2), end(2), REST, told("failed", 1, 3), told("done", 2, 0)],
    "power off": [start(), say("off", boot="b1"), start(2, boot="b2"), REST, told("interrupted"), told("done", 2, 0)],
    "killed": [say("disturbed"), start(), start(2, pid=8), end(2), REST, told("interrupted"), told("done", 2, 0)],
    "another host": [
        start(),
        end(),
        told("done", status=0),
        start(2, host="c"),
        end(2),
        REST,
        told("done", 1, 0),
        told("done", 2, 0),
    ],
    "declared dead": [start(), say("dead", host="a"), told("interrupted"), end(), REST, told("interrupted")],
    "no witness": [start(), end(code=3), say("disturbed"), say("unwitnessed", attempt=1), REST, told("interrupted")],
    "its batch was torn": [say("accepted"), say("excused"), REST, told("queued", 0)],
}
BROKEN: dict[str, tuple[int, list[Line]]] = {
    "started twice": (1, [start(), start(pid=8)]),
    "beside the former": (2, [start(), start(2, met="1 ")]),
    "elsewhere, nothing known of the former": (2, [start(), start(2, host="c", boot="b2")]),
    "another boot, which nobody has seen": (2, [start(), start(2, boot="b2")]),
    "told ended, still at work": (2, [start(), told("interrupted"), end(say="beat")]),
    "told ended, ends later": (2, [start(), told("done"), end()]),
    "a worker of the former": (2, [start(), start(2), end(1, say="beat")]),
    "two results": (3, [REST, say("counts", by="x", attempt=1), say("counts", by="x", attempt=2), told("done", 0)]),
    "an attempt is not known": (4, [start(), start(2), end(2), REST, told("done", 2, 0)]),
    "accepted and lost": (4, [say("accepted"), REST, told("queued", 0)]),
    "the exit status is lost": (4, [start(), end(code=3), REST, told("failed")]),
    "another exit status": (4, [start(), end(code=3), REST, told("failed", status=4)]),
    "a wrong end": (4, [start(), end(code=3), REST, told("done", status=3)]),
    "no end": (4, [start(), REST, told("running")]),
    "two views": (4, [start(), end(), REST, told("done", status=0), told("failed", status=0, by="rebuilt")]),
    "a stranger's file": (5, [say("file", path="p", digest="1"), say("file", path="p", digest="2")]),
    "a stranger's process": (5, [say("signal", number=15)]),
    "ended and never started": (0, [end()]),
}


@pytest.mark.parametrize("lines", KEPT.values(), ids=KEPT)
def test_a_record_that_keeps_the_promises(lines: list[Line]) -> None:
    assert judge(lines) == []


@pytest.mark.parametrize(("promise", "lines"), BROKEN.values(), ids=BROKEN)
def test_each_breach_is_found_and_named(promise: int, lines: list[Line]) -> None:
    assert promise in [found.promise for found in judge(lines, final=REST in lines)]


def test_a_record_that_says_nothing_is_not_believed() -> None:
    assert [found.promise for found in judge([])] == [0]


def test_programs_write_what_the_judge_reads(tmp_path: Path) -> None:
    """Two attempts of one job beside each other, really: the second meets the first."""
    record = tmp_path / "record"
    script = f"RECORD={record}; JOB=j; {PRELUDE}\nbeat; read -r _; finish 3"
    variables = {name: {"ORCH_RUN": f"/runs/s/0/attempt-0{name}", "PATH": os.environ["PATH"]} for name in (1, 2)}
    first = subprocess.Popen(["sh", "-c", script], env=variables[1], stdin=subprocess.PIPE)
    try:
        while len(list(read(record))) < 2:
            assert first.poll() is None
        subprocess.run(["sh", "-c", script], env=variables[2], stdin=subprocess.DEVNULL, check=False)
    finally:
        first.communicate(b"\n")
    assert [(line["say"], line["attempt"]) for line in read(record)] == [
        ("start", 1), ("beat", 1), ("start", 2), ("beat", 2), ("end", 2), ("end", 1),
    ]  # fmt: skip
    assert [found.promise for found in judge(read(record), final=False)] == [2]
    Record(record).rest()
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("judge.py")), str(record)], capture_output=True)
    assert done.returncode == 1 and b"promise 2: j attempt 2 began while attempt 1 of the job lived" in done.stdout
