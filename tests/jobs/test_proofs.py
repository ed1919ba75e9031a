"""Proofs that are not in the log: the kernel's memory killer in a real control group, its log, and nvidia-smi."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_host import LocalHost, until
from test_slots import stand_in

from jobs import proofs
from jobs.attempt import read_exit
from jobs.failure import Proof
from jobs.proofs import Counter, lost_card, memory_kill, oom_counter, oom_kills, silent_disk

EATER = "import sys\nblock = []\nwhile True: block.append(bytearray(1 << 20))\n"


@pytest.fixture
def tight_group(tmp_path: Path) -> Iterator[Path]:
    """A real control group of 24 MiB, version 1 or 2, in which a process is killed for lack of memory."""
    for root, limit, swap in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
    ):
        group = Path(root, f"orch-test-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(24 << 20))
        except OSError:
            continue
        if (group / swap).exists():
            (group / swap).write_text("0" if "max" in swap else str(24 << 20))
        yield group
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                group.rmdir()
                return
            except OSError:
                time.sleep(0.05)
        return
    pytest.skip("no control group for memory can be made here: it needs root and a writable /sys/fs/cgroup")


def counter_of(group: Path) -> Counter:
    name = "memory.events" if (group / "memory.events").exists() else "memory.oom_control"
    return Counter(str(group / name), f"the control group's {name}")


def eat_in(group: Path) -> subprocess.Popen[bytes]:
    join = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
    return subprocess.Popen([sys.executable, "-c", join + EATER], stderr=subprocess.DEVNULL)


def test_a_kill_for_lack_of_memory_is_proved_by_the_kernel(tight_group: Path) -> None:
    """Injected: a program that eats memory in a group of 24 MiB. Told apart from a SIGKILL by somebody: yes."""
    counter = counter_of(tight_group)
    before = oom_kills(counter)
    with eat_in(tight_group) as eater:
        started = int(Path(f"/proc/{eater.pid}/stat").read_text().rpartition(")")[2].split()[19])
        assert eater.wait(60) == -signal.SIGKILL
        assert oom_kills(counter) == before + 1
        proof = memory_kill(counter, before, eater.pid, started)
        assert proof is not None
        assert proof.kind == "out_of_memory"
        assert "the kernel's log" in proof.evidence or "oom_kill more" in proof.evidence
        assert memory_kill(counter, before + 1, 1, started) is None, "another process, and no kill since"


def test_a_job_that_the_kernel_kills_is_out_of_memory(host: LocalHost, tight_group: Path) -> None:
    """Injected: a job that enters the tight group and eats memory. Recorded: out_of_memory, with the kernel's word."""
    join = f"open({str(tight_group / 'cgroup.procs')!r}, 'w').write('0')\n"
    job = host.job("a", (sys.executable, "-c", join + EATER))
    report = host.run(job)
    assert report["verdict"]["state"] == "failed"
    record = read_exit(host.folder(job))
    assert record is not None
    failure = record["failure"]
    if failure["kind"] == "killed":
        pytest.skip("the kernel's log cannot be read here, and only the job is in the group")
    assert failure["kind"] == "out_of_memory"
    assert failure["evidence"].startswith("the kernel's log: ")
    assert record["decision"]["reason"] == "nobody knows the size of its batch, so it cannot be made smaller"


@pytest.mark.parametrize(
    ("groups", "name", "text"),
    [
        ("0::/user/a\n", "user/a/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"),
        (
            "4:memory:/user/a\n0::/\n",
            "memory/user/a/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        ),
    ],
)
def test_the_counter_of_ones_own_group_is_found(tmp_path: Path, groups: str, name: str, text: str) -> None:
    (tmp_path / "groups").write_text(groups)
    file = tmp_path / "mount" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    counter = oom_counter(str(tmp_path / "groups"), str(tmp_path / "mount"), "/none")
    assert (counter.path, oom_kills(counter)) == (str(file), 2)
    assert Path(name).name in counter.words


def test_without_groups_the_whole_machine_is_counted(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("pgfault 12\noom_kill 5\n")
    counter = oom_counter(str(tmp_path / "none"), str(tmp_path), str(tmp_path / "vmstat"))
    assert (oom_kills(counter), counter.words) == (5, "this machine's vmstat")
    assert oom_kills(Counter(str(tmp_path / "gone"), "")) == 0
    found = memory_kill(counter, 4, 1 << 30, None)
    assert found == Proof("out_of_memory", "SIGKILL, and this machine's vmstat counts 1 oom_kill more since it began")


@pytest.mark.parametrize(
    ("text", "since", "found"),
    [
        ("6,1,2000000,-;Memory cgroup out of memory: Killed process 42 (python) total-vm:9kB", 1.0, True),
        ("6,1,2000000,-;Out of memory: Killed process 42 (python), UID 0", 100.0, False),
        ("6,1,2000000,-;Out of memory: Killed process 421 (python), UID 0", 1.0, False),
        ("nonsense", 1.0, False),
    ],
)
def test_the_kernels_log_names_a_process_of_that_time(tmp_path: Path, text: str, since: float, found: bool) -> None:
    (tmp_path / "kmsg").write_text(text)
    assert bool(proofs._kernel_line(42, since, str(tmp_path / "kmsg"))) is found
    assert proofs._kernel_line(42, since, str(tmp_path / "none")) == ""


def test_a_lost_card_is_asked_for_only_when_words_and_cards_leave_it_open(
    program: Callable[[str, str], Path],
) -> None:
    program("nvidia-smi", stand_in("GPU-b"))
    assert lost_card({"kind": "unknown"}, ["GPU-a"]) == Proof("gpu_lost", "nvidia-smi no longer lists GPU-a")
    assert lost_card({"kind": "unknown"}, ["GPU-b"]) is None
    assert lost_card({"kind": "unknown"}, []) is None
    assert lost_card({"kind": "out_of_memory_gpu"}, ["GPU-a"]) is None


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "driver_mismatch"),
        ("Unable to determine the device handle for GPU0: GPU is lost.  Reboot the system", "gpu_lost"),
        ("No devices were found", None),
    ],
)
def test_nvidia_smis_own_words_prove_a_fault(program: Callable[[str, str], Path], words: str, kind: str | None) -> None:
    program("nvidia-smi", f"#!/bin/sh\necho '{words}'\nexit 18\n")
    proof = lost_card({"kind": "code_error"}, ["GPU-a"])
    assert (proof.kind if proof else None) == kind
    assert proof is None or words.split(".")[0] in proof.evidence


def test_a_full_disk_is_proved_where_the_log_cannot_say_so(small_disk: Path, tmp_path: Path) -> None:
    from local_host import fill

    assert silent_disk({"kind": "unknown"}, str(tmp_path)) is None
    fill(small_disk / "ballast")
    proof = silent_disk({"kind": "unknown"}, str(small_disk / "not" / "there"))
    assert proof is not None
    assert proof.kind == "disk_full"
    assert silent_disk({"kind": "code_error"}, str(small_disk)) is None
    until(lambda: [path.name for path in small_disk.iterdir()] == ["ballast"])
