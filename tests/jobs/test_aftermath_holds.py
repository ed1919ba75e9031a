"""What is held after a failure, with real agents and keepers: siblings, full disks, GPUs out of use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from after import attempts, ended, held, show, spec_of
from local_host import LocalHost, fill, sh, until
from test_slots import stand_in

from jobs.holds import Holds


def test_siblings_that_would_fail_alike_wait_until_they_are_released(host: LocalHost) -> None:
    """Injected: 6 jobs with one mistake in common, one at a time. Started: 2. After the release: the rest."""
    script = "test -e mended || { echo \"ModuleNotFoundError: No module named 'nibabe'\" >&2; exit 1; }"
    jobs = [host.job(f"j{number}", sh(script)) for number in range(6)]
    other = host.job("other", ("/bin/true",), sweep="t")
    host.submit(*jobs, other, parallel=1)
    until(lambda: host.state(other) == "done", what="another sweep goes on")
    host.settle()  # what waits for a person keeps nobody awake
    assert [host.state(job) for job in jobs] == ["failed"] * 2 + ["queued"] * 4
    reason = held(host, jobs[2])
    assert "2 jobs of this sweep failed alike, with import error: ModuleNotFoundError" in reason
    assert reason.endswith("(orch release s)")
    assert show(host, jobs[2])["held"] == reason
    (host.work / "mended").touch()
    assert host.wire.call("release", sweeps=["s"]) == {"sweeps": ["s"], "gpus": False, "jobs": 4}
    until(lambda: [host.state(job) for job in jobs] == ["failed"] * 2 + ["done"] * 4)
    host.settle()
    assert not Holds(host.local)


def test_other_code_and_a_new_submit_are_not_held(host: LocalHost) -> None:
    script = sh("test -e mended || { echo 'ImportError: x'; exit 1; }")
    old = [host.job(f"j{number}", script, provenance={"code": "old"}) for number in range(4)]
    new = host.job("new", ("/bin/true",), provenance={"code": "new"})
    host.submit(*old, new, parallel=1)
    until(lambda: host.state(new) == "done")
    assert [bool(held(host, job)) for job in old] == [False, False, True, True]
    (host.work / "mended").touch()
    host.submit(old[0])  # who runs a failed job again has looked
    until(lambda: [host.state(job) for job in old] == ["done", "failed", "done", "done"])


def test_different_evidence_holds_nobody(host: LocalHost) -> None:
    jobs = [host.job(f"j{number}", sh(f"echo 'ValueError: strategy {number}'; exit 1")) for number in range(4)]
    host.submit(*jobs, parallel=1)
    until(lambda: [host.state(job) for job in jobs] == ["failed"] * 4)


@pytest.mark.slow
def test_a_full_disk_holds_the_sweep_until_there_is_room(host: LocalHost, small_disk: Path) -> None:
    """Injected: a disk of 1 MiB filled by the job itself, where it writes. Lost: nothing; all end when room comes."""
    full = small_disk / "ballast"
    script = f"dd if=/dev/zero of={small_disk}/$0 bs=64k count=2 2>&1; test $? = 0 || exit 1"
    jobs = [host.job(f"j{number}", sh(script.replace("$0", f"j{number}")), cwd=str(small_disk)) for number in range(3)]
    fill(full)
    host.submit(*jobs, parallel=1)
    until(lambda: held(host, jobs[0]) and held(host, jobs[2]), what="all wait")
    assert "No space left on device" in held(host, jobs[2])
    assert host.keepers(), "somebody looks whether there is room"
    assert Holds(host.local).probed()["s"].path == str(small_disk / "j0")
    full.unlink()
    until(lambda: [host.state(job) for job in jobs] == ["done"] * 3, 60)
    assert attempts(host, jobs[0]) == [1, 2]
    assert spec_of(host, jobs[0], 2)["retry"]["action"] == "hold"
    host.settle()
    assert not Holds(host.local)


@pytest.mark.slow
def test_a_home_that_is_full_loses_no_next_attempt(small_disk: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Injected: the disk of the orch home itself is full: neither log nor queue can be written. Lost: nothing."""
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    (tmp_path / "work").mkdir()
    host = LocalHost(small_disk / "home", tmp_path / "local", tmp_path / "work")
    try:
        script = "test -e room || { echo 'OSError: [Errno 122] Disk quota exceeded'; exit 1; }"
        job = host.job("a", sh(f"while test ! -e go; do sleep 0.02; done; {script}"))
        host.submit(job)
        host.identity(job)
        fill(small_disk / "ballast")
        (host.work / "go").touch()
        ended(host, job, 1)
        host.wire.close()
        until(host.keepers, what="a keeper that waits for room, without any batch")
        (host.work / "room").touch()
        (small_disk / "ballast").unlink()
        until(lambda: attempts(host, job) == [1, 2], 60, "the next attempt")
        host.wire = host.connect()
        until(lambda: host.state(job) == "done")
    finally:
        host.close()


def test_a_driver_that_does_not_fit_takes_the_gpus_out_of_use(
    host: LocalHost, program: Callable[[str, str], Path]
) -> None:
    """Injected: the words of a driver too old, from one of three GPU jobs. Started after it: no GPU job, the others."""
    program("nvidia-smi", stand_in("GPU-a"))
    host.wire.close()
    host.wire = host.connect()  # with the stand-in in its PATH
    text = "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version"
    gpu = {"resources": {"gpus": 1}}
    bad = host.job("bad", sh(f"echo '{text}'; exit 1"), **gpu)
    waiting = [host.job(f"w{number}", ("/bin/true",), sweep="t", **gpu) for number in range(2)]
    plain = host.job("plain", ("/bin/true",))
    host.submit(bad, *waiting, plain, parallel=1)
    until(lambda: host.state(bad) == "failed" and host.state(plain) == "done")
    assert ended(host, bad, 1)["decision"]["action"] == "other_host"
    host.settle()
    assert attempts(host, bad) == [1]
    for job in waiting:
        assert "the GPUs of" in held(host, job) and "driver mismatch" in held(host, job)
        assert held(host, job).endswith("(orch release --gpus)")
    assert host.wire.call("release", sweeps=[], gpus=True) == {"sweeps": [], "gpus": True, "jobs": 2}
    until(lambda: [host.state(job) for job in waiting] == ["done", "done"])


def test_a_card_that_is_gone_is_proved_by_nvidia_smi(host: LocalHost, program: Callable[[str, str], Path]) -> None:
    """Injected: a card that nvidia-smi no longer lists when the job fails with words that tell nothing."""
    program("nvidia-smi", stand_in("GPU-a"))
    host.wire.close()
    host.wire = host.connect()
    gone = stand_in("GPU-b").replace("'", "'\"'\"'")
    path = Path(os.environ["PATH"].split(os.pathsep)[0], "nvidia-smi")
    job = host.job("a", sh(f"printf '%s' '{gone}' > '{path}'; exit 3"), resources={"gpus": 1})
    assert host.run(job)["verdict"]["state"] == "failed"
    assert ended(host, job, 1)["failure"]["kind"] == "gpu_lost"
    assert ended(host, job, 1)["failure"]["evidence"] == "nvidia-smi no longer lists GPU-a"


def test_a_job_without_gpus_condemns_no_card(host: LocalHost) -> None:
    words = "Found no NVIDIA driver on your system"
    bad, same = (host.job(label, sh(f"echo {words}; exit 1"), provenance={"code": "c"}) for label in ("bad", "same"))
    host.submit(bad, same, parallel=1)
    until(lambda: host.state(bad) == "failed" and held(host, same))
    assert "driver mismatch" in held(host, same) and held(host, same).endswith("(orch release s)")
    assert not Path(host.local.sick).exists()
