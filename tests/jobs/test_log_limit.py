"""The limit of a job's log: head and newest lines stay, it says what is gone, and nothing of the job depends on it."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until

from jobs.attempt import read_exit
from jobs.log_limit import MIB, LogLimit

LINES = 'i={}; while [ $i -lt {} ]; do echo "line $i of many, each as long as this one is: é"; i=$((i + 1)); done'


def printed(first: int, last: int) -> bytes:
    """What the lines from `first` to before `last` are."""
    return "".join(f"line {number} of many, each as long as this one is: é\n" for number in range(first, last)).encode()


def parts(log: bytes) -> tuple[bytes, int, bytes]:
    """Head, bytes left out as the log tells them, and the newest lines."""
    head, told, newest = re.split(rb"orch: ([0-9,]+) bytes are left out here: [^\n]*\n", log)
    return head, int(told.replace(b",", b"")), newest


def test_a_log_over_its_limit_keeps_its_head_and_its_newest_lines(host: LocalHost) -> None:
    """Injected: 7 MB printed where 1 MiB is allowed, the first half while the log is looked at. Lost: what is told."""
    half, end = 65_000, 130_000
    script = f"{LINES.format(0, half)}; until test -e go; do sleep 0.05; done; {LINES.format(half, end)}; exit 3"
    job = host.job("loud", sh(script), resources={"log_mb": 1})
    host.submit(job)
    log = Path(host.folder(job).log)
    until(lambda: log.exists() and b" left out here" in log.read_bytes() and log.stat().st_size < MIB, what="it is cut")
    (host.work / "go").touch()
    assert host.finish(1) == ["failed"]
    text, whole = log.read_bytes(), printed(0, end)
    head, left_out, newest = parts(text)
    assert len(text) <= MIB and whole.startswith(head) and head.endswith("é\n".encode())
    assert whole.endswith(newest) and newest.startswith(b"line ") and len(newest) > MIB // 5
    record = read_exit(host.folder(job)) or {}
    assert record["status"] == 3 and record["log_left_out"] == left_out
    assert abs(len(whole) - len(head) - len(newest) - left_out) < 64 * 1024, "what it printed while the file was cut"


def test_a_log_within_its_limit_is_not_touched(host: LocalHost) -> None:
    job = host.job("quiet", sh(LINES.format(0, 100)), resources={"log_mb": 1})
    host.submit(job)
    assert host.finish(1) == ["done"]
    assert Path(host.folder(job).log).read_bytes() == printed(0, 100)
    assert (read_exit(host.folder(job)) or {})["log_left_out"] == 0


def test_a_killed_watcher_leaves_program_and_log_as_they_are(host: LocalHost) -> None:
    """Injected: SIGKILL to the watcher, before 2 MB are printed where 1 MiB is allowed. Lost: the limit."""
    job = host.job("loud", sh(f"until test -e go; do sleep 0.05; done; {LINES.format(0, 40_000)}; touch whole"))
    job["resources"]["log_mb"] = 1
    host.submit(job)
    until(lambda: host.state(job) == "running", what="it runs")
    os.kill(host.identity(job)["watcher"][0], signal.SIGKILL)
    (host.work / "go").touch()
    until(lambda: (host.work / "whole").exists(), what="it has printed all")
    assert Path(host.folder(job).log).read_bytes() == printed(0, 40_000)


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "nothing"])
def test_what_lies_in_the_place_of_a_log_is_left_alone(host: LocalHost, what: str) -> None:
    """Injected: a job puts something else where its log is, once each. Its exit status lost: no; held up: no."""
    victim = host.work / "victim"
    victim.write_bytes(bytes(3 * MIB))
    put = {"link": f"ln -s {victim}", "pipe": "mkfifo", "folder": "mkdir", "nothing": ": "}[what]
    job = host.job("odd", sh(f'rm "$ORCH_RUN/log.txt"; {put} "$ORCH_RUN/log.txt"; exit 3'), resources={"log_mb": 1})
    host.submit(job)
    assert host.finish(1) == ["failed"]
    assert (read_exit(host.folder(job)) or {})["status"] == 3
    assert victim.stat().st_size == 3 * MIB


def test_a_log_is_followed_beyond_a_cut(host: LocalHost) -> None:
    """Injected: a log that becomes shorter while it is followed. Shown: that, and the last line."""
    script = f"{LINES.format(0, 40_000)}; until test -e go; do sleep 0.05; done; echo the end"
    job = host.job("loud", sh(script), resources={"log_mb": 1})
    host.submit(job)
    until(lambda: host.state(job) == "running", what="it runs")
    with host.connect() as wire:
        seen = ""
        for text in wire.stream("log", sweep="s", job=job["id"], follow=True):
            seen += text
            if "the log was cut to its limit" in seen or " are left out here" in seen:
                (host.work / "go").touch()
    assert seen.endswith("the end\n") and seen.startswith("line 0 of many")


def test_cuts_add_up(tmp_path: Path) -> None:
    """A log that is cut again and again tells all that is gone, in one line."""
    log = tmp_path / "log.txt"
    limit, number = LogLimit(str(log), {"log_mb": 1}), 0
    for _ in range(5):
        with log.open("ab") as handle:
            handle.write(printed(number, number + 20_000))
        number += 20_000
        limit.look()
    head, left_out, newest = parts(log.read_bytes())
    assert len(head) + left_out + len(newest) == len(printed(0, number))
    assert left_out == limit.left_out and log.stat().st_size < MIB


QUARTER = MIB // 4
NEWEST = QUARTER - 2 * 4096  # bytes of newest lines that stay at least
LINE = 16  # bytes of each numbered line


def numbered(first: int, last: int) -> bytes:
    """Lines from `first` to before `last`, of one length."""
    return b"".join(b"line %010d\n" % number for number in range(first, last))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log that is over its limit of 1 MiB."""
    path = tmp_path / "log.txt"
    path.write_bytes(numbered(0, 70_000))
    return path


def at_call(number: int, fault: Callable[[], Any], patched: pytest.MonkeyPatch) -> None:
    """Let the Nth system call on the log from now on be preceded by a fault."""
    calls = itertools.count(1)

    def counted(real: Callable[..., Any], *words: Any) -> Any:
        if next(calls) == number:
            fault()
        return real(*words)

    for name in ("fstat", "pread", "pwrite", "ftruncate"):
        patched.setattr(os, name, functools.partial(counted, getattr(os, name)))


@pytest.mark.parametrize("number", range(1, 8))
def test_a_watcher_killed_at_any_call_of_a_cut_leaves_head_and_newest_lines(
    log: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: SIGKILL before each system call of a cut, one in each run. Lost: at most what a cut leaves out."""
    child = os.fork()
    if child == 0:
        at_call(number, lambda: os.kill(os.getpid(), signal.SIGKILL), monkeypatch)
        LogLimit(str(log), {"log_mb": 1}).look()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    left, whole = log.read_bytes(), numbered(0, 70_000)
    assert left.startswith(whole[:QUARTER]) and left.endswith(whole[-NEWEST:])
    assert left == whole or b" bytes are left out here" in left, "it says so"
    assert os.WIFSIGNALED(status) is (number < 7), "each call was tried"


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT, errno.ESTALE])
@pytest.mark.parametrize("number", range(1, 7))
def test_a_disk_that_refuses_a_call_of_a_cut_costs_nothing_and_the_next_look_goes_on(
    log: Path, number: int, code: int
) -> None:
    """Injected: an error at each system call of a cut, one in each run. Lost: what the cut leaves out anyway."""

    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    limit, whole = LogLimit(str(log), {"log_mb": 1}), numbered(0, 70_000)
    with pytest.MonkeyPatch.context() as patched:
        at_call(number, refuse, patched)
        with pytest.raises(OSError, match=os.strerror(code)):
            limit.look()
    assert log.read_bytes().startswith(whole[:QUARTER]) and log.read_bytes().endswith(whole[-NEWEST:])
    limit.look()
    head, left_out, newest = parts(log.read_bytes())
    assert whole.startswith(head) and whole.endswith(newest) and len(newest) >= NEWEST
    assert len(head) + left_out + len(newest) == len(whole) and left_out == limit.left_out
