"""The step that links VS Code's folder to the host's own disk, over a real agent; and the lines for the laptop."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from standins.vscode_home import install, kept, personal

from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments
from setup import vscode_local
from setup.site import Host
from setup.steps import apply, due, plan


def test_the_step_is_done_once_and_undone(hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(hostile_path))
    folder, said = hostile_path / ".vscode-server", list[str]()
    personal(folder)
    install(folder, "x86_64", extensions=("b.b",))
    before = kept(hostile_path)
    with Wire(ProcessPipe("here", boot_arguments(sys.executable))) as wire:
        step = vscode_local.step(wire, str(tmp_path))
        assert not vscode_local.is_wanted(wire, str(tmp_path)) and step.weigh and step.weigh() is None
        assert f"becomes {folder}.shared" in plan([step])[0].state.text
        apply(plan([step]), lambda name, line: said.append(line))
        assert '"b.b"' in said[0] and folder.is_symlink()
        assert due(plan([step])) == [] and vscode_local.is_wanted(wire, str(tmp_path))
        assert step.weigh() and step.undo and "is back" in step.undo(print)
    assert kept(hostile_path) == before and not folder.is_symlink()


def test_the_disk_is_the_one_that_all_hosts_of_the_home_name() -> None:
    hosts = [Host(name, ssh=name, shared_home="lab", scratch="/scratch") for name in ("nodal", "grace")]
    assert vscode_local.base_of(hosts[0], hosts) == "/scratch"
    assert vscode_local.base_of(hosts[0], [*hosts, Host("ada", ssh="ada", shared_home="lab")]) == "/var/tmp"


def test_the_lines_for_the_laptop() -> None:
    value = json.loads("{" + vscode_local.laptop_block(["a", "b"], "/scratch", "me").rstrip(",") + "}")
    paths = {"a": "/scratch/me/a", "b": "/scratch/me/b"}
    assert value == {"remote.SSH.serverInstallPath": paths, "remote.SSH.lockfilesInTmp": True}
