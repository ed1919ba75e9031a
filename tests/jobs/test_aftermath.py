"""After a failure, on the host: next attempts queued exactly once, holds, sick GPUs, with real agents and keepers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from after import attempts, ended, spec_of
from local_host import LocalHost, sh, until

from jobs.atomic import read_json
from jobs.attempt import evidence, publish, read_exit, read_job, record_exit
from jobs.collector import Collector
from jobs.lease import holding, is_held
from jobs.queue import Queue
from jobs.spec import Cell, JobSpec
from jobs.state import judge

ENDED = {"done", "failed", "stopped", "interrupted"}
WAIT = "while ! test -e go; do sleep 0.02; done"
GREEDY = """
import json, os
micro = int(os.environ.get("ORCH_MICRO_BATCH", 32))
if micro > {fits}:
    raise SystemExit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
print(json.dumps({{"batch": 32, "micro": micro, "steps": 32 // micro}}))
"""


def batch_job(host: LocalHost, program: str, **more: Any) -> dict[str, Any]:
    """A command with a grid axis `batch_size`, whose sweep says that it can compute less at once."""
    cell = Cell("command", {"argv": [program], "grid": {"batch_size": 32}})
    policy = {"out_of_memory_gpu": "retry_smaller"}
    argv = (sys.executable, "-c", program)
    return JobSpec("s", "batch_size=32", {}, cell, argv, str(host.work), policy=policy, **more).to_json()


def test_out_of_memory_goes_on_with_half_the_micro_batch_until_it_fits(host: LocalHost) -> None:
    """Injected: a program that fails above 8 samples at once. Lost: nothing; 32, 16, 8 with one effective batch."""
    job = batch_job(host, GREEDY.format(fits=8))
    host.submit(job)
    host.wire.close()  # the laptop is away
    until(lambda: attempts(host, job) == [1, 2, 3], what="three attempts")
    ended(host, job, 3)
    host.wire = host.connect()
    assert host.report(job)["attempt"] == 3
    assert host.state(job) == "done"
    assert [spec_of(host, job, number)["tuning"] for number in (1, 2, 3)] == [
        {}, {"micro_batch": 16}, {"micro_batch": 8},
    ]  # fmt: skip
    assert json.loads(host.log(job, 3)) == {"batch": 32, "micro": 8, "steps": 4}
    third = spec_of(host, job, 3)
    assert third["id"] == job["id"] and third["cell"] == job["cell"]
    assert {key: third["retry"][key] for key in ("of", "kind", "action", "reason")} == {
        "of": 2,
        "kind": "out_of_memory_gpu",
        "action": "retry_smaller",
        "reason": "again with 4 x 8 (same effective batch)",
    }
    first = ended(host, job, 1)
    assert first["decision"] == {
        "action": "retry_smaller",
        "changes": {"micro_batch": 16},
        "reason": "again with 2 x 16 (same effective batch)",
    }
    host.settle()
    assert locks_left(host) == []


def test_halving_ends_at_one_sample(host: LocalHost) -> None:
    job = batch_job(host, GREEDY.format(fits=0))
    host.submit(job)
    until(lambda: attempts(host, job)[-1:] == [6] and read_exit(host.folder(job, 6)), what="six attempts")
    until(lambda: host.state(job) == "failed")
    host.settle()
    assert attempts(host, job) == [1, 2, 3, 4, 5, 6]
    assert ended(host, job, 6)["decision"]["action"] == "never"


def test_a_killed_job_is_started_once_more_from_its_last_checkpoint(host: LocalHost) -> None:
    script = 'touch "$ORCH_RUN/last.pt"; test "${ORCH_RUN%2}" = "$ORCH_RUN" || exit 0; kill -9 $$'
    job = host.job("a", sh(script))
    host.submit(job)
    until(lambda: host.report(job).get("attempt") == 2 and host.state(job) == "done", what="a second attempt")
    second = spec_of(host, job, 2)
    assert second["resume"] == host.folder(job, 1).path
    assert second["retry"]["kind"] == "killed"


@pytest.mark.parametrize("reason", ["sleep 60", "kill -9 $$"])
def test_a_stop_by_a_person_never_starts_it_again(host: LocalHost, reason: str) -> None:
    job = host.job("a", sh(f"trap '{reason}' TERM; echo up; while :; do sleep 0.05; done"))
    host.submit(job)
    until(lambda: host.state(job) == "running" and host.log(job) == "up\n")
    host.wire.call("stop", jobs=[["s", job["id"]]], grace=0.3)
    until(lambda: host.state(job) == "stopped")
    host.settle()
    assert attempts(host, job) == [1]


def test_a_stop_that_comes_just_after_a_failure_holds_too(host: LocalHost) -> None:
    """Injected: the stop request written when the record is there and the watcher waits for the queue's lock."""
    job = host.job("a", sh(f"{WAIT}; kill -9 $$"))
    with_record(host, job, lambda: Path(host.folder(job).stop).touch())
    until(lambda: not is_held(host.local.attempt_lock(host.folder(job))))
    host.settle()
    assert attempts(host, job) == [1]


def test_a_next_attempt_counts_as_running_until_it_is_queued(host: LocalHost) -> None:
    """Injected: the queue's lock held when a job has failed. Never seen: `failed` before the last attempt."""
    job = batch_job(
        host, "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n" + GREEDY.format(fits=16)
    )
    seen: set[str] = set()
    with_record(host, job, lambda: seen.add(state_of(host, job)))
    assert seen == {"running"}
    (host.work / "go").touch()
    until(lambda: seen.add(host.state(job)) or host.state(job) == "done", what="done")
    assert "failed" not in seen


def test_an_attempt_that_began_while_reports_were_made_is_reported(host: LocalHost) -> None:
    """Injected: a next attempt that is neither a folder when folders are read nor in the queue when that is."""
    job = host.job("a", ("/bin/false",))
    first, second = host.folder(job, 1), host.folder(job, 2)
    assert publish(first, job, {}, host.local)
    now = time.time()
    record = {"status": 137, "stopped": False, "began": True, "started": now, "ended": now, "failure": None}
    record_exit(first, {**record, "decision": {"action": "retry"}}, host.local)
    reports = Collector(host.home, host.local, []).reports()
    assert next(reports)["attempt"] == 1
    assert publish(second, job, {}, host.local)
    assert [report["attempt"] for report in reports] == [2]


def with_record(host: LocalHost, job: dict[str, Any], then: Callable[[], Any]) -> None:
    """Let a job that waits for the file `go` end, and do something when its record is there and nothing followed."""
    host.submit(job)
    host.identity(job)
    with holding(host.local.queue_lock):
        (host.work / "go").touch()
        until(lambda: read_exit(host.folder(job)), what="a record")
        assert is_held(host.local.attempt_lock(host.folder(job)))
        then()
    (host.work / "go").unlink()


def state_of(host: LocalHost, job: dict[str, Any]) -> str:
    folder = host.folder(job)
    return judge(evidence(folder, read_job(folder) or {}, host.local)).state


@pytest.mark.parametrize("rule", ["never", {"action": "retry_smaller", "tries": 1}])
def test_a_sweep_changes_the_rules(host: LocalHost, rule: Any) -> None:
    job = {**batch_job(host, GREEDY.format(fits=1)), "policy": {"out_of_memory_gpu": rule}}
    last = 1 if rule == "never" else 2
    host.submit(job)
    until(lambda: host.report(job).get("attempt") == last and host.state(job) == "failed")
    host.settle()
    assert attempts(host, job) == list(range(1, last + 1))


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", ["record", "queue"])
def test_a_watcher_killed_before_or_after_it_queued_the_next_attempt(host: LocalHost, killed_at: str) -> None:
    """Injected: SIGKILL to the watcher between its record and the next attempt, and right after. 10 times each.

    The queue's lock, held by the test, stops the watcher at the first point. Lost: no next attempt. Doubled: none.
    """
    for number in range(10):
        first = f'test "${{ORCH_RUN%2}}" = "$ORCH_RUN" || exit 0; {WAIT}; kill -9 $$'
        job = host.job(f"j{number}", sh(f"echo x >> begun-{number}; {first}"))
        identity: list[int] = []
        lock = host.local.attempt_lock(host.folder(job))

        def kill(job: dict[str, Any] = job, identity: list[int] = identity, lock: str = lock) -> None:
            identity.append((read_json(lock) or {})["watcher"][0])
            if killed_at == "record":
                _kill(identity[0])
                until(lambda: not is_held(lock), what="the watcher is gone")
                assert Path(lock).exists(), "the debt"

        with_record(host, job, kill)
        if killed_at == "queue":
            until(lambda job=job: attempts(host, job) == [1, 2] or _waits(host, job))
            _kill(identity[0])
        for _ in range(3):  # any command, and as often as you like
            host.wire.call("open", home=host.home.path)
        until(lambda job=job: attempts(host, job) == [1, 2], what="one next attempt")
        until(lambda job=job: host.state(job) in ENDED)
        assert Path(host.work, f"begun-{number}").read_text().count("x") == 2
    host.settle()
    host.wire.call("open", home=host.home.path)
    assert [attempts(host, job) for job in map(host.job, [f"j{n}" for n in range(10)], [("x",)] * 10)] == [[1, 2]] * 10


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def locks_left(host: LocalHost) -> list[str]:
    return sorted(path.name for path in Path(host.local.locks).iterdir())


def _waits(host: LocalHost, job: dict[str, Any]) -> bool:
    return Queue(host.home, host.about["host"]).has("s", job["id"])


def test_a_host_that_was_booted_since_goes_on_at_the_next_command(host: LocalHost) -> None:
    """Injected: a job whose claim and lock are of another boot, as after a power cut. Lost: nothing; resumed once."""
    job = host.job("a", sh('test "${ORCH_RUN%2}" = "$ORCH_RUN" || exit 0; touch "$ORCH_RUN/last.pt"; exec sleep 600'))
    host.submit(job)
    until(lambda: Path(host.folder(job).checkpoint("last")).exists())
    host.wire.close()
    identity = host.identity(job)
    for pid in (identity["watcher"][0], identity["job"][0]):
        _kill(pid)
    spec = spec_of(host, job, 1)
    spec["claim"]["boot_id"] = "another boot"
    Path(host.folder(job).job).write_text(json.dumps(spec))
    host.wire = host.connect()
    for _ in range(3):
        host.wire.call("open", home=host.home.path)
        until(lambda: attempts(host, job) == [1, 2])
    assert host.state(job) in ("running", "queued", "done")
    until(lambda: host.state(job) == "done")
    second = spec_of(host, job, 2)
    assert (second["retry"]["kind"], second["resume"]) == ("host_rebooted", host.folder(job, 1).path)


def test_a_lost_exit_status_is_left_to_a_person(host: LocalHost) -> None:
    job = host.job("a", ("/bin/sleep", "600"))
    host.submit(job)
    identity = host.identity(job)
    for pid in (identity["watcher"][0], identity["job"][0]):
        _kill(pid)
    until(lambda: host.state(job) == "interrupted")
    host.wire.close()
    host.wire = host.connect()
    assert (host.state(job), attempts(host, job)) == ("interrupted", [1])
    assert Path(host.local.attempt_lock(host.folder(job))).exists(), "all the proof there is, for colleagues too"


def test_what_was_declared_dead_is_followed_by_nothing(host: LocalHost) -> None:
    """Injected: a job of a former boot, of whose host a person said since that it is dead. Started again: nothing."""
    job = host.job("a", ("/bin/sleep", "600"))
    host.submit(job)
    identity = host.identity(job)
    host.wire.close()
    for pid in (identity["watcher"][0], identity["job"][0]):
        _kill(pid)
    spec = spec_of(host, job, 1)
    spec["claim"]["boot_id"] = "another boot"
    Path(host.folder(job).job).write_text(json.dumps(spec))
    dead = Path(host.home.dead(host.about["host"]))
    dead.parent.mkdir(exist_ok=True)
    dead.write_text(json.dumps({"at": spec["claim"]["at"] + 60, "by": "ana"}))
    for _ in range(2):
        host.wire = host.connect()
        assert host.state(job) == "interrupted"
        host.wire.close()
    assert attempts(host, job) == [1]
    host.wire = host.connect()


def test_a_job_over_its_time_is_asked_to_leave_and_does_not_count_as_done(host: LocalHost) -> None:
    leave = "trap 'echo saved; exit 0' TERM"
    job = host.job("a", sh(f"{leave}; while :; do sleep 0.05; done"), resources={"time_limit_s": 0.5})
    report = host.run(job)
    assert report["verdict"]["state"] == "failed"
    assert report["verdict"]["reason"] == "timeout: over its time limit of 0.5 s, by the watcher's clock"
    record = ended(host, job, 1)
    assert (record["status"], record["stopped"], record["decision"]["action"]) == (0, False, "never")
    assert host.log(job).endswith("saved\n")
    quick = host.job("b", ("/bin/true",), resources={"time_limit_s": 600})
    assert host.run(quick)["verdict"]["state"] == "done"


def test_a_job_over_its_time_goes_on_where_its_sweep_says_so(host: LocalHost) -> None:
    first = 'test "${ORCH_RUN%2}" = "$ORCH_RUN" || exit 0; touch "$ORCH_RUN/last.pt"; exec sleep 600'
    policy = {"timeout": {"action": "retry", "tries": 3}}
    job = host.job("a", sh(first), resources={"time_limit_s": 0.5}, policy=policy)
    host.submit(job)
    until(lambda: host.report(job).get("attempt") == 2 and host.state(job) == "done")
    assert spec_of(host, job, 2)["resume"] == host.folder(job, 1).path


def test_a_job_that_ends_well_leaves_nothing_more_than_before(host: LocalHost) -> None:
    jobs = [host.job(f"j{number}", ("/bin/true",)) for number in range(5)]
    host.run(*jobs)
    host.settle()
    assert all(files(host, job) == ["exit.json", "job.json", "log.txt"] for job in jobs)
    assert locks_left(host) == []
    assert not Path(host.local.holds).exists() and not Path(host.local.sick).exists()


def files(host: LocalHost, job: dict[str, Any]) -> list[str]:
    return sorted(path.name for path in Path(host.folder(job).path).iterdir())
