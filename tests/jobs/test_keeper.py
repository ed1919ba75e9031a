"""The keeper under faults, with real processes: nothing lost, nothing started twice, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, fill, sh, until
from test_slots import stand_in

from jobs import host as machine
from jobs.attempt import read_exit
from jobs.folder import HostFolder
from jobs.lease import holding
from jobs.queue import Queue


def counting(host: LocalHost, count: int, script: str = ":", **more: Any) -> tuple[list[dict[str, Any]], Path]:
    """Jobs that append their label to a file outside of their run folders before they do anything else."""
    begun = host.work / "begun"
    begun.touch()
    jobs = [host.job(f"j{n}", sh(f"echo j{n} >> begun; {script.format(n=n)}"), **more) for n in range(count)]
    return jobs, begun


def begun_once(path: Path, count: int) -> bool:
    return Counter(path.read_text().split()) == Counter({f"j{number}": 1 for number in range(count)})


@pytest.mark.slow
def test_a_keeper_killed_again_and_again_loses_nothing(host: LocalHost) -> None:
    """Injected: SIGKILL to the keeper, 25 times, while it starts 80 jobs of 0 to 40 ms; a look of `orch` after each.

    Lost: nothing. Started twice: none. Exit statuses lost: none.
    """
    dice = random.Random(1)
    jobs, begun = counting(host, 80, "sleep 0.0{n}; exit $(({n} % 7))")
    host.submit(*jobs, parallel=3)
    killed = 0
    while len(begun.read_text().split()) < 70:
        for pid in host.keepers():
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(dice.random() * 0.03)  # how long the keeper may work is part of what is injected
        host.collect()
    host.finish(80)
    assert begun_once(begun, 80)
    statuses = [(read_exit(host.folder(job)) or {})["status"] for job in jobs]
    assert statuses == [number % 7 for number in range(80)]
    host.settle()
    assert killed >= 20


@pytest.mark.slow
def test_the_queue_goes_on_by_itself_after_the_keeper_was_killed(host: LocalHost) -> None:
    """Injected: SIGKILL to each keeper in turn while it has a watcher, 20 times; no command of `orch` in between.

    Lost: none: the watchers that are left start another keeper.
    """
    jobs, begun = counting(host, 150, "sleep 0.03")
    host.submit(*jobs, parallel=2)
    host.wire.close()
    killed: set[int] = set()

    def kill_next() -> bool:
        for pid in set(host.keepers()) - killed:
            if len(begun.read_text().split()) > 2 * len(killed) and machine.descendants(pid):  # each may start two more
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        return len(killed) >= 20 or begun_once(begun, 150)

    until(kill_next, 60, "20 keepers killed")
    until(lambda: begun_once(begun, 150), 60, "all jobs begun")
    host.settle()
    host.wire = host.connect()
    assert host.finish(150) == ["done"] * 150
    assert len(killed) >= 20


@pytest.mark.slow
def test_no_job_is_left_behind_by_a_keeper_that_leaves(host: LocalHost) -> None:
    """Injected: 300 submits of one short job, each timed at the keeper's leaving (0 to 12 ms after). Stuck: none."""
    dice = random.Random(2)
    for number in range(300):
        job = host.job(f"j{number}", ("/bin/true",))
        host.submit(job)
        folder = host.folder(job)
        until(lambda folder=folder: read_exit(folder), 10, f"job {number} has ended")
        time.sleep(dice.random() * 0.012)
    assert host.finish(300) == ["done"] * 300


def test_a_submitter_killed_before_it_rang_leaves_no_job_behind(host: LocalHost) -> None:
    """Injected: 10 batches added without waking the keeper, as by an agent killed in between. Stuck: none."""
    host.submit(host.job("first", sh("sleep 0.3")), parallel=1)
    queue = Queue(host.home, host.about["host"])
    jobs, begun = counting(host, 10)
    for job in jobs:
        with holding(host.local.queue_lock):
            queue.add([{**job, "attempt": 1, "resume": None}])
    until(lambda: begun_once(begun, 10), what="all begun")


@pytest.mark.slow
def test_two_agents_that_submit_the_same_jobs_start_each_once(host: LocalHost) -> None:
    """Injected: 4 agents that submit the same 60 jobs at once, 3 times. Started twice: none."""
    jobs, begun = counting(host, 60)
    wires = [host.connect() for _ in range(4)]

    def submit(number: int) -> None:
        for _ in range(3):
            host.submit(*jobs, wire=wires[number])

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    host.finish(60)
    assert begun_once(begun, 60)
    for wire in wires:
        wire.close()


def test_after_the_queue_nothing_is_resident(host: LocalHost) -> None:
    jobs, _ = counting(host, 10)
    host.submit(*jobs)
    host.finish(10)
    host.settle()
    host.wire.close()
    assert host.processes() == []
    assert list((Path(host.local.path) / "locks").iterdir()) == []
    assert Path(host.local.keeper_log).read_text() == ""


def test_the_limit_of_jobs_side_by_side_holds(host: LocalHost) -> None:
    script = 'mkdir "side-$$"; ls -d side-* | wc -l >> most; sleep 0.05; rmdir "side-$$"'
    jobs, _ = counting(host, 24, script)
    host.submit(*jobs, parallel=3)
    host.finish(24)
    assert max(map(int, (host.work / "most").read_text().split())) == 3


def test_a_limit_may_change_while_jobs_wait(host: LocalHost) -> None:
    jobs, _ = counting(host, 4, "sleep 60")
    host.submit(*jobs, parallel=1)
    until(lambda: host.states().count("running") == 1)
    host.submit(*jobs, parallel=3)
    until(lambda: host.states() == ["queued", "running", "running", "running"])


def test_jobs_start_in_order(host: LocalHost) -> None:
    jobs, begun = counting(host, 30)
    host.submit(*jobs[:15], parallel=1)
    host.submit(*jobs[15:])
    host.finish(30)
    assert begun.read_text().split() == [f"j{number}" for number in range(30)]


def test_two_jobs_never_share_a_card(host: LocalHost, program: Callable[[str, str], Path]) -> None:
    """A stand-in nvidia-smi names two cards; 12 jobs that each want one run up to 6 side by side."""
    program("nvidia-smi", stand_in("GPU-a", "GPU-b"))
    host.wire.close()
    host.wire = host.connect()  # its agent has the stand-in in PATH
    card = 'c="$CUDA_VISIBLE_DEVICES"'
    script = f'{card}; mkdir "card-$c" || echo "$c is taken" >> shared; echo "$c" >> used; sleep 0.03; rmdir "card-$c"'
    jobs, _ = counting(host, 12, script, resources={"gpus": 1})
    host.submit(*jobs, host.job("none", sh('test -z "$CUDA_VISIBLE_DEVICES"')), parallel=6)
    assert host.finish(13) == ["done"] * 13
    assert not (host.work / "shared").exists()
    used = Counter((host.work / "used").read_text().split())
    assert set(used) == {"GPU-a", "GPU-b"}
    devices = [(read_exit(host.folder(job)) or {})["device"]["gpus"] for job in jobs]
    assert Counter(gpu for gpus in devices for gpu in gpus) == used


@pytest.mark.slow
def test_a_full_disk_holds_the_queue_and_lets_it_go_on(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: an orch home on a disk that fills while 12 jobs wait. Lost: none; they go on when there is space."""
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    host = LocalHost(small_disk / "home", tmp_path / "local", tmp_path)
    try:
        gate = "while [ ! -e go ]; do sleep 0.01; done"
        jobs, begun = counting(host, 12, gate)
        host.submit(*jobs, parallel=1)
        until(lambda: begun.read_text())
        fill(small_disk / "filler")
        (tmp_path / "go").touch()
        log = Path(host.local.keeper_log)
        until(lambda: "held for 5 s" in log.read_text() and "the disk is full" in log.read_text(), what="held")
        assert host.states().count("done") == 1
        assert (read_exit(host.folder(jobs[0])) or {})["status"] == 0
        (small_disk / "filler").unlink()
        assert host.finish(12) == ["done"] * 12
        assert begun_once(begun, 12)
    finally:
        host.close()


def test_a_damaged_batch_is_set_aside_and_the_rest_runs(host: LocalHost) -> None:
    job = host.job("a", ("/bin/true",))
    queue = Path(host.home.queue(host.about["host"]))
    queue.mkdir(parents=True)
    (queue / "0.jsonl").write_text("{}\nnonsense\n")
    assert host.run(job)["verdict"]["state"] == "done"
    host.settle()
    assert [path.name for path in queue.iterdir()] == ["0.jsonl.damaged"]
    assert "is damaged; set aside as 0.jsonl.damaged" in Path(host.local.keeper_log).read_text()


def test_the_same_cell_in_two_sweeps_is_two_jobs(host: LocalHost) -> None:
    """They have one id: neither waits for the other, and a stop reaches one only."""
    jobs = [host.job("a", ("/bin/sleep", "60"), sweep=sweep) for sweep in ("s", "t")]
    assert jobs[0]["id"] == jobs[1]["id"]
    host.submit(*jobs, parallel=2)
    until(lambda: host.states() == ["running", "running"])
    host.wire.call("stop", jobs=[["s", jobs[0]["id"]]])
    until(lambda: host.state(jobs[0]) == "stopped")
    assert host.state(jobs[1]) == "running"


def test_noop_jobs_leave_the_files_that_the_contract_names(host: LocalHost) -> None:
    jobs = [host.job(f"j{number}", ("/bin/true",)) for number in range(300)]
    host.submit(*jobs, parallel=2)
    assert host.finish(300) == ["done"] * 300
    host.settle()
    expected = {
        f"runs/s/{job['id']}/attempt-01/{name}" for job in jobs for name in ("job.json", "exit.json", "log.txt")
    }
    base = Path(host.home.path)
    found = {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}
    lists = {name for name in found if name.startswith(f"begun/{machine.name()}/{machine.boot_id()}-")}
    assert found == expected | lists | {"home.json"}
    assert 1 <= len(lists) <= 2  # for all of them; two watchers may each make the first one


def test_the_environment_of_a_job(host: LocalHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_AGENT", "inherited")
    host.wire.close()
    host.wire = host.connect()
    script = "cat <&0; pwd; umask; env -0 > environment"
    job = host.job("a", sh(script), env={"OF_THE_JOB": "é\n", "OMP_NUM_THREADS": "7"}, resources={"cpus": 2})
    host.run(job)
    assert host.log(job).splitlines() == [str(host.work), "0077"]
    pairs = (host.work / "environment").read_text().split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if pair)
    assert environment["ORCH_RUN"] == host.folder(job).path
    assert environment["OF_THE_JOB"] == "é\n"
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["FROM_THE_AGENT"] == "inherited"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["ORCH_CACHE"] == str(Path(host.local.path) / "cache")


def test_run_in_the_arguments_becomes_the_run_folder(host: LocalHost) -> None:
    job = host.job("a", ("/bin/echo", "{run}", "x={run}/y"))
    host.run(job)
    path = host.folder(job).path
    assert host.log(job) == f"{path} x={path}/y\n"


def test_the_log_keeps_the_order_of_both_outputs(host: LocalHost) -> None:
    job = host.job("a", sh("for i in 1 2 3 4 5; do echo out $i; echo error $i >&2; done"))
    host.run(job)
    assert host.log(job).splitlines() == [f"{kind} {number}" for number in range(1, 6) for kind in ("out", "error")]


def test_a_removed_bell_and_removed_locks_start_nothing_twice(host: LocalHost) -> None:
    """Injected: all host-local files of the keeper removed under it, 5 times, as by a cleaner. Started twice: none."""
    jobs, begun = counting(host, 50, "sleep 0.02")
    for batch in range(5):
        host.submit(*jobs[10 * batch : 10 * batch + 10], parallel=2)
        for path in (host.local.keeper_lock, host.local.wake, host.local.queue_lock):
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
    assert host.finish(50) == ["done"] * 50
    assert begun_once(begun, 50)


def test_another_orch_local_takes_no_living_job_for_dead(host: LocalHost, tmp_path: Path) -> None:
    """Injected: a second user session with another ORCH_LOCAL. Started twice: none; the job stays running."""
    jobs, begun = counting(host, 1, "sleep 60")
    host.submit(*jobs)
    until(lambda: begun.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCH_LOCAL", str(tmp_path / "other"))
        other = LocalHost(Path(host.home.path), tmp_path / "other", host.work)
        try:
            assert other.submit(*jobs)["jobs"][0]["action"] == "runs already"
            assert HostFolder.of(host.about["id"]).path != host.local.path
            other.wire.call("stop", jobs=[["s", jobs[0]["id"]]])
            until(lambda: host.state(jobs[0]) == "stopped")
        finally:
            other.close()
    assert json.loads(Path(host.folder(jobs[0]).job).read_text())["claim"]["local"] == host.local.path
