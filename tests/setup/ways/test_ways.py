"""Each way under the suite that every way passes: this machine, a folder that plays a host, and real sshd."""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import Lab
from way_suite import WaySuite

from jobs.errors import AccessError, NotFound, Unreachable, UsageError, WireError
from jobs.wire import Wire
from setup.site import Host
from setup.ways import open_pipe

_numbers = itertools.count()


def fresh_home() -> str:
    """A home on the lab's hosts that is as bad as they come."""
    return f'~/it\'s "home" & voilà; 50% $HOME {next(_numbers)}'


class TestLocal(WaySuite):
    @pytest.fixture
    def host(self, hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
        monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
        return Host("local", home=str(hostile_path / "home"))


class TestFake(WaySuite):
    @pytest.fixture
    def host(self, hostile_path: Path) -> Host:
        return Host("grace", address=str(hostile_path), way="fake", home="~/orch home")

    def fault(self, host: Host, **what: object) -> None:
        Path(str(host.address), "fault.json").write_text(json.dumps(what))

    def test_everything_of_it_lies_in_the_folder(self, host: Host) -> None:
        with self.open(host):
            assert self.about["home"] == f"{host.address}/orch home"
        assert {path.name for path in Path(str(host.address)).iterdir()} == {"orch home", "local"}

    @pytest.mark.parametrize(
        ("error", "kind"),
        [("unreachable", Unreachable), ("refused", AccessError), ("unknown key", AccessError)],
    )
    def test_it_fails_as_it_is_told(self, host: Host, error: str, kind: type[Exception]) -> None:
        self.fault(host, error=error)
        with pytest.raises(kind, match="grace"):
            self.wire(host)

    def test_it_prints_and_breaks_off_as_it_is_told(self, host: Host) -> None:
        self.fault(host, prints="Welcome to 'grace'\n")
        with self.open(host):
            pass
        self.fault(host, breaks_after=3000)
        with pytest.raises(Unreachable, match="the connection to grace broke off"), self.open(host) as wire:
            for _ in range(20):
                wire.call("probe")

    def test_a_folder_or_a_fault_that_makes_no_sense_is_named(self, host: Host, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="which is not there"):
            open_pipe(Host("x", address=str(tmp_path / "none"), way="fake"))
        Path(str(host.address), "fault.json").write_text("{")
        with pytest.raises(UsageError, match="is not JSON"):
            open_pipe(host)


class RemoteSuite(WaySuite):
    """Over real sshd."""

    way = ""

    def at(self, alias: str) -> Host:
        return Host(alias, ssh=alias, way=self.way, home=fresh_home())

    @pytest.fixture
    def host(self, lab: Lab) -> Host:
        return self.at("nodal")

    def test_one_contact_is_one_connection(self, lab: Lab, host: Host) -> None:
        before = lab["nodal"].connections
        with self.open(host) as wire:
            for _ in range(10):
                wire.call("probe")
        assert lab["nodal"].connections == before + 1

    def test_there_is_no_terminal_and_nothing_is_left(self, lab: Lab, host: Host) -> None:
        before = self.processes(lab)
        with self.open(host):
            terminals = lab["nodal"].run("ls", "/dev/pts").stdout.split()
            agents = lab["nodal"].run("pgrep", "-u", "alice", "-a", "python3").stdout
        assert terminals == ["ptmx"]
        assert agents.count("\n") == 1
        assert self.processes(lab) <= before

    def processes(self, lab: Lab) -> set[str]:
        told = lab["nodal"].run("pgrep", "-u", "alice", "-a", check=False).stdout
        return {line for line in told.splitlines() if "sshd" not in line}

    def test_keys_and_configuration_are_never_written(self, lab: Lab, host: Host) -> None:
        def content(folder: Path) -> dict[str, bytes]:
            return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

        before = content(lab.keys), content(lab.user_home / ".ssh")
        with self.open(host):
            pass
        assert (content(lab.keys), content(lab.user_home / ".ssh")) == before
        secret = (lab.keys / "id").read_text().splitlines()[2]
        files = [path for path in lab.user_home.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if secret in path.read_text(errors="replace")] == []

    @pytest.mark.usefixtures("needs_arm")
    def test_another_processor_behind_a_jump_host(self, lab: Lab) -> None:
        before = lab["nodal"].connections, lab["ada"].connections
        with self.wire(self.at("inner-ada")) as wire:
            facts = wire.call("probe")
        assert (facts["hostname"], facts["machine"]) == ("ada", "aarch64")
        assert (lab["nodal"].connections, lab["ada"].connections) == (before[0] + 1, before[1] + 1)

    def test_an_address_in_place_of_an_alias(self, lab: Lab) -> None:
        self.configure(lab, lab.block("*", "%h"))
        host = Host("gpu", address=lab["nodal"].address, user="alice", port=22, way=self.way)
        with self.wire(host) as wire:
            assert wire.call("probe")["hostname"] == "nodal"

    def configure(self, lab: Lab, text: str) -> None:
        Path(lab.ssh_config).write_text(text)

    # --- Start-up files and Pythons

    @pytest.fixture
    def start_up(self, lab: Lab) -> Iterator[Path]:
        path = lab.user_home / ".bashrc"
        yield path
        path.unlink()

    @pytest.mark.parametrize(
        "text", ["echo Welcome; printf 'no end'; echo oh >&2", "head -c 100000 /dev/urandom; false"]
    )
    def test_a_start_up_file_may_print(self, start_up: Path, host: Host, text: str) -> None:
        start_up.write_text(text)
        with self.wire(host) as wire:
            assert wire.call("probe")["hostname"] == "nodal"

    def test_a_start_up_file_that_prints_and_exits_is_named(self, start_up: Path, host: Host) -> None:
        start_up.write_text("echo 'module: command not found'\nexit 1\n")
        with pytest.raises(
            WireError, match=r"nodal ended with status 1 .* it printed: module: command not found"
        ) as caught:
            self.wire(host)
        assert "~/.bashrc" in caught.value.hint

    def test_a_python_of_another_processor_in_path_is_not_taken(self, start_up: Path, lab: Lab, host: Host) -> None:
        fake = lab.user_home / "conda/bin/python3"
        fake.parent.mkdir(parents=True, exist_ok=True)
        fake.write_bytes(b"\x7fELF nothing that runs")
        fake.chmod(0o755)
        start_up.write_text("export PATH=$HOME/conda/bin:$PATH\n")
        with self.wire(host) as wire:
            assert wire.call("probe")["executable"] == "/usr/bin/python3"

    OLD = """#!/bin/sh
# A Python 3.8, as far as our program can tell.
for last; do :; done
exec /usr/bin/kept -I -B -c "import sys
sys.version_info, sys.version, sys.executable = (3, 8, 10, 'final', 0), '3.8.10 (default)', '/usr/bin/python3'
$last"
"""

    @pytest.fixture
    def pythons(self, lab: Lab) -> Iterator[Path]:
        """/usr/bin of nodal, whose Pythons are put away (under a name that nobody looks for)."""
        folder = lab["nodal"].root / "usr/bin"
        found = {path: path.readlink() if path.is_symlink() else None for path in folder.glob("python3*")}
        real = next(path for path, link in found.items() if link is None and "-" not in path.name)
        real.rename(folder / "kept")
        for path in [path for path, link in found.items() if link]:
            path.unlink()
        yield folder
        (folder / "python3").unlink(missing_ok=True)
        (folder / "kept").rename(real)
        for path, link in found.items():
            if link:
                path.symlink_to(link)

    def test_no_python_is_said(self, pythons: Path, host: Host) -> None:
        with pytest.raises(WireError, match=r"nodal has no Python 3\.9 or newer$") as caught:
            self.wire(host)
        assert "orch setup --host nodal" in caught.value.hint

    def test_an_old_python_is_named(self, pythons: Path, host: Host) -> None:
        self.old_python(pythons)
        with pytest.raises(WireError, match=r"no Python 3\.9 or newer: /usr/bin/python3 is 3\.8\.10"):
            self.wire(host)

    def test_a_provisioned_python_stands_in_for_an_old_one(self, pythons: Path, lab: Lab, host: Host) -> None:
        self.old_python(pythons)
        folder = lab.user_home / str(host.home)[2:] / "envs/x86_64/0123/bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to("/usr/bin/kept")
        with self.wire(host) as wire:
            assert wire.call("probe")["hostname"] == "nodal"

    def old_python(self, pythons: Path) -> None:
        (pythons / "python3").write_text(self.OLD)
        (pythons / "python3").chmod(0o755)

    # --- The network

    def test_a_slow_and_lossy_link_costs_time_only(self, lab: Lab, host: Host) -> None:
        """Injected: 5 % of packets lost, 2 Mbit/s. Lost: nothing."""
        lab["nodal"].drop(5)
        lab["nodal"].slow(2000)
        with self.open(host) as wire:
            for number in range(5):
                wire.call("note", sweep="s", job=None, kind="note", text=str(number) * 1000)
            assert len(self.notes(wire)) == 5

    def test_a_host_that_is_cut_off_is_unreachable(self, lab: Lab) -> None:
        self.configure(lab, lab.block("nodal", lab["nodal"].address, ConnectTimeout="1"))
        lab["nodal"].cut()
        with pytest.raises(Unreachable, match=r"nodal \(alice@10\.77\.0\.11\) does not answer: .*tim") as caught:
            self.wire(self.at("nodal"))
        assert "VPN" in caught.value.hint

    def test_a_host_without_sshd_is_unreachable(self, lab: Lab, host: Host) -> None:
        lab["nodal"].refuse()
        with pytest.raises(Unreachable, match="Connection refused"):
            self.wire(host)

    def test_an_address_without_a_route_is_unreachable(self, lab: Lab) -> None:
        self.configure(lab, lab.block("far", "10.99.0.1"))
        with pytest.raises(Unreachable, match="Network is unreachable"):
            self.wire(self.at("far"))

    def test_a_name_that_nobody_knows(self, lab: Lab) -> None:
        self.configure(lab, lab.block("far", "no-such-host.invalid"))
        with pytest.raises((NotFound, Unreachable), match="ame"):
            self.wire(self.at("far"))

    def test_a_connection_that_breaks_in_the_middle(self, lab: Lab, host: Host) -> None:
        with self.open(host) as wire:
            lab["nodal"].end_sessions()
            with pytest.raises(Unreachable, match="the connection to nodal broke off"):
                wire.call("probe")
        with self.open(host) as wire:
            wire.call("probe")


class TestProgram(RemoteSuite):
    way = "ssh"

    def test_a_configuration_that_cannot_be_read_is_named(self, lab: Lab, host: Host) -> None:
        self.configure(lab, "Host nodal\n  NoSuchOption yes\n")
        with pytest.raises(
            UsageError, match=r"line 2: Bad configuration option: nosuchoption|bad configuration options"
        ):
            self.wire(host)

    def test_a_master_connection_of_the_user_is_used(self, lab: Lab, host: Host) -> None:
        folder = tempfile.TemporaryDirectory()  # a socket's path must be short
        control = {"ControlMaster": "auto", "ControlPath": f"{folder.name}/%C", "ControlPersist": "20"}
        self.configure(lab, lab.block("nodal", lab["nodal"].address, **control))
        subprocess.run(["ssh", "nodal", "true"], check=True, stderr=subprocess.DEVNULL)
        before = lab["nodal"].connections
        for _ in range(3):
            with self.open(host) as wire:
                wire.call("probe")
        assert lab["nodal"].connections == before
        subprocess.run(["ssh", "-O", "exit", "nodal"], check=True, stderr=subprocess.DEVNULL)
        folder.cleanup()


class TestParamiko(RemoteSuite):
    way = "paramiko"

    def test_a_proxy_command_is_left_to_the_program(self, lab: Lab, host: Host) -> None:
        self.configure(lab, lab.block("nodal", lab["nodal"].address, ProxyCommand="nc %h %p"))
        with pytest.raises(UsageError, match="ProxyCommand") as caught:
            self.wire(host)
        assert "way: ssh" in caught.value.hint


def test_a_wire_may_be_opened_to_every_way_by_the_same_call(hostile_path: Path) -> None:
    with Wire(open_pipe(Host("local"))) as wire:
        assert wire.call("probe")["system"] == "Linux"
