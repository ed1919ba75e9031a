"""Two machines of one name, and hosts that were declared dead: no second attempt beside a living first."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until
from unlucky_host import UnluckyHost, can_mount

from jobs import host_identity
from jobs.attempt import claim_of, evidence, publish, read_job
from jobs.errors import UsageError
from jobs.state import judge


def change_claim(of: LocalHost, job: dict[str, Any], attempt: int = 1, **more: Any) -> None:
    """As if another machine, or this one in another boot, had begun the attempt."""
    path = Path(of.folder(job, attempt).job)
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "claim": {**spec["claim"], **more}}))


def state(host: LocalHost, job: dict[str, Any], attempt: int = 1) -> tuple[str, str]:
    folder = host.folder(job, attempt)
    found = judge(evidence(folder, read_job(folder) or {}, host.local))
    return found.state, found.reason


@pytest.fixture
def held(host: LocalHost) -> dict[str, Any]:
    """A job that runs until the end of the test."""
    job = host.job("a", sh("echo up; exec sleep 600"))
    host.submit(job)
    until(lambda: host.state(job) == "running" and host.log(job) == "up\n")
    return job


def test_a_claim_names_its_machine(host: LocalHost, held: dict[str, Any]) -> None:
    claim = claim_of(read_job(host.folder(held)))
    assert claim["machine"] == host_identity.machine()
    secret = Path("/etc/machine-id")
    assert not secret.exists() or claim["machine"] not in secret.read_text()


def test_a_held_lock_is_believed_whatever_the_boot(host: LocalHost, held: dict[str, Any]) -> None:
    """Injected: the claim of a running job says another boot. Started again: nothing."""
    change_claim(host, held, boot_id="another boot")
    assert state(host, held)[0] == "running"
    host.submit(held)
    assert len(host.home.attempts("s", held["id"])) == 1


@pytest.mark.skipif(not host_identity.machine(), reason="this machine has no machine id")
def test_another_machine_of_our_name_is_not_judged_by_our_boot(host: LocalHost, held: dict[str, Any]) -> None:
    """Injected: the claim names another machine of this name and another boot; its lock lies on a disk of its own."""
    elsewhere = str(Path(host.local.path).with_name("elsewhere"))
    change_claim(host, held, boot_id="another boot", machine="0123456789abcdef", local=elsewhere)
    found = state(host, held)
    assert found[0] == "unreachable" and f"another machine called {host.about['host']} ran it" in found[1]
    host.submit(held)
    assert len(host.home.attempts("s", held["id"])) == 1, "what is not proved ended is not ended"
    told = host.wire.call("declare_dead", machine=host.about["host"], by="ana")
    assert [one["id"] for one in told["ended"]] == [held["id"]]


def test_a_boot_of_this_machine_is_a_proof_also_where_its_disk_was_cleaned(host: LocalHost) -> None:
    job = host.job("a", ("/bin/true",))
    assert publish(host.folder(job), job, {}, host.local)
    change_claim(host, job, boot_id="another boot", local=str(Path(host.local.path).with_name("cleaned")))
    assert state(host, job) == ("interrupted", "ended without a record (proof: the host was booted since)")


def test_a_declaration_is_about_what_had_begun_whatever_the_clocks_say(host: LocalHost) -> None:
    """Injected: a host that was declared dead comes back with a slow clock. Counted as ended: the former."""
    first, later = host.job("a", ("/bin/true",)), host.job("b", ("/bin/true",))
    for job, after in ((first, 0.0), (later, -3600.0)):
        assert publish(host.folder(job), job, {}, host.local)
        change_claim(host, job, host="ghost", machine="0123456789abcdef", at=time.time() + after)
        if job is first:
            assert len(host.wire.call("declare_dead", machine="ghost", by="ana")["ended"]) == 1
    assert state(host, first) == ("interrupted", "ended without a record (proof: ghost was declared dead by ana)")
    assert state(host, later)[0] == "unreachable"


def test_a_declaration_of_an_older_orch_goes_by_the_clocks(host: LocalHost) -> None:
    job = host.job("a", ("/bin/true",))
    assert publish(host.folder(job), job, {}, host.local)
    change_claim(host, job, host="ghost", at=1000.0)
    dead = Path(host.home.dead("ghost"))
    dead.parent.mkdir(exist_ok=True)
    dead.write_text('{"at": 999.0, "by": "ana"}')
    assert state(host, job)[0] == "unreachable"
    dead.write_text('{"at": 1001.0, "by": "ana"}')
    assert state(host, job)[0] == "interrupted"


def test_a_host_that_answers_is_not_dead(host: LocalHost) -> None:
    with pytest.raises(UsageError, match="it is not dead"):
        host.wire.call("declare_dead", machine=host.about["host"], by="ana")


@pytest.mark.slow
@pytest.mark.skipif(
    not can_mount(), reason="needs root: sudo .venv/bin/python -m pytest tests/jobs/test_host_identity.py"
)
def test_two_machines_of_one_name_on_one_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: two agents with boots of their own and host-local disks of their own, one host name, one home.

    The same job is asked of both: it runs once.
    """
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "a" / "local"))
    (tmp_path / "a").mkdir()
    one = UnluckyHost(tmp_path / "a")
    job = one.job("x", sh("echo $$ >> pids; exec sleep 600"))
    try:
        one.submit(job)
        until(lambda: one.state(job) == "running")
        boot, local = tmp_path / "boot", tmp_path / "local-of-b"
        boot.write_text("00000000-0000-4000-8000-000000000000\n")
        one.boot, one.root = boot, local
        monkeypatch.setenv("ORCH_LOCAL", str(local))
        with one.connect() as other:
            told = other.call("submit", record=None, jobs=[job])
            assert told["jobs"][0]["action"] not in ("queued", "started"), told
            time.sleep(1)
        assert len((tmp_path / "a" / "work" / "pids").read_text().split()) == 1
    finally:
        for root in (tmp_path / "a" / "local", tmp_path / "local-of-b"):
            monkeypatch.setenv("ORCH_LOCAL", str(root))
            one.root = root
            for pid in one.processes():
                one.kill(pid)
        one.root = tmp_path / "a" / "local"
        one.close()
