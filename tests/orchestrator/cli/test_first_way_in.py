"""What is written and printed before anybody was let in: the site file of `orch init`, and `orch setup --show`."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.folder import Home
from orchestrator.config import Settings
from orchestrator.inventory import load_site
from orchestrator.sitewriting import write_site

from .conftest import Orch

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")
CONFIG = """
Include "{folder}/more"
Host nodal n*d !x
    HostName nodal.lab.example
    User alice
Host=grace "ada"
    HostName 10.0.0.%h
    ProxyJump nodal
    Port 2222
    UserKnownHostsFile {folder}/known
Host github.com
    User git
Host *
    UserKnownHostsFile {folder}/known
"""


@pytest.fixture
def here(tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, orch_home: Home) -> Path:
    """A project folder; the user's ssh configuration names some hosts, one of them in a file that it includes."""
    config, ssh = tmp_path / "ssh_config", shutil.which("ssh")
    config.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "more").write_text("Host included local\n  HostName 10.9.9.9\n")
    program("ssh", f'#!/bin/sh\nexec {ssh} -F {shlex.quote(str(config))} "$@"\n')
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    return folder


def test_init_takes_the_hosts_from_the_users_ssh(orch: Orch, here: Path) -> None:
    phantom = [str(here / "data"), "--cases", "4", "--size", "24"]
    from trainer.commands import main

    assert main(["phantom", *phantom]) == 0
    said = orch("init", str(here / "data"))
    assert said.code == 0, said.err
    assert "Hosts from your ssh config: nodal, grace, ada, included (shared home not checked yet" in said.out
    assert "Wrote orch.yaml, sweeps/augmentations.yaml and site.yaml." in said.out
    assert "next: orch doctor --all" in said.err
    site = load_site(Settings.of({}))
    assert [host.ssh for host in site.hosts.values() if not host.is_local] == ["nodal", "grace", "ada", "included"]
    assert "# alice@nodal.lab.example" in (here / "site.yaml").read_text()
    assert "10.0.0.grace:2222, through nodal" in (here / "site.yaml").read_text()


def test_a_site_file_is_never_written_over(here: Path, tmp_path: Path) -> None:
    (here / "site.yaml").write_text("# mine\n")
    assert write_site(here, Settings.of({})) == [] and (here / "site.yaml").read_text() == "# mine\n"


def test_show_ssh_prints_block_keys_and_fingerprint(orch: Orch, here: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "known").write_text("[10.0.0.grace]:2222 " + (tmp_path / "key.pub").read_text())
    (here / "orch.yaml").write_text("{}\n")
    (here / "site.yaml").write_text("hosts: {grace: {ssh: grace}, ada: {ssh: ada, user: bob}}\n")
    before = sorted(tmp_path.rglob("*"))
    said = orch("setup", "--host", "grace", "--show", "ssh")
    assert said.code == 0, said.err
    for line in ("Host grace", "    HostName 10.0.0.grace", "    Port 2222", "    ProxyJump nodal"):
        assert line in said.out.splitlines()
    assert "    ServerAliveInterval 30" in said.out and "Set-Clipboard" in said.out and "pbcopy" in said.out
    assert f"(ED25519)   confirmed earlier, in {tmp_path / 'known'}" in said.out
    unknown = orch("setup", "--host", "ada", "--show", "ssh")
    assert "User bob" in unknown.out and "ssh -o StrictHostKeyChecking=ask ada exit" in unknown.out
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def test_show_vscode_names_every_host_of_the_home(orch: Orch, here: Path) -> None:
    (here / "orch.yaml").write_text("{}\n")
    (here / "site.yaml").write_text(
        "user: alice\nhosts: {grace: {ssh: grace, shared_home: lab}, nodal: {ssh: nodal, shared_home: lab}}\n"
    )
    said = orch("setup", "--host", "grace", "--show", "vscode")
    value = json.loads("{" + said.out.strip().rstrip(",") + "}")
    paths = {"grace": "/var/tmp/alice/grace", "nodal": "/var/tmp/alice/nodal"}
    assert value["remote.SSH.serverInstallPath"] == paths
    assert orch("setup", "--show", "ssh").code == 2


@pytest.mark.usefixtures("here")
def test_setup_offers_the_link_and_never_takes_it_by_itself(orch: Orch) -> None:
    told = json.loads(orch("setup", "--cpu", "--yes", "--dry-run", "--json").out)
    assert "vscode-local" not in [step["step"] for step in told["steps"]]
    asked = json.loads(orch("setup", "--cpu", "--dry-run", "--vscode-local", "--json").out)
    assert asked["steps"][-1]["step"] == "vscode-local"
    assert not (Path.home() / ".vscode-server").exists()
