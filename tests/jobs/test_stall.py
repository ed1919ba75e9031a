"""A queue that stands still: forks that fail, calls that fail, files that vanish, watchers that are stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until
from test_syscalls import lacking

from jobs.atomic import read_json
from jobs.queue import Queue, ring

traced = pytest.mark.skipif(bool(lacking()), reason=lacking() or "everything is here")
FORKS = "fork,clone,clone3,vfork"


def jobs_of(host: LocalHost, count: int, script: str = "sleep 0.05", **more: Any) -> list[dict[str, Any]]:
    return [host.job(f"j{n}", sh(f'echo "j{n} ${{ORCH_RUN##*/}}" >> starts; {script}'), **more) for n in range(count)]


def starts(host: LocalHost) -> list[str]:
    path = host.work / "starts"
    return path.read_text().splitlines() if path.exists() else []


def all_ran_once(host: LocalHost, count: int, seconds: float = 60.0) -> None:
    """Every job ran exactly once, the queue is empty, and nobody holds a slot or is left."""
    host.finish(count, seconds)
    host.settle()
    assert sorted(Counter(starts(host)).values()) == [1] * count
    assert Queue(host.home, host.about["host"]).batches() == []


@contextlib.contextmanager
def injecting(pid: int, log: Path, *faults: str) -> Iterator[None]:
    """Let system calls of a process (not of its children) fail while the block runs."""
    named = ",".join(fault.split(":")[0] for fault in faults)
    words = [word for fault in faults for word in ("-e", "inject=" + fault)]
    tracer = subprocess.Popen(["strace", "-qq", "-o", str(log), "-p", str(pid), "-e", "trace=" + named, *words])
    until(lambda: tracer.poll() is None and "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), 10)
    yield
    tracer.send_signal(signal.SIGTERM)
    tracer.wait()


@traced
@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_forks_that_fail_lose_no_slot_and_are_tried_again_with_the_reason(
    host: LocalHost, tmp_path: Path, error: str
) -> None:
    """Injected: three forks of the keeper in a row fail. Lost: no slot, no job. `why` names the reason meanwhile."""
    first, rest = host.job("first", sh("echo first >> starts; sleep 1")), jobs_of(host, 3, resources={"cpus": 2})
    host.submit(first, *rest, parallel=1)
    host.identity(first)
    (keeper,) = until(host.keepers)
    with injecting(keeper, tmp_path / "trace", f"{FORKS}:error={error}:when=1..3"):
        told = until(
            lambda: [r for r in map(host.report, rest) if "no process can be" in r["verdict"].get("reason", "")]
        )
        assert told
        until(lambda: len(starts(host)) >= 2, 30, "the fork that succeeds")
    assert (tmp_path / "trace").read_text().count("INJECTED") == 3
    all_ran_once(host, 4)


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that every user may run")
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root to become another user")
def test_a_user_at_the_limit_of_processes_starts_later(open_ground: Path) -> None:
    """Injected: RLIMIT_NPROC of a plain user is reached when jobs are submitted, and raised later (setrlimit(2)).

    No keeper can be started, the agent says so and stays alone. Lost: nothing. Started twice: nothing.
    """
    here = Path(__file__).parent
    done = subprocess.run(
        ["/usr/bin/python3", str(here / "crowded_user.py"), str(open_ground)],
        env={**os.environ, "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["keeper"] is False
    assert "no keeper can be started" in told["why"]
    assert told["agents"] == 1
    assert sorted(told["states"]) == ["done"] * 4
    assert sorted(Counter(told["starts"]).values()) == [1] * 4


@traced
@pytest.mark.slow
@pytest.mark.parametrize("who", ["keeper", "watcher"])
@pytest.mark.parametrize(
    "fault", ["sendto:error=ENOBUFS:when=1..3", "sendto:error=EPIPE:when=1", "recvfrom:error=ENOMEM:when=1..3"]
)
def test_messages_that_the_kernel_refuses_stop_no_queue(host: LocalHost, tmp_path: Path, who: str, fault: str) -> None:
    """Injected: sends and reads of a message fail, in the keeper and in a watcher. Lost: no job, no slot."""
    jobs = jobs_of(host, 6, "sleep 0.5")
    host.submit(*jobs, parallel=1)
    identity = host.identity(jobs[0])
    pid = until(host.keepers)[0] if who == "keeper" else identity["watcher"][0]
    with injecting(pid, tmp_path / "trace", fault):
        until(lambda: len(starts(host)) >= 3, 40)
    all_ran_once(host, 6)


@traced
@pytest.mark.slow
@pytest.mark.parametrize("gone", ["locks", "slots", "spool", "wake", "queue.lock", "keeper.lock", "*"])
def test_host_local_files_deleted_under_a_slow_keeper(host: LocalHost, tmp_path: Path, gone: str) -> None:
    """Injected: a keeper that is held up at each look, and a part of the host-local folder deleted under it.

    Lost: no job, no slot. Started twice: none.
    """
    jobs = jobs_of(host, 5, "sleep 0.2")
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    (keeper,) = until(host.keepers)
    with injecting(keeper, tmp_path / "trace", "select,pselect6:delay_exit=700000"):
        until(lambda: len(starts(host)) >= 2)
        for path in [Path(host.local.path)] if gone == "*" else [Path(host.local.path) / gone]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        until(lambda: len(starts(host)) >= 4, 30, "the queue goes on")
    host.connect().close()
    all_ran_once(host, 5)


def test_a_watcher_that_is_stopped_before_it_reads_its_job_holds_up_only_its_own_slot(
    host: LocalHost, tmp_path: Path
) -> None:
    """Injected: SIGSTOP to a watcher while others work: the rest runs; after SIGCONT all is done, each once."""
    jobs = jobs_of(host, 6, "sleep 0.3")
    host.submit(*jobs, parallel=2)
    watcher = host.identity(jobs[0])["watcher"][0]
    os.kill(watcher, signal.SIGSTOP)
    try:
        until(lambda: len(starts(host)) >= 5)
    finally:
        os.kill(watcher, signal.SIGCONT)
    all_ran_once(host, 6)


def test_a_keeper_that_fails_says_why_and_begins_anew(host: LocalHost) -> None:
    """Injected: its queue cannot be listed (a file stands in its place) while jobs wait; then it can. Lost: nothing."""
    jobs = jobs_of(host, 4, "sleep 0.3")
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    queue = Path(host.home.queue(host.about["host"]))
    queue.rename(queue.parent.parent / "aside")
    queue.write_text("no folder")
    assert ring(host.local.wake)
    until(lambda: "begins anew" in str((read_json(host.local.waits) or {}).get("keeper")), 10)
    assert "Not a directory" in Path(host.local.keeper_log).read_text()
    queue.unlink()
    (queue.parent.parent / "aside").rename(queue)
    all_ran_once(host, 4)
