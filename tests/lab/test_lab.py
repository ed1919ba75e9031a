"""The lab is what it says: three hosts, two processors, one home, faults that act, and nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.cluster import USER, Lab


def ssh(host: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-o", "BatchMode=yes", *options, host, command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_nodal_is_a_host_of_its_own(lab: Lab) -> None:
    told = ssh("nodal", "uname -m; hostname; id -un; cat /proc/sys/kernel/random/boot_id").stdout.split()
    assert told[:3] == ["x86_64", "nodal", USER]
    assert told[3] != Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert lab["nodal"].run("hostname").stdout == "nodal\n"
    assert lab["nodal"].run("id", "-un", user=USER).stdout == f"{USER}\n"


@pytest.mark.usefixtures("needs_arm")
def test_grace_is_an_aarch64_host_and_refuses_programs_of_the_other_processor(lab: Lab) -> None:
    assert ssh("grace", "uname -m").stdout == "aarch64\n"
    foreign = lab.user_home / "foreign"
    shutil.copy("/bin/true", foreign)
    tried = ssh("grace", "~/foreign")
    assert (tried.returncode, "Exec format error" in tried.stderr) == (126, True)
    assert ssh("nodal", "~/foreign").returncode == 0, "the same file of the shared home"
    assert lab["grace"].run("hostname").stdout == "grace\n"
    foreign.unlink()


@pytest.mark.usefixtures("needs_arm")
def test_ada_is_reached_through_nodal(lab: Lab) -> None:
    before = lab["nodal"].connections, lab["ada"].connections
    assert ssh("inner-ada", "hostname").stdout == "ada\n"
    assert (lab["nodal"].connections, lab["ada"].connections) == (before[0] + 1, before[1] + 1)


def test_each_host_has_its_own_cards(lab: Lab) -> None:
    asked = "nvidia-smi --query-gpu=driver_version,compute_cap,name --format=csv,noheader,nounits"
    assert ssh("nodal", asked).stdout == "545.23.08, 8.6, NVIDIA A10\n"
    lab["nodal"].gpu({"index": 0, "uuid": "GPU-1", "name": "NVIDIA A10"}, driver="580.1")
    assert ssh("nodal", asked).stdout == "580.1, [N/A], NVIDIA A10\n"


def test_faults_act_and_go(lab: Lab) -> None:
    nodal, quick = lab["nodal"], ("-o", "ConnectTimeout=1")
    nodal.cut()
    assert "timed out" in ssh("nodal", "true", *quick).stderr
    nodal.heal()
    assert ssh("nodal", "true").returncode == 0
    nodal.refuse()
    assert "refused" in ssh("nodal", "true").stderr
    nodal.heal()
    nodal.drop(20)
    nodal.slow(500)
    assert ssh("nodal", "true").returncode == 0


def test_a_host_without_power_comes_back_with_its_disk_and_another_boot(lab: Lab) -> None:
    ask = "cat /proc/sys/kernel/random/boot_id; cat /var/tmp/kept; cat /tmp/lost"
    ssh("nodal", "echo kept > /var/tmp/kept; echo lost > /tmp/lost")
    before = ssh("nodal", ask).stdout.split()
    lab["nodal"].kill()
    lab.repair()
    after = ssh("nodal", ask).stdout.split()
    assert (before[1:], after[1:]) == (["kept", "lost"], ["kept"])
    assert before[0] != after[0]


def test_sessions_can_be_ended(lab: Lab) -> None:
    with subprocess.Popen(["ssh", "nodal", "echo up; sleep 60"], stdout=subprocess.PIPE) as session:
        assert session.stdout and session.stdout.readline() == b"up\n"
        lab["nodal"].end_sessions()
        assert session.wait(20) == 255
    assert ssh("nodal", "true").returncode == 0
