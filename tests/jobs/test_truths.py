"""All truths of this machine over a real wire: measured, plain JSON, quick; a detached process really tried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_host import until
from standins.vscode_home import install, kept, machines, personal

from jobs import survivor, truths
from jobs.elf import here
from jobs.errors import OrchError, UsageError
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments

OTHER = "aarch64" if here() == "x86_64" else "x86_64"


@pytest.fixture
def home(hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, hostile; locks and traces lie elsewhere."""
    monkeypatch.setenv("HOME", str(hostile_path))
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    return hostile_path


@pytest.fixture
def wire(home: Path) -> Iterator[Wire]:
    """A wire to a real agent, without any orch home."""
    with connect() as found:
        yield found


def connect() -> Wire:
    return Wire(ProcessPipe("here", boot_arguments(sys.executable)))


def test_every_truth_is_measured_and_nothing_is_left(wire: Wire, home: Path) -> None:
    started = time.monotonic()
    told = wire.call("truths", home="~/.orch", plant=False)
    assert time.monotonic() - started < 15
    assert told["home"] == str(home / ".orch")
    assert {name: answer["error"] for name, answer in told["truths"].items() if "error" in answer} == {}
    assert set(told["truths"]) >= {
        "machine",
        "home_write",
        "local_locks",
        "shell",
        "conda",
        "slurm",
        "vscode",
        "survivor",
    }
    assert told["truths"]["machine"]["value"]["machine"] == os.uname().machine
    assert told["truths"]["home_write"]["value"]["error"] is None
    assert told["truths"]["survivor"]["value"] == {"state": "not tried"}
    assert list(home.iterdir()) == []


def test_a_detached_process_outlives_its_connection(home: Path) -> None:
    with connect() as wire:
        wire.call("truths")
        assert survivor.outcome()["state"] == "waits"
    until(lambda: survivor.outcome()["state"] == "survived", 20, "it outlived the connection")
    with connect() as wire:
        found = wire.call("survived")
        assert found["survived"] >= survivor.AFTER
        wire.call("truths")
        assert survivor.outcome()["pid"] == found["pid"], "tried once a boot"


def test_one_that_is_killed_with_its_connection_is_seen(home: Path) -> None:
    with connect() as wire:
        wire.call("truths")
        pid = survivor.outcome()["pid"]
        os.kill(pid, signal.SIGKILL)  # what logind does
    until(lambda: survivor.outcome()["state"] == "killed", 20)


def test_somebody_else_on_the_card_is_named(program: Callable[[str, str], Path], wire: Wire) -> None:
    mine, other = os.getpid(), 1
    lines = f"GPU-7, {mine}, 100, python\\nGPU-7, {other}, 20900, /opt/abaqus/standard\\nGPU-7, 4194303, [N/A], x\\n"
    program("nvidia-smi", f"#!/bin/sh\nprintf '{lines}'\n")
    if os.getuid() == 0:
        sleeper = subprocess.Popen(["sleep", "60"], user=65534)
        lines = lines.replace(f" {other},", f" {sleeper.pid},")
        program("nvidia-smi", f"#!/bin/sh\nprintf '{lines}'\n")
    found = truths.gpu_load()
    if os.getuid() == 0:
        sleeper.kill()
        sleeper.wait()
    assert [(one["program"], one["memory_mb"], one["foreign"]) for one in found] == [
        ("python", 100, False),
        ("standard", 20900, True),
        ("x", None, True),
    ]
    assert found[2]["user"] is None


def test_vs_code_is_reset_and_purged_over_the_wire(wire: Wire, home: Path) -> None:
    folder = home / ".vscode-server"
    personal(folder)
    install(folder, OTHER)
    before = kept(home)
    (look,) = wire.call("vscode_look", sizes=True)["folders"]
    assert look["state"] == "foreign" and look["bytes"] > 0 and len(look["moves"]) == 5
    (done,) = wire.call("vscode_reset")["folders"]
    assert "extensions" in done["parked"] and machines(folder) == set() and kept(home) == before
    (row,) = wire.call("vscode_shelves")["shelves"]
    with pytest.raises(UsageError, match="no VS Code server folder of yours"):
        wire.call("vscode_purge", agreed=[{**row, "folder": "/etc"}])
    with pytest.raises(OrchError, match="has changed"):
        wire.call("vscode_purge", agreed=[{**row, "bytes": 1}])
    assert wire.call("vscode_purge", agreed=[row]) == {"bytes": row["bytes"], "paths": [row["path"]]}
    assert (folder / "data/machineid").exists() and not Path(row["path"]).exists()
