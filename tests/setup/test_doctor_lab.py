"""The doctor and the VS Code reset on real hosts: two processors, one home, sshd, one connection for each."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import Lab
from standins.vscode_home import install, kept, machines, personal

from jobs.errors import OrchError
from jobs.wire import Wire
from setup import vscode
from setup.examination import Examination, examine_all
from setup.rows import FOUND, NOTE, OK
from setup.site import Host
from setup.ways import open_pipe

HOSTS = [Host(name, ssh=name, shared_home="lab") for name in ("nodal", "grace", "ada")]
A10 = {"index": 0, "uuid": "GPU-1", "name": "NVIDIA A10", "memory.total": 23028}


def connect(host: Host) -> Wire:
    return Wire(open_pipe(host))


def checks(examination: Examination) -> dict[str, str]:
    return {row.check: row.state for row in examination.rows}


@pytest.fixture
def folder(lab: Lab) -> Iterator[Path]:
    """The lab user's server folder, in which x86_64 was last."""
    path = lab.user_home / ".vscode-server"
    personal(path)
    install(path, "x86_64", extensions=("ms-python.python",))
    owner = lab.user_home.stat()
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(path)], check=True)
    yield path
    for left in lab.user_home.glob(".vscode-server*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def test_one_host_is_examined_over_one_connection(lab: Lab) -> None:
    (first,) = examine_all(HOSTS[:1], connect)
    assert first.error is None and checks(first)["detached jobs"] == OK, "really tried over sshd"
    before = lab["nodal"].connections
    (again,) = examine_all(HOSTS[:1], connect)
    assert lab["nodal"].connections == before + 1
    assert checks(again)["machine"] == OK and checks(again)["gpu"] == OK


@pytest.mark.slow
@pytest.mark.usefixtures("needs_arm")
def test_all_three_are_measured_over_one_connection_each(lab: Lab) -> None:
    """How long it takes is told by `benchmarks/bench_hosts.py`."""
    examine_all(HOSTS, connect)  # plants what is looked for once a boot
    before = {host.name: lab[host.name].connections for host in HOSTS}
    found = examine_all(HOSTS, connect)
    assert {host.name: lab[host.name].connections - before[host.name] for host in HOSTS} == dict.fromkeys(before, 1)
    assert [checks(one)["detached jobs"] for one in found] == [OK] * 3


@pytest.mark.usefixtures("needs_arm")
def test_all_hosts_side_by_side_and_a_dead_one(lab: Lab) -> None:
    lab["ada"].cut()
    dead = Host("ada", ssh="ada", shared_home="lab")
    nodal, grace, ada = examine_all([*HOSTS[:2], dead], connect)
    assert ada.error and ada.rows[0].state == FOUND
    machines_found = [next(row.evidence for row in one.rows if row.check == "machine") for one in (nodal, grace)]
    assert machines_found[0].startswith("x86_64") and machines_found[1].startswith("aarch64")
    lab["ada"].heal()


@pytest.mark.usefixtures("needs_arm")
def test_nodal_grace_nodal_on_real_processors(lab: Lab, folder: Path) -> None:
    before = kept(lab.user_home)
    nodal, grace = HOSTS[0], HOSTS[1]
    assert [checks(one)["vs code"] for one in examine_all([nodal, grace], connect)] == [OK, FOUND]
    with connect(grace) as wire:
        assert "for x86_64 as" in vscode.check(wire).text
        assert vscode.reset(wire)["extensions"] == ["ms-python.python"]
        assert vscode.check(wire).moves == 0
    assert machines(folder) == set() and kept(lab.user_home) == before
    with connect(nodal) as wire:
        assert vscode.reset(wire)["changed"]
    assert machines(folder) == {"x86_64"} and kept(lab.user_home) == before


@pytest.mark.usefixtures("needs_arm")
def test_a_server_that_lives_on_its_host_is_not_touched(lab: Lab, folder: Path) -> None:
    program = folder / "cli/servers/Stable-x/server/node"
    program.parent.mkdir(parents=True)
    shutil.copy2(lab["grace"].root / "bin/sleep", program)
    program.chmod(0o755)
    words = ["ssh", "-o", "BatchMode=yes", "grace", "exec ~/.vscode-server/cli/servers/Stable-x/server/node 600"]
    session = subprocess.Popen(words)
    try:
        with connect(HOSTS[1]) as wire:
            deadline = time.monotonic() + 20
            while "is alive" not in vscode.check(wire).refusal and time.monotonic() < deadline:
                time.sleep(0.2)
            with pytest.raises(OrchError, match="alive on grace"):
                vscode.reset(wire)
        with connect(HOSTS[0]) as other:
            assert "is alive" not in vscode.check(other).refusal, "processes are seen on their own host only"
        assert session.poll() is None
    finally:
        session.kill()
        session.wait()


def test_a_card_in_foreign_use_and_a_shell_that_talks(lab: Lab) -> None:
    lab["nodal"].gpu(A10)
    rc = lab.user_home / ".bashrc"
    before = rc.read_text() if rc.exists() else ""
    rc.write_text("echo Welcome\n")
    try:
        (nodal,) = examine_all(HOSTS[:1], connect)
    finally:
        rc.write_text(before)
    assert nodal.error is None
    assert "NVIDIA A10" in next(row.evidence for row in nodal.rows if row.check == "gpu")
    assert checks(nodal)["shell"] == NOTE
