"""The watcher: true exit statuses, whole trees, and what is known when it is killed itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, fill, sh, until

from jobs import host as machine
from jobs.attempt import read_exit
from jobs.lease import is_held

STUBBORN = "trap '' TERM; echo up > up; while :; do sleep 0.1; done"
FORKING = """
import os, signal, sys, time
for depth in range(3):
    if os.fork() == 0 and depth != 1:
        os.setsid()  # leaves the process group and the session
        if os.fork():
            os._exit(0)  # and its parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    {then}
    time.sleep(600)
{rest}
"""


def record(host: LocalHost, job: dict[str, Any]) -> dict[str, Any]:
    found = read_exit(host.folder(job))
    assert found is not None
    return found


def begin(host: LocalHost, job: dict[str, Any]) -> dict[str, Any]:
    """Queue a job and wait until its program has been started; return who watches it."""
    host.submit(job)
    until(lambda: host.state(job) == "running", what="running")
    return host.identity(job)


def stop(host: LocalHost, job: dict[str, Any], **more: Any) -> str:
    return str(host.wire.call("stop", jobs=[["s", job["id"]]], **more)["jobs"][0]["action"])


@pytest.mark.parametrize("status", [0, 1, 2, 126, 137, 143, 255])
def test_exit_statuses_are_true(host: LocalHost, status: int) -> None:
    job = host.job("a", sh(f"exit {status}"))
    report = host.run(job)
    assert report["verdict"]["state"] == ("failed" if status else "done")
    assert (record(host, job)["status"], record(host, job)["signal"]) == (status, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP])
def test_signals_are_told_apart_from_statuses(host: LocalHost, number: signal.Signals) -> None:
    job = host.job("a", sh(f"ulimit -c 0; kill -{number:d} $$"))
    report = host.run(job)
    assert (record(host, job)["status"], record(host, job)["signal"]) == (128 + number, number)
    kind = "crashed" if number == signal.SIGSEGV else "killed"
    assert report["verdict"]["reason"] == f"{kind}: ended by signal {number.name}"
    assert record(host, job)["stopped"] is False


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (("no-such-program", "x"), None, "cannot start no-such-program: No such file or directory"),
        (("/no/such/program",), None, "cannot start /no/such/program: No such file or directory"),
        (("/etc/passwd",), None, "cannot start /etc/passwd: Permission denied"),
        (("/bin/true",), "/no/such/folder", "cannot start in folder /no/such/folder: No such file or directory"),
        (("/bin/true",), "/etc/passwd", "cannot start in folder /etc/passwd: Not a directory"),
    ],
)
def test_what_cannot_be_started_says_why(host: LocalHost, argv: tuple[str, ...], cwd: str | None, words: str) -> None:
    job = host.job("a", argv, **({"cwd": cwd} if cwd else {}))
    report = host.run(job)
    assert report["verdict"]["state"] == "failed"
    assert record(host, job)["status"] == 127
    assert record(host, job)["failure"]["kind"] == "cannot_start"
    assert host.log(job) == f"orch: {words}\n"


def test_a_program_in_the_jobs_own_path_is_found(host: LocalHost, hostile_path: Path) -> None:
    program = hostile_path / "my program"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    job = host.job("a", ("my program",), env={"PATH": f"{hostile_path}:/bin:/usr/bin"})
    host.run(job)
    assert host.log(job) == "found\n"


def test_the_record_says_who_ran_where_and_how_much(host: LocalHost) -> None:
    job = host.job("a", sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
    host.run(job)
    found = record(host, job)
    assert (found["host"], found["boot_id"]) == (machine.name(), machine.boot_id())
    assert found["device"]["cpus"] == 1
    assert found["pid"] > 1 and found["start_time"] > 0
    assert found["started"] < found["ended"] < time.time() + 1
    assert found["rusage"]["cpu_seconds"] >= 0 and found["rusage"]["max_rss_mb"] > 0
    assert found["files"] == {}


def test_a_stop_before_the_start_starts_nothing(host: LocalHost) -> None:
    first, waiting = host.job("first", ("/bin/sleep", "60")), host.job("waiting", sh("touch ran"))
    host.submit(first, waiting, parallel=1)
    until(lambda: host.state(first) == "running")
    assert stop(host, waiting) == "stopped before it began"
    assert stop(host, waiting) == "had ended"
    stop(host, first)
    until(lambda: host.states() == ["stopped", "stopped"])
    host.settle()
    assert not (host.work / "ran").exists()
    assert host.report(waiting)["verdict"]["reason"] == "stopped before it began"


def test_a_stop_request_lets_a_program_leave_in_its_own_way(host: LocalHost) -> None:
    leave = 'leave() { test -e "$ORCH_RUN/stop" && echo saved; exit 0; }; trap leave TERM'
    job = host.job("a", sh(f"{leave}; echo up; while :; do sleep 0.05; done"))
    begin(host, job)
    until(lambda: host.log(job) == "up\n")
    assert stop(host, job, by="somebody") == "asked to stop"
    until(lambda: host.state(job) == "done")
    assert host.log(job).endswith("saved\n")
    assert record(host, job)["stopped"] is True


def test_a_stubborn_program_is_killed_after_its_grace_and_asking_again_does_not_put_it_off(host: LocalHost) -> None:
    job = host.job("a", sh(STUBBORN))
    begin(host, job)
    until((host.work / "up").exists)
    began = time.monotonic()
    assert stop(host, job, grace=0.5) == "asked to stop"
    stop(host, job)  # with the usual 30 s
    until(lambda: host.state(job) == "stopped", 10)
    assert time.monotonic() - began >= 0.5
    assert record(host, job)["signal"] == 9


def test_a_stop_reaches_the_whole_tree_and_nobody_else(host: LocalHost) -> None:
    """Injected: a job whose children leave group, session and parent and ignore SIGTERM. Left alive: the stranger."""
    with subprocess.Popen(["/bin/sleep", "600"], env={"ORCH_RUN": "somebody else's"}) as stranger:
        job = host.job("a", (sys.executable, "-c", FORKING))
        watcher = begin(host, job)["watcher"][0]
        until(lambda: len(machine.descendants(watcher)) >= 4, what="the tree has grown")
        tree = machine.descendants(watcher)
        stop(host, job, grace=0.2)
        until(lambda: host.state(job) == "stopped", 15)
        assert [pid for pid in tree if machine.is_alive(pid, None)] == []
        assert stranger.poll() is None
        stranger.kill()


def test_a_daemon_left_behind_is_ended_with_its_job(host: LocalHost) -> None:
    job = host.job(
        "a", (sys.executable, "-c", DAEMON.format(then="print(os.getpid(), flush=True)", rest="time.sleep(0.2)"))
    )
    assert host.run(job)["verdict"]["state"] == "done"
    assert not machine.is_alive(int(host.log(job)), None)
    host.settle()


def test_a_sigterm_that_nobody_asked_for_is_not_a_stop(host: LocalHost) -> None:
    """Injected: SIGTERM and SIGHUP to the watcher, as at a logout. Lost: nothing; the job goes on."""
    job = host.job("a", sh("while [ ! -e go ]; do sleep 0.02; done"))
    watcher = begin(host, job)["watcher"][0]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) * 3:
        os.kill(watcher, number)
    (host.work / "go").touch()
    until(lambda: host.state(job) == "done")


@pytest.mark.parametrize("text", ["", "x", "[]", '{"grace": "soon"}', '{"grace": NaN}', '{"grace": -5}'])
def test_a_stop_file_made_by_hand_counts(host: LocalHost, text: str) -> None:
    job = host.job("a", ("/bin/sleep", "60"))
    watcher = begin(host, job)["watcher"][0]
    Path(host.folder(job).stop).write_text(text)
    os.kill(watcher, signal.SIGTERM)
    until(lambda: host.state(job) == "stopped")


def test_a_killed_watcher_leaves_the_job_running_and_its_end_is_proved(host: LocalHost) -> None:
    """Injected: SIGKILL to the watcher, 4 times. Lost: the exit status, which is said; no job, no slot, no result."""
    result = 'echo \'{"contract":1,"values":{"dice":1}}\' > "$ORCH_RUN/result.json"'
    waits = "while [ ! -e go ]; do sleep 0.02; done"
    jobs = [host.job(f"j{number}", sh(f"{waits}; {result if number % 2 else ':'}")) for number in range(4)]
    after = host.job("after", ("/bin/true",))
    host.submit(*jobs, after, parallel=4)
    watchers = [host.identity(job)["watcher"][0] for job in jobs]
    for watcher in watchers:
        os.kill(watcher, signal.SIGKILL)
    until(lambda: not any(machine.is_alive(watcher, None) for watcher in watchers), what="the watchers are gone")
    assert [host.state(job) for job in jobs] == ["running"] * 4
    assert host.submit(*jobs)["queued"] == 0
    assert host.state(after) == "queued", "slots are held by the jobs themselves"
    (host.work / "go").touch()
    until(lambda: sorted(map(host.state, jobs)) == ["done", "done", "interrupted", "interrupted"])
    for number, job in enumerate(jobs):
        verdict = host.report(job)["verdict"]
        assert (verdict["warning"] if number % 2 else verdict["reason"]).endswith("the attempt's lock is free)")
    until(lambda: host.state(after) == "done")


@pytest.mark.slow
def test_a_watcher_killed_before_its_job_began_is_replaced(host: LocalHost) -> None:
    """Injected: SIGKILL to every watcher as it comes, 30 times at random moments. Begun twice: none; stuck: none."""
    jobs = [host.job(f"j{number}", sh(f"echo j{number} >> begun")) for number in range(60)]
    host.submit(*jobs, parallel=2)
    killed = 0
    while killed < 30 and "queued" in host.states() + ["queued"] * (not host.known):
        keepers = host.keepers()
        for pid in [pid for keeper in keepers for pid in machine.descendants(keeper)]:
            if machine.has_variable(pid, "ORCH_RUN", host.folder(jobs[0]).path):
                continue
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                continue
    states = host.finish(60, 240)
    begun = (host.work / "begun").read_text().split()
    assert len(begun) == len(set(begun))
    assert set(states) <= {"done", "interrupted", "failed"}
    host.submit(*jobs)
    until(lambda: host.states() == ["done"] * 60, 240)


def test_a_job_without_its_watcher_can_be_stopped(host: LocalHost) -> None:
    """Injected: SIGKILL to the watcher of a job that ignores SIGTERM: asked once it lives, asked again it is killed."""
    job = host.job("a", sh(STUBBORN))
    os.kill(begin(host, job)["watcher"][0], signal.SIGKILL)
    until((host.work / "up").exists)
    assert stop(host, job) == "asked to stop"
    assert host.state(job) == "running"
    assert stop(host, job) == "asked to stop"
    until(lambda: host.state(job) == "stopped")
    assert stop(host, job) == "had ended"


def test_what_is_left_of_a_job_without_watcher_and_first_process_can_be_stopped(host: LocalHost) -> None:
    job = host.job(
        "a", (sys.executable, "-c", DAEMON.format(then="pass", rest="print('up', flush=True); time.sleep(600)"))
    )
    identity = begin(host, job)
    until(lambda: host.log(job) == "up\n")
    os.kill(identity["watcher"][0], signal.SIGKILL)
    os.kill(identity["job"][0], signal.SIGKILL)
    until(lambda: not machine.is_alive(identity["job"][0], None))
    assert host.state(job) == "running"
    assert stop(host, job) == "asked to stop"
    until(lambda: host.state(job) == "stopped")


def test_a_run_folder_edited_while_its_job_runs_loses_no_exit_status(host: LocalHost) -> None:
    """Injected: each of its files replaced by a folder while the job runs. Lost: those files; not the status."""
    spoil = 'cd "$ORCH_RUN"; for f in events.jsonl result.json cases.json; do mkdir $f; done; rm log.txt; mkdir log.txt'
    job = host.job("a", sh(f"{spoil}; exit 7"))
    assert host.run(job)["verdict"]["state"] == "failed"
    assert record(host, job)["status"] == 7


def test_a_run_folder_deleted_while_its_job_runs_stops_no_other_job(host: LocalHost) -> None:
    job, after = host.job("a", sh('rm -r "$ORCH_RUN"')), host.job("after", ("/bin/true",))
    host.submit(job, after, parallel=1)
    until(lambda: host.state(after) == "done")
    host.settle()


def test_a_home_that_is_away_at_the_end_gets_its_record_later(host: LocalHost) -> None:
    """Injected: the run folder away when the job ends. Lost: nothing; the record is spooled and counts at once."""
    job = host.job("a", sh("while [ ! -e go ]; do sleep 0.02; done; exit 5"))
    begin(host, job)
    folder, lock = Path(host.folder(job).path), host.local.attempt_lock(host.folder(job))
    folder.rename(folder.with_name("away"))
    (host.work / "go").touch()
    until(lambda: not is_held(lock))
    folder.with_name("away").rename(folder)
    host.wire.call("open", home=host.home.path)
    assert record(host, job)["status"] == 5
    assert host.state(job) == "failed"


def test_an_exit_that_no_disk_takes_waits_for_room(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: home, host-local folder and log on one full disk, the record's reservation gone. Lost: nothing."""
    monkeypatch.setenv("ORCH_LOCAL", str(small_disk / "local"))
    host = LocalHost(small_disk / "home", small_disk / "local", tmp_path)
    try:
        job = host.job("a", sh("exec sleep 600"))
        pid = begin(host, job)["job"][0]
        os.truncate(host.folder(job).exit, 0)
        fill(small_disk / "filler")
        os.kill(pid, signal.SIGKILL)
        until(lambda: not machine.is_alive(pid, None), what="the job is gone")
        time.sleep(0.5)  # the watcher tries
        assert is_held(host.local.attempt_lock(host.folder(job)))
        (small_disk / "filler").unlink()
        until(lambda: read_exit(host.folder(job)), what="recorded")
        assert record(host, job)["signal"] == signal.SIGKILL
    finally:
        host.close()
