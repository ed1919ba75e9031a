"""Keeper and watcher whose system calls fail, each with each errno that its manual page names (strace(1), inject).

The program under test lives on and has to cope: an error that may pass is tried again, and whatever is final keeps the
program's true exit. In one run one call fails once, or from then on a few times. INJECT_SECONDS bounds a campaign
(0: all that there is, `make inject`), and what is left out is another part each day.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import ENDED, LocalHost, until
from test_syscalls import PYTHON, ROOT, begun, job, lacking, put_into_queue

from jobs.attempt import read_exit
from jobs.errors import OrchError
from jobs.queue import Queue

SECONDS = float(os.environ.get("INJECT_SECONDS") or 20)
ONLY = (os.environ.get("INJECT") or "").split()  # these alone, such as pwrite64:error=EDQUOT:when=2
DAY = datetime.date.today().toordinal()
FEW = 3  # calls in a row that fail, in every second run
# Errors by call, from the manual pages; those that speak of wrong arguments (EBADF, EFAULT, EINVAL) are left out, and
# close, which strace can only keep from happening: Linux closes whatever it answers.
ERRORS = {
    "openat": "EACCES EDQUOT EINTR EIO EMFILE ENFILE ENOMEM ENOSPC EROFS ESTALE ETIMEDOUT",
    "read": "EAGAIN EINTR EIO ESTALE",
    "write": "EAGAIN EDQUOT EINTR EIO ENOSPC EPIPE",
    "pwrite64": "EDQUOT EINTR EIO ENOSPC",
    "fsync": "EDQUOT EIO ENOSPC EINTR",
    "rename": "EACCES EBUSY EDQUOT EIO ENOMEM ENOSPC EROFS ESTALE",
    "mkdir": "EACCES EDQUOT EIO ENOMEM ENOSPC EROFS ESTALE",
    "unlink": "EACCES EBUSY EIO ENOMEM EROFS ESTALE",
    "flock": "EINTR ENOLCK EIO",
    "fallocate": "EINTR EIO ENOSPC EOPNOTSUPP",
    "fork,vfork,clone,clone3": "EAGAIN ENOMEM",
    "chdir": "EACCES EIO ENOMEM ESTALE",
    "newfstatat,stat,lstat,statx": "EACCES EIO ENOMEM ESTALE",
    "fstat": "EIO ENOMEM",
    "getdents64": "EIO ENOENT",
    "wait4,waitid": "EINTR ECHILD",
    "kill": "EPERM ESRCH",
    "rt_sigtimedwait": "EINTR EAGAIN",
    "utimensat": "EACCES EPERM EROFS EIO",
    "pipe2": "EMFILE ENFILE",
    "socketpair": "EMFILE ENFILE ENOMEM",
    "sendto": "EAGAIN ENOBUFS EPIPE",
    "recvfrom": "EINTR ECONNRESET ENOMEM",
    "pselect6,select": "EINTR ENOMEM",
    "fcntl": "EAGAIN",
    "ftruncate": "EINTR EIO",
    "mknodat,mknod": "EACCES EDQUOT ENOSPC EROFS",
    "setsid": "EPERM",
    "prctl": "EPERM",
    "mmap": "ENOMEM",
}
TRACED = ",".join(f"?{name}" for names in ERRORS for name in names.split(","))
# As the keeper forks it, but for the subreaper, which is the parent of strace: so only the watcher is traced.
WATCHER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from jobs import daemon, messages, standing, subreaper, watcher
from jobs.folder import Home, HostFolder
from jobs.slots import Slots
home, local, line = Home(sys.argv[2]), HostFolder(sys.argv[3]), open(sys.argv[4], "rb").read()
os.path.exists("/no-such-file-where-the-interpreter-has-come-up")
ours, theirs = messages.pair()
ours.send(line)
lease = Slots(local).lease(json.loads(line)["resources"])
watcher._live(home, local, lease, theirs, lambda: daemon._succeed(home, local), json.loads(sys.argv[5]))
"""
KEEPER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from jobs import daemon
from jobs.folder import Home, HostFolder
os.path.exists("/no-such-file-where-the-interpreter-has-come-up")
daemon._live(Home(sys.argv[2]), HostFolder(sys.argv[3]), os.open(os.devnull, os.O_WRONLY))
"""
SUBREAPER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from jobs import daemon, subreaper
from jobs.folder import Home, HostFolder
home, local = Home(sys.argv[2]), HostFolder(sys.argv[3])
words = json.loads(sys.argv[5])
watch = lambda identity: os.execvp(words[0], [*words, json.dumps(identity)])
subreaper.stand_behind(watch, local, set(), lambda: daemon._succeed(home, local))
"""

BEGIN = "/no-such-file-where-the-interpreter-has-come-up"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(lacking()), reason=lacking() or "everything is here")]


class Failures:
    """Runs of one program: the first is only watched, then in each one call fails."""

    def __init__(self, base: Path) -> None:
        self.log, self.inject = base / "strace.log", ""
        self.hit = 0
        self.wrong: list[str] = []
        self.planned = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the number of the run, which is then made with `words`."""
        yield 0
        before, _, after = self.log.read_text().partition(BEGIN)
        assert after
        plan = ONLY or list(self._plan(calls_of(before), calls_of(after)))
        self.planned = len(plan)
        end = time.monotonic() + SECONDS if SECONDS else float("inf")
        step = 7919  # a prime: neighbours in the plan are far apart in time, and each day begins elsewhere
        for number in range(1, len(plan) + 1):
            if time.monotonic() > end:
                break
            self.inject = plan[(DAY + number * step) % len(plan)]
            yield number
            self.hit += "(INJECTED)" in self.log.read_text(errors="replace")

    @contextlib.contextmanager
    def judged(self) -> Iterator[None]:
        """What a run did wrong is kept, and the next one made."""
        try:
            yield
        except (AssertionError, OrchError, subprocess.SubprocessError) as error:
            self.wrong.append(f"INJECT={self.inject}: {type(error).__name__}: {str(error)[-300:]}")

    @staticmethod
    def _plan(before: Counter[str], calls: Counter[str]) -> Iterator[str]:
        for names, errors in ERRORS.items():
            for name in names.split(","):
                for nth in range(before[name] + 1, before[name] + calls[name] + 1):
                    for error in errors.split():
                        when = f"{nth}" if (nth + len(error)) % 2 else f"{nth}..{nth + FEW - 1}"
                        yield f"{name}:error={error}:when={when}"

    def words(self, argv: list[str]) -> list[str]:
        """The words of the next run; what the program starts is left alone."""
        fault = ["-e", "inject=" + self.inject] if self.inject else []
        return ["strace", "-qq", "-o", str(self.log), "-e", "trace=" + TRACED, *fault, *argv]


def calls_of(trace: str) -> Counter[str]:
    """How often each call stands in what strace wrote."""
    return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", trace, re.MULTILINE))


def told(host: LocalHost, jobs: list[dict[str, Any]], inject: str) -> None:
    """A new connection and its looks are all it takes: every job has ended, nothing waits, nobody stays."""
    host.wire.close()
    host.wire = host.connect()
    host.known.clear()
    until(lambda: all(host.state(job) in ENDED for job in jobs), 30, f"all have ended after {inject}")
    host.settle()
    assert Queue(host.home, host.about["host"]).batches() == [], inject


def judged(host: LocalHost, one: dict[str, Any]) -> None:
    """Each attempt began once at most, and what ran keeps its status; what did not was refused for good (127)."""
    ran = {key: count for key, count in begun(host).items() if key.startswith(one["label"] + " ")}
    attempts = host.home.attempts(one["sweep"], one["id"])
    assert max(ran.values(), default=1) == 1, f"doubled: {ran}"
    record = read_exit(attempts[-1], host.local)
    assert record and record["status"] == (7 if ran else 127), f"{host.report(one)['verdict']}: {record}, {ran}"


def test_a_watcher_whose_calls_fail(host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Injected: an error at one call of a watcher whose program leaves with status 7. Lost 0, doubled 0, stuck 0.

    A program that the system refuses to start for good (127) has not run; whatever has run keeps its status.
    """
    host.run(job(host, "first"), parallel=2)
    host.settle()
    failures = Failures(tmp_path)
    for number in failures:
        one = job(host, f"a{number}", "exit 7")
        (tmp_path / "line").write_bytes(put_into_queue(host, one))
        places = [str(ROOT), host.home.path, host.local.path, str(tmp_path / "line")]
        words = failures.words([*PYTHON, WATCHER, *places])
        with failures.judged(), (tmp_path / "told").open("a") as log:
            subprocess.run([*PYTHON, SUBREAPER, *places, json.dumps(words)], stderr=log, timeout=60, check=True)
            told(host, [one], failures.inject)
            judged(host, one)
    say(capsys, "watcher", failures)


def test_a_keeper_whose_calls_fail(host: LocalHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Injected: an error at one call of a keeper that starts three jobs and leaves. Lost 0, doubled 0, stuck 0."""
    host.run(job(host, "first"), parallel=2)
    host.settle()
    failures = Failures(tmp_path)
    for number in failures:
        three = [job(host, f"{name}{number}", "exit 7") for name in "abc"]
        put_into_queue(host, *three)
        keeper = [*PYTHON, KEEPER, str(ROOT), host.home.path, host.local.path]
        with failures.judged():
            subprocess.run(failures.words(keeper), timeout=60, check=False)
            told(host, three, failures.inject)
            for one in three:
                judged(host, one)
    say(capsys, "keeper", failures)


def say(capsys: pytest.CaptureFixture[str], who: str, failures: Failures) -> None:
    """What was tried, for the log of the run."""
    with capsys.disabled():
        wrong = f"{len(failures.wrong)} lost, doubled or stuck"
        sys.stderr.write(f"\n{who}: injected {failures.hit} of {failures.planned} planned: {wrong}\n")
    assert not failures.wrong, "\n".join(failures.wrong)
    assert failures.hit >= min(5, failures.planned)


@pytest.mark.parametrize(
    "inject",
    [
        "pwrite64:error=EDQUOT:when=2",  # the lock file's second text
        "?clone,?clone3,?vfork,?fork:error=EAGAIN:when=1..6",  # the program's start
        "?clone,?clone3,?vfork,?fork:error=ENOMEM:when=1",
        "chdir:error=EIO:when=1..4",
        "?rename:error=EIO:when=1",  # the attempt's publication
        "fsync:error=EIO:when=1..3",
    ],
)
def test_what_may_pass_is_tried_again(host: LocalHost, tmp_path: Path, inject: str) -> None:
    """Injected: one kind of error, up to 6 times, between publication and record. Lost, doubled, judged final: none."""
    host.run(job(host, "first"), parallel=2)
    host.settle()
    failures, one = Failures(tmp_path), job(host, "a", "exit 7")
    failures.inject = inject
    (tmp_path / "line").write_bytes(put_into_queue(host, one))
    places = [str(ROOT), host.home.path, host.local.path, str(tmp_path / "line")]
    words = failures.words([*PYTHON, WATCHER, *places])
    subprocess.run([*PYTHON, SUBREAPER, *places, json.dumps(words)], stderr=subprocess.DEVNULL, timeout=60, check=True)
    assert "(INJECTED)" in failures.log.read_text()
    told(host, [one], inject)
    judged(host, one)
    assert (read_exit(host.folder(one)) or {})["status"] == 7
    assert begun(host)["a attempt-01"] == 1


@pytest.mark.parametrize("call", ["openat", "newfstatat"])
def test_a_stop_that_cannot_be_read_is_read_again(host: LocalHost, tmp_path: Path, call: str) -> None:
    """Injected: EIO, three times, when the watcher looks for the stop request. Given up: no; its exit is recorded."""
    one = host.job("a", ("/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"))
    host.submit(one)
    watcher = host.identity(one)["watcher"][0]
    path, log = host.folder(one).stop, tmp_path / "strace.log"
    fault = f"inject={call}:error=EIO:when=1..3"
    words = ["strace", "-qq", "-o", str(log), "-p", str(watcher), "-P", path, "-e", f"trace={call}", "-e", fault]
    with subprocess.Popen(words) as tracer:
        try:
            until(lambda: f"TracerPid:\t{tracer.pid}" in Path(f"/proc/{watcher}/status").read_text(), what="traced")
            host.wire.call("stop", jobs=[["s", one["id"]]])
            until(lambda: host.state(one) in ENDED, 20, "stopped")
        finally:
            tracer.terminate()
    assert "(INJECTED)" in log.read_text()
    assert (read_exit(host.folder(one)) or {})["status"] == 7
    assert (read_exit(host.folder(one)) or {})["stopped"] is True
