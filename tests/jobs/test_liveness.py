"""The proof of an end covers the whole tree: workers that drop lock, session, environment, name or parent count."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import ENDED, LocalHost, sh, until

from jobs import host as machine
from jobs import liveness

SLEEP = "/bin/sh -c 'echo $$ > {name}.worker; exec sleep 600'"
QUIET = "</dev/null >/dev/null 2>&1"
PYTHON = """
import ctypes, multiprocessing, os, subprocess, sys, time
how, name = sys.argv[1:]
def work(name=name):
    open(name + ".new", "w").write(str(os.getpid()))
    os.rename(name + ".new", name + ".worker")
    time.sleep(600)
def daemon(then):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 100)
        then()
def renamed():  # as setproctitle does: it overwrites words and environment
    libc = ctypes.CDLL(None)
    libc.prctl(15, b"innocent", 0, 0, 0)
    start = int(open("/proc/self/stat").read().rpartition(")")[2].split()[47])
    end = int(open("/proc/self/stat").read().rpartition(")")[2].split()[48])
    ctypes.memset(start, 0, end - start)
    work()
def hidden():  # its environment is root's to read
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    work()
if __name__ == "__main__":
    if how == "subprocess":
        subprocess.Popen([sys.executable, __file__, "work", name], start_new_session=True)
    elif how in ("spawn", "forkserver"):
        multiprocessing.get_context(how).Process(target=work, args=(name,)).start()
    elif how == "daemon":
        daemon(work)
    elif how == "renamed":
        daemon(renamed)
    elif how == "hidden":
        daemon(hidden)
    else:
        work()
    time.sleep(600)
"""
WORKERS = {
    "ampersand": f"{SLEEP} & wait",
    "nohup": f"nohup {SLEEP} {QUIET} & wait",
    "setsid": f"setsid {SLEEP} {QUIET} & wait",
    "scrubbed": f"env -i {SLEEP} {QUIET} & wait",
    "scrubbed-daemon": f"(setsid env -i {SLEEP} {QUIET} &) ; exec sleep 600",
    "namespace": f"unshare --user --map-root-user --fork {SLEEP} {QUIET} & wait",
    **{how: "exec {python} worker.py " + how + " {name}" for how in ("subprocess", "spawn", "forkserver", "daemon")},
    **{how: "exec {python} worker.py " + how + " {name}" for how in ("renamed", "hidden")},
}
TORCHRUN = "exec {python} -m torch.distributed.run --standalone --nproc_per_node=1 worker.py torch {name}"
ONCE = 'case "$ORCH_RUN" in *attempt-01) ;; *) exit 0;; esac; '


@pytest.fixture(autouse=True)
def no_worker_stays(tmp_path: Path) -> Iterator[None]:
    """They hide from the host's own clearing up."""
    yield
    for path in tmp_path.glob("work/*.worker"):
        pid = int(path.read_text() or 0)
        if pid and machine.is_alive(pid, None):
            os.kill(pid, signal.SIGKILL)


def can_unshare() -> bool:
    words = ["unshare", "--user", "--map-root-user", "/bin/true"]
    return bool(shutil.which("unshare")) and not subprocess.run(words, capture_output=True, check=False).returncode


def begin(host: LocalHost, workers: dict[str, str]) -> dict[str, tuple[dict[str, Any], dict[str, Any], int]]:
    """Start a job of each kind; return job, who watches it, and its worker's process id."""
    (host.work / "worker.py").write_text(PYTHON)
    jobs = {
        name: host.job(name, sh(ONCE + text.format(python=sys.executable, name=name))) for name, text in workers.items()
    }
    host.submit(*jobs.values(), parallel=len(jobs))
    files = {name: host.work / f"{name}.worker" for name in jobs}
    until(lambda: all(file.exists() and file.read_text().strip() for file in files.values()), 60, "workers are up")
    return {name: (job, host.identity(job), int(files[name].read_text())) for name, job in jobs.items()}


def kill(*processes: list[int]) -> None:
    for pid, started in processes:
        if machine.is_alive(pid, started):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(machine.is_alive(*process) for process in processes), what="they are gone")


def verdict(host: LocalHost, job: dict[str, Any]) -> dict[str, Any]:
    return dict(host.report(job)["verdict"])


def only_the_worker_is_left(host: LocalHost, workers: dict[str, str], also: bool) -> dict[str, int]:
    """Watcher and first process are killed (and the subreaper): not ended, no second attempt; then ended, and one."""
    begun = begin(host, workers)
    for _, who, _ in begun.values():
        kill(who["watcher"], *([who["subreaper"]] if also else []), who["job"])
    for name, (job, _, worker) in begun.items():
        if machine.is_alive(worker, None):  # torchrun's workers leave with it
            seen = verdict(host, job)
            assert seen["state"] in ({"running", "unreachable"} if also else {"running"}), (name, seen)
            assert f"process {worker} (" in seen["reason"] or seen["reason"] == "its lock is held", (name, seen)
    left = {name: worker for name, (_, _, worker) in begun.items() if machine.is_alive(worker, None)}
    jobs = [begun[name][0] for name in left]
    assert host.submit(*jobs)["queued"] == 0
    for worker in left.values():
        kill([worker, machine.start_time(worker) or 0])
    until(lambda: all(host.state(job) in ENDED for job, _, _ in begun.values()), 30, "all have ended")
    assert {verdict(host, job)["state"] for job in jobs} == {"interrupted"}
    assert host.submit(*jobs)["queued"] == len(jobs)
    until(lambda: all(host.state(job) == "done" for job in jobs), 30, "all are done")
    return left


@pytest.mark.slow
@pytest.mark.parametrize("also", [False, True], ids=["watcher", "watcher-and-subreaper"])
def test_an_attempt_has_not_ended_while_any_process_of_it_lives(host: LocalHost, also: bool) -> None:
    """Injected: SIGKILL to watcher and first process, in half the runs to the subreaper too: 12 kinds of workers each.

    Counted as ended while a worker lived: none. Started beside one: none. Stuck afterwards: none.
    """
    workers = {name: text for name, text in WORKERS.items() if name != "namespace" or can_unshare()}
    assert set(only_the_worker_is_left(host, workers, also)) == set(workers)


@pytest.mark.slow
def test_workers_of_torchrun_count(host: LocalHost) -> None:
    """Injected: SIGKILL to watcher and torchrun. Counted as ended while its worker lived: none."""
    pytest.importorskip("torch")
    only_the_worker_is_left(host, {"torch": TORCHRUN}, also=False)


def test_a_stop_reaches_what_a_killed_watcher_left_and_nobody_else(host: LocalHost) -> None:
    """Injected: SIGKILL to watcher and first process of 3 jobs. Stopped: all that is left; a stranger lives on."""
    left = begin(host, {name: WORKERS[name] for name in ("scrubbed-daemon", "subprocess", "renamed")})
    for _, who, _ in left.values():
        kill(who["watcher"], who["job"])
    stranger = orphan(host)
    host.wire.call("stop", jobs=[["s", job["id"]] for job, _, _ in left.values()])
    until(lambda: all(host.state(job) == "stopped" for job, _, _ in left.values()), 10, "stopped")
    assert not any(machine.is_alive(worker, None) for _, _, worker in left.values())
    assert machine.is_alive(stranger, None)
    kill([stranger, machine.start_time(stranger) or 0])


def orphan(host: LocalHost) -> int:
    """A stranger's daemon, younger than the jobs, of the same user and without a mark."""
    text = f"(setsid env -i {SLEEP.format(name='stranger')} {QUIET} &)"
    subprocess.run(["/bin/sh", "-c", text], cwd=host.work, check=True)
    until(lambda: (host.work / "stranger.worker").exists() and (host.work / "stranger.worker").read_text().strip())
    return int((host.work / "stranger.worker").read_text())


def test_what_might_be_left_is_named_and_never_signalled(host: LocalHost) -> None:
    """Injected: SIGKILL to watcher, subreaper and job; an unmarked daemon is younger. Told: who, and what to do."""
    job, who, worker = begin(host, {"ampersand": WORKERS["ampersand"]})["ampersand"]
    stranger = orphan(host)
    kill(who["watcher"], who["subreaper"], who["job"], [worker, machine.start_time(worker) or 0])
    seen = verdict(host, job)
    assert seen["state"] == "unreachable"
    assert f"process {stranger} (sleep 600)" in seen["reason"] and f"kill {stranger}" in seen["reason"]
    host.wire.call("stop", jobs=[["s", job["id"]]])
    assert machine.is_alive(stranger, None)
    kill([stranger, machine.start_time(stranger) or 0])
    until(lambda: host.state(job) == "interrupted")


def test_the_proof_is_written_down_and_outlives_new_strangers(host: LocalHost) -> None:
    job, who, worker = begin(host, {"ampersand": WORKERS["ampersand"]})["ampersand"]
    kill(who["watcher"], who["subreaper"], who["job"], [worker, machine.start_time(worker) or 0])
    until(lambda: host.state(job) == "interrupted")
    stranger = orphan(host)
    host.wire.close()
    host.wire = host.connect()  # it looks for itself
    assert host.state(job) == "interrupted"
    kill([stranger, machine.start_time(stranger) or 0])


def test_slots_stay_taken_while_a_worker_without_the_lock_lives(host: LocalHost) -> None:
    """Injected: SIGKILL to watcher and first process. Begun beside the worker: nothing, until it has ended."""
    job, who, worker = begin(host, {"subprocess": WORKERS["subprocess"]})["subprocess"]
    after = host.job("after", ("/bin/true",))
    host.submit(after, parallel=1)
    kill(who["watcher"], who["job"])
    assert host.state(job) == "running"
    assert host.state(after) == "queued"
    kill([worker, machine.start_time(worker) or 0])
    until(lambda: host.state(after) == "done")


def test_without_the_lock_file_the_claim_tells_whom_to_look_for(host: LocalHost) -> None:
    """Injected: the host-local locks deleted, watcher and first process killed. Counted as ended: no."""
    job, who, worker = begin(host, {"scrubbed-daemon": WORKERS["scrubbed-daemon"]})["scrubbed-daemon"]
    Path(host.local.attempt_lock(host.folder(job))).unlink()
    kill(who["watcher"], who["job"])
    assert verdict(host, job)["state"] == "running"
    kill([worker, machine.start_time(worker) or 0])
    until(lambda: host.state(job) == "interrupted")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"subreaper": 3}', '{"subreaper": ["a", 1], "watcher": [1]}'])
def test_a_damaged_lock_file_names_nobody(text: str) -> None:
    import json

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    assert liveness.named(found, "subreaper") == (0, None)
