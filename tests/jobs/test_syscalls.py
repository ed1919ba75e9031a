"""Agent, keeper and watcher killed before each system call that changes something outside of them (strace(1)).

The process dies before the kernel carries the call out; so it does, in one run each, at every such call that it makes.
After each death a new connection must find all that was left and bring the jobs to their end.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until

from jobs.attempt import read_exit
from jobs.errors import Unreachable
from jobs.lease import holding
from jobs.pipe import ProcessPipe
from jobs.queue import Queue
from jobs.wire import Wire, boot_arguments

# Names that an architecture lacks are passed over ("?"). What opened a file for the first time dies at the next call.
CALLS = """write pwrite64 rename renameat renameat2 link linkat unlink unlinkat mkdir mkdirat mknod mknodat rmdir
ftruncate fallocate fsync fdatasync flock sendto sendmsg utimensat fchmod chmod fchmodat clone clone3 fork vfork kill
exit_group"""
CHANGING = ",".join("?" + name for name in CALLS.split())
ROOT = Path(__file__).parent.parent.parent
PYTHON = [sys.executable, "-I", "-S", "-B", "-c"]

KEEPER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from jobs import daemon
from jobs.folder import Home, HostFolder
daemon._live(Home(sys.argv[2]), HostFolder(sys.argv[3]), os.open(os.devnull, os.O_WRONLY))
"""

# It finds its job in its socket, and then that its keeper is gone.
WATCHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from jobs import daemon, messages, watcher
from jobs.folder import Home, HostFolder
from jobs.slots import Slots
home, local, line = Home(sys.argv[2]), HostFolder(sys.argv[3]), sys.stdin.buffer.read()
ours, theirs = messages.pair()
ours.send(line)
lease = Slots(local).lease(json.loads(line)["resources"])
watcher._live(home, local, lease, theirs, lambda: daemon.ensure_running(home, local))
"""


def lacking() -> str:
    """Return why nothing can be traced here, and the command that would help; empty when it can."""
    if not shutil.which("strace"):
        return "strace is missing: sudo apt-get install strace"
    tried = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "/bin/true"], capture_output=True, text=True, check=False
    )
    hint = "sudo sysctl kernel.yama.ptrace_scope=0 (a container: docker run --cap-add SYS_PTRACE ...)"
    return f"strace may not trace here: {tried.stderr.strip()}: {hint}" if tried.returncode else ""


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(lacking()), reason=lacking() or "everything is here")]


class Deaths:
    """Runs of one program: the first is watched, then there is one for each call that it made, killed before it."""

    def __init__(self, base: Path) -> None:
        self.log, self.inject = base / "strace.log", "none"
        self.killed = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the number of the run, which is then made with `program`."""
        yield 0
        calls = Counter(re.findall(r"^(\w+)\(", self.log.read_text(), re.MULTILINE))
        plan = [f"{name}:signal=KILL:when={nth}" for name in sorted(calls) for nth in range(1, calls[name] + 1)]
        for number, self.inject in enumerate(plan, 1):
            yield number
            self.killed += "+++ killed by SIGKILL +++" in self.log.read_text()

    def program(self, argv: list[str]) -> list[str]:
        """The words of the next run; what the program starts is left alone."""
        fault = [] if self.inject == "none" else ["-e", "inject=" + self.inject]
        return ["strace", "-qq", "-o", str(self.log), "-e", "trace=" + CHANGING, *fault, *argv]


def job(host: LocalHost, label: str, script: str = ":", **more: Any) -> dict[str, Any]:
    """A job that first says which of its attempts has begun."""
    return host.job(label, sh(f'echo {label} "${{ORCH_RUN##*/}}" >> begun; {script}'), **more)


def put_into_queue(host: LocalHost, *jobs: dict[str, Any]) -> bytes:
    """Write a batch as an agent does that is killed before it rings; return the line of the first job."""
    with holding(host.local.queue_lock):
        queue = Queue(host.home, host.about["host"])
        return queue.entries(queue.add([{**job, "attempt": 1, "resume": None} for job in jobs]))[0].line


def recovers(host: LocalHost, jobs: list[dict[str, Any]]) -> None:
    """A new connection and its looks are all it takes: every job is done, nothing waits, nobody stays."""
    host.connect().close()
    until(lambda: all(host.state(job) == "done" for job in jobs), 60, "all are done")
    host.settle()
    assert Queue(host.home, host.about["host"]).batches() == []


def begun(host: LocalHost) -> Counter[str]:
    """How often each attempt began."""
    return Counter((host.work / "begun").read_text().splitlines())


def test_an_agent_killed_at_each_call_of_a_submit(host: LocalHost, tmp_path: Path) -> None:
    """Injected: SIGKILL before each changing call of an agent that makes a home, opens one and queues two jobs.

    At least 20 deaths. Lost: none. Begun twice: none.
    """
    deaths, jobs = Deaths(tmp_path), []
    for number in deaths:
        pair = [job(host, f"{name}{number}", resources={"cpus": 1}) for name in "ab"]
        pipe = ProcessPipe("agent", deaths.program(boot_arguments(sys.executable)))
        with contextlib.suppress(Unreachable), contextlib.closing(Wire(pipe, timeout=60)) as wire:
            wire.call("open", home=str(tmp_path / f"home-{number}"))
            wire.call("open", home=host.home.path)
            host.submit(*pair, wire=wire, parallel=2)
        with contextlib.closing(host.connect()) as wire:
            assert wire.call("open", home=str(tmp_path / f"home-{number}"))["id"]
        if host.state(pair[0]):  # it was queued: nobody needs to ask again
            recovers(host, pair)
        host.submit(*pair)
        recovers(host, pair)
        jobs += pair
    assert deaths.killed >= 20
    assert begun(host) == Counter(f"{job['label']} attempt-01" for job in jobs)
    assert {(read_exit(host.folder(job)) or {})["status"] for job in jobs} == {0}


def test_a_keeper_killed_at_each_call(host: LocalHost, tmp_path: Path) -> None:
    """Injected: SIGKILL before each changing call of a keeper that comes up, starts three jobs and leaves.

    At least 20 deaths. Lost: none. Begun twice: none.
    """
    host.run(job(host, "first"), parallel=2)
    host.settle()
    deaths, jobs = Deaths(tmp_path), [job(host, "first")]
    for number in deaths:
        three = [job(host, f"{name}{number}") for name in "abc"]
        put_into_queue(host, *three)
        keeper = [*PYTHON, KEEPER, str(ROOT), host.home.path, host.local.path]
        subprocess.run(deaths.program(keeper), timeout=120, check=False)
        recovers(host, three)
        jobs += three
    assert deaths.killed >= 20
    assert begun(host) == Counter(f"{job['label']} attempt-01" for job in jobs)
    assert {(read_exit(host.folder(job)) or {})["status"] for job in jobs} == {0}


def test_a_watcher_killed_at_each_call(host: LocalHost, tmp_path: Path) -> None:
    """Injected: SIGKILL before each changing call of a watcher whose job fails at first and is tried again.

    At least 20 deaths: it begins, records, queues the next attempt, leaves and rouses a keeper. Lost: no job, and no
    exit that was recorded; one that nobody saw is told as lost, and the job's policy tries it again. Begun twice: none.
    """
    script = 'case "$ORCH_RUN" in *attempt-01) exit 3;; esac'
    again = {"unknown": "retry", "exit_status_lost": "retry"}
    host.run(job(host, "first", script, policy=again), parallel=2)
    host.settle()
    deaths, jobs = Deaths(tmp_path), []
    for number in deaths:
        one = job(host, f"a{number}", script, policy=again)
        line = put_into_queue(host, one)
        watcher = [*PYTHON, WATCHER, str(ROOT), host.home.path, host.local.path]
        subprocess.run(deaths.program(watcher), input=line, timeout=120, check=False)
        recorded = read_exit(host.folder(one))
        recovers(host, [one])
        jobs.append(one)
        assert recorded is None or recorded == read_exit(host.folder(one))
    assert deaths.killed >= 20
    assert max(begun(host).values()) == 1
    last = [host.home.attempts(job["sweep"], job["id"])[-1] for job in jobs]
    assert {(read_exit(folder) or {})["status"] for folder in last} == {0}
