"""The VS Code step: planned in words, done, undone, purged after a look at the list; over a real agent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from standins.vscode_home import install, kept, machines, personal

from jobs.elf import here
from jobs.errors import OrchError
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments
from setup import vscode
from setup.steps import apply, due, plan

OTHER = "aarch64" if here() == "x86_64" else "x86_64"


@pytest.fixture
def home(hostile_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which VS Code was used from a host with another processor."""
    monkeypatch.setenv("HOME", str(hostile_path))
    personal(hostile_path / ".vscode-server")
    install(hostile_path / ".vscode-server", OTHER, extensions=("b.b", "A.a"))
    return hostile_path


@pytest.fixture
def wire(home: Path) -> Iterator[Wire]:
    """A wire to an agent that has that home."""
    with Wire(ProcessPipe("here", boot_arguments(sys.executable))) as found:
        yield found


def test_planned_done_again_undone(wire: Wire, home: Path) -> None:
    folder, before = home / ".vscode-server", kept(home)
    planned = vscode.check(wire)
    assert planned.moves == 5 and not planned.refusal
    assert f"for {OTHER} as {folder}.{OTHER}" in planned.text and "the list of 2 extensions" in planned.text
    done = vscode.reset(wire)
    assert done["changed"] and done["extensions"] == ["A.a", "b.b"] and machines(folder) == set()
    assert vscode.check(wire) == (0, "nothing to do: the server fits, or there is none", "")
    assert not vscode.reset(wire)["changed"]
    assert vscode.undo(wire)["changed"] and machines(folder) == {OTHER} and kept(home) == before
    assert not vscode.undo(wire)["changed"]


def test_a_refusal_stands_in_the_plan(wire: Wire, home: Path) -> None:
    program = home / ".vscode-server/cli/servers/Stable-x/server/node"
    program.parent.mkdir(parents=True)
    shutil.copy2(shutil.which("sleep") or "", program)
    process = subprocess.Popen([str(program), "60"])
    try:
        assert f"process {process.pid}" in vscode.check(wire).refusal
        with pytest.raises(OrchError, match="is alive on"):
            vscode.reset(wire)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_it_is_a_step_of_the_setup(wire: Wire, home: Path) -> None:
    said: list[str] = []

    def tell(name: str, line: str) -> None:
        said.append(f"{name}: {line}")

    step, before = vscode.step(wire), kept(home)
    assert step.weigh and step.undo and step.weigh() is None
    (done,) = apply(plan([step]), tell)
    assert done.state.done and any('"b.b"' in line for line in said)
    assert due(plan([step])) == []
    assert step.weigh() and step.undo(tell) == "brought back" and kept(home) == before
    forced = vscode.step(wire, force=True)
    apply(plan([forced]), tell)
    assert machines(home / ".vscode-server") == set() and kept(home) == before and due(plan([forced])) == []


def test_purge_shows_bytes_and_asks(wire: Wire, home: Path) -> None:
    vscode.reset(wire)
    seen: list[str] = []

    def ask(answer: bool) -> Any:
        def agree(rows: Sequence[Mapping[str, Any]]) -> bool:
            seen.append(vscode.listed(rows))
            return answer

        return agree

    assert vscode.purge(wire, 30, ask(True)) == {"bytes": 0, "paths": []} and seen == [], "nothing is that old"
    assert vscode.purge(wire, 0, ask(False)) == {"bytes": 0, "paths": []}
    assert (home / f".vscode-server.{OTHER}").exists() and f".vscode-server.{OTHER}" in seen[0] and "in all" in seen[0]
    assert vscode.purge(wire, 0, ask(True))["bytes"] > 0
    assert not (home / f".vscode-server.{OTHER}").exists() and (home / ".vscode-server/data/machineid").exists()


def test_the_lines_for_the_laptop_are_json() -> None:
    text = vscode.install_path_block(["nodal", "grace"], "/scratch/me/")
    value = json.loads("{" + text.rstrip(",") + "}")
    assert value == {"remote.SSH.serverInstallPath": {"nodal": "/scratch/me/nodal", "grace": "/scratch/me/grace"}}
    assert json.loads("{" + vscode.extensions_block(["b", "A"])[:-1] + "}") == {
        "remote.SSH.defaultExtensions": ["A", "b"]
    }
