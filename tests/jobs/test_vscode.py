"""A home that two kinds of processor share: what VS Code left there is parked and brought back, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standins.vscode_home import COMMITS, elf, extend, install, kept, machines, personal, put

from jobs import parking, vscode
from jobs.elf import here, machine_of
from jobs.errors import NotFound, OrchError

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def folder(hostile_path: Path) -> Path:
    """The server folder of a home with a hostile name; NODAL (x86_64) was there last."""
    path = hostile_path / ".vscode-server"
    personal(path)
    install(path, "x86_64", extensions=("ms-python.python", "redhat.vscode-yaml"))
    return path


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs; those that still live are ended afterwards, and only those."""
    running: list[subprocess.Popen[bytes]] = []

    def go(*words: str | Path, **more: object) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen([str(word) for word in words], **more))  # type: ignore[call-overload]
        time.sleep(0.05)  # between fork and exec a child still has our program
        return running[-1]

    yield go
    for process in running:
        process.kill()
        process.wait()


def sleeper(path: Path) -> Path:
    """A real program of this machine that does nothing, under another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(shutil.which("sleep") or "", path)
    return path


# --- Looking ---------------------------------------------------------------------------------------------------------


def test_the_processor_stands_in_the_file(tmp_path: Path) -> None:
    assert machine_of(put(tmp_path / "x", elf("x86_64"))) == "x86_64"
    assert machine_of(put(tmp_path / "a", elf("aarch64"))) == "aarch64"
    assert machine_of(put(tmp_path / "s", "#!/bin/sh\n")) is None
    assert machine_of(put(tmp_path / "cut", elf("aarch64")[:12])) is None
    assert machine_of(put(tmp_path / "odd", elf("aarch64")[:18] + b"\xff\x00" + bytes(8))) == "elf-255"
    assert machine_of(tmp_path) is None
    assert machine_of(tmp_path / "none") is None
    os.mkfifo(tmp_path / "pipe")
    assert machine_of(tmp_path / "pipe") is None
    assert machine_of(sys.executable) == here()


@pytest.mark.parametrize(("machine", "state"), [("x86_64", "fits"), ("aarch64", "foreign"), ("arm64", "foreign")])
def test_a_look_says_what_fits(folder: Path, machine: str, state: str) -> None:
    seen = vscode.look(str(folder), machine)
    assert seen["state"] == state
    assert seen["extensions"] == ["ms-python.python", "redhat.vscode-yaml"]
    assert seen["alive"] == [] and seen["recent"] is None and seen["parked"] == []


def test_other_states(tmp_path: Path, folder: Path) -> None:
    assert vscode.look(str(tmp_path / "none"))["state"] == "absent"
    personal(tmp_path / "bare")
    assert vscode.look(str(tmp_path / "bare"))["state"] == "empty"
    install(folder, "aarch64")
    assert vscode.look(str(folder), "aarch64")["state"] == "mixed"
    put(tmp_path / "half" / f"code-{'c' * 40}", "")
    assert vscode.look(str(tmp_path / "half"))["state"] == "unknown"


def test_folders_are_found_by_what_they_left(folder: Path) -> None:
    home = folder.parent
    assert vscode.folders(str(home)) == [str(folder)]
    parking.reset(str(folder), "aarch64")
    shutil.rmtree(folder)
    assert vscode.folders(str(home)) == [str(folder)]
    assert vscode.folders(str(home / "other")) == []


# --- Nodal, grace, nodal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [COMMITS["x86_64"], COMMITS["aarch64"]], ids=["the same version", "another"])
def test_nodal_grace_nodal_loses_nothing(folder: Path, commit: str) -> None:
    before = kept(folder.parent)
    told = parking.reset(str(folder), "aarch64")
    assert machines(folder) == set()
    assert kept(folder.parent) == before
    assert told["extensions"] == ["ms-python.python", "redhat.vscode-yaml"]
    assert vscode.shelves(str(folder))[0].record["extensions"] == told["extensions"]
    assert (folder / "data/Machine/settings.json").exists() and not (folder / "extensions").exists()

    install(folder, "aarch64", commit, extensions=("ms-python.python",))  # GRACE: VS Code comes again
    both = kept(folder.parent)
    told = parking.reset(str(folder), "x86_64")
    assert machines(folder) == {"x86_64"}
    assert kept(folder.parent) == both
    assert {"extensions", f"code-{COMMITS['x86_64']}"} <= set(told["brought_back"])
    assert told["extensions"] == []
    assert [shelf.machine for shelf in vscode.shelves(str(folder))] == ["aarch64"]

    parking.reset(str(folder), "aarch64")  # and once more: two renames of each piece, no download
    assert machines(folder) == {"aarch64"}
    assert kept(folder.parent) == both


def test_the_second_call_does_nothing(folder: Path) -> None:
    nothing = {"parked": [], "brought_back": [], "extensions": [], "finished": 0}
    assert parking.reset(str(folder), "x86_64") == nothing
    parking.reset(str(folder), "aarch64")
    before = {path: path.stat().st_ctime_ns for path in folder.parent.rglob("*")}
    assert parking.reset(str(folder), "aarch64") == nothing
    assert {path: path.stat().st_ctime_ns for path in folder.parent.rglob("*")} == before


def test_only_pieces_of_the_other_processor_leave_a_mixed_folder(folder: Path) -> None:
    own = install(folder, "aarch64")
    told = parking.reset(str(folder), "aarch64")
    assert f"code-{own}" not in told["parked"] and len(told["parked"]) == 5
    assert "extensions" in told["parked"], "its native code is of the other processor"
    assert machines(folder) == {"aarch64"}


def test_extensions_of_both_processors_stay(folder: Path) -> None:
    put(folder / "extensions/rust-1-linux-arm64/x", "")
    assert "extensions" not in parking.reset(str(folder), "aarch64")["parked"]


def test_the_same_piece_parked_twice_is_kept_twice(folder: Path) -> None:
    parking.reset(str(folder), "aarch64")
    install(folder, "x86_64")
    put(folder / f"bin/{COMMITS['x86_64']}/extra", "new")
    before = kept(folder.parent)
    parking.reset(str(folder), "aarch64")
    assert sum(map(len, kept(folder.parent).values())) == sum(map(len, before.values()))
    assert parking.reset(str(folder), "x86_64")["brought_back"]
    assert sum(map(len, kept(folder.parent).values())) == sum(map(len, before.values()))


def test_a_linked_folder_is_parked_where_it_really_lies(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "scratch"
    folder.rename(real)
    folder.symlink_to(real)
    parking.reset(str(folder), "aarch64")
    assert (tmp_path / "scratch.x86_64" / f"code-{COMMITS['x86_64']}").exists()
    assert vscode.look(str(folder))["link"] == str(real)
    parking.reset(str(folder), "x86_64")
    assert machines(real) == {"x86_64"}


def test_force_puts_aside_what_fits_and_is_undone(folder: Path) -> None:
    put(folder / f"code-{'c' * 40}", "half a download")
    before = kept(folder.parent)
    told = parking.reset(str(folder), "x86_64", force=True)
    assert machines(folder) == set() and told["brought_back"] == []
    assert {shelf.machine for shelf in vscode.shelves(str(folder))} == {"replaced", "unknown"}
    assert kept(folder.parent) == before
    assert (folder / "data/User/globalStorage/state.vscdb").exists()
    parking.reset(str(folder), "replaced")
    assert machines(folder) == {"x86_64"}


def test_a_home_without_vscode_is_left_alone(tmp_path: Path) -> None:
    parking.reset(str(tmp_path / ".vscode-server"))
    assert list(tmp_path.iterdir()) == []


# --- Alive -----------------------------------------------------------------------------------------------------------


def test_a_living_server_is_not_touched(folder: Path, start: Start) -> None:
    program = sleeper(folder / "cli/servers/Stable-x/server/node")
    process = start(program, "60")
    assert vscode.alive(str(folder)) == [{"pid": process.pid, "program": str(program)}]
    before = kept(folder.parent)
    for force in (False, True):
        with pytest.raises(OrchError, match=f"alive on .*process {process.pid}") as caught:
            parking.reset(str(folder), "aarch64", force)
        assert f"kill {process.pid}" in caught.value.hint
    assert kept(folder.parent) == before and process.poll() is None
    assert parking.reset(str(folder), here())["parked"] == [], "it fits: nothing to refuse"


def test_a_script_of_the_server_counts_too(folder: Path, start: Start) -> None:
    script = put(folder / "bin/x/bin/code-server", "#!/bin/sh\nsleep 60; :\n", 0o755)
    process = start(script)
    assert {"pid": process.pid, "program": str(script)} in vscode.alive(str(folder))


def test_a_process_is_never_judged_by_its_name(folder: Path, start: Start, tmp_path: Path) -> None:
    node = sleeper(tmp_path / "elsewhere/node")
    dashboard, editor = start(node, "60"), start("tail", "-f", folder / "data/machineid")
    beside = start(sleeper(folder.parent / ".vscode-server-mine/node"), "60")
    assert vscode.alive(str(folder)) == []
    parking.reset(str(folder), "aarch64")
    assert [process.poll() for process in (dashboard, editor, beside)] == [None, None, None]


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root to be two users")
def test_the_server_of_somebody_else_is_not_ours(start: Start) -> None:
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        program = sleeper(Path(base) / ".vscode-server/bin/x/node")
        process = start(program, "60", user=65534)
        assert process.poll() is None
        assert vscode.alive(str(Path(base) / ".vscode-server")) == []


def test_a_fresh_log_may_be_of_a_server_on_another_host(folder: Path) -> None:
    log = folder / f".cli.{COMMITS['x86_64']}.log"
    os.utime(log)
    with pytest.raises(OrchError, match="may be alive on another host") as caught:
        parking.reset(str(folder), "aarch64")
    assert "--reset-vscode" in caught.value.hint
    log.write_text("code-aaa: cannot execute binary file: Exec format error\n", encoding="utf-8")
    assert vscode.recent(str(folder)) is None, "that is the failure itself, on this host"
    put(folder / "data/logs/20261123T061500/remoteagent.log", "")
    os.utime(folder / "data/logs/20261123T061500/remoteagent.log")
    assert vscode.recent(str(folder))
    assert parking.reset(str(folder), "aarch64", force=True)["parked"]


# --- Interrupted, side by side ---------------------------------------------------------------------------------------

KILLED_AT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from jobs import parking
left = int(sys.argv[4])
def count(event, arguments):
    global left
    if event in ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
sys.addaudithook(count)
parking.reset(sys.argv[2], sys.argv[3])
"""


def reset_apart(folder: Path, machine: str, killed_at: int = 0) -> subprocess.Popen[bytes]:
    """A reset in a process of its own, killed just before its n-th change of a name (0: never)."""
    words = [sys.executable, "-I", "-B", "-c", KILLED_AT, str(ROOT), str(folder), machine, str(killed_at)]
    return subprocess.Popen(words)


@pytest.mark.slow
def test_interrupted_at_every_change_of_a_name_it_goes_on(folder: Path, tmp_path: Path) -> None:
    parking.reset(str(folder), "aarch64")
    install(folder, "aarch64")
    before, step = kept(folder.parent), 0
    while True:
        step += 1
        home = tmp_path / f"home {step}"
        shutil.copytree(folder.parent, home, symlinks=True)
        if reset_apart(home / folder.name, "x86_64", step).wait(30) == 0:
            break
        assert set(kept(home)) == set(before), f"after {step} changes"
        parking.reset(str(home / folder.name), "x86_64")
        assert kept(home) == before, f"after {step} changes"
        assert machines(home / folder.name) == {"x86_64"}, f"after {step} changes"
        left = {path.name for path in home.iterdir() if "orch" in path.name}
        assert all(".orch-lock" in name for name in left), f"{left}: no more than the lock of a process that is gone"
        shutil.rmtree(home)
    assert step > 25, "it was killed at every rename"


def test_two_at_once_do_not_collide(folder: Path) -> None:
    install(folder, "aarch64")
    before = kept(folder.parent)
    for _ in range(3):
        running = [reset_apart(folder, machine) for machine in ("aarch64", "x86_64") * 2]
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]
        assert kept(folder.parent) == before
        assert len(machines(folder)) == 1


def test_an_interrupted_one_is_seen_and_finished_by_the_other_host(folder: Path) -> None:
    before = kept(folder.parent)
    assert reset_apart(folder, "aarch64", 12).wait(30) == -signal.SIGKILL
    assert vscode.look(str(folder))["unfinished"]
    told = parking.reset(str(folder), "x86_64")
    assert told["finished"] and machines(folder) == {"x86_64"} and kept(folder.parent) == before


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_home_is_named(folder: Path) -> None:
    folder.parent.chmod(0o500)
    with pytest.raises(OrchError, match="may not write"):
        parking.reset(str(folder), "aarch64")


# --- Purge -----------------------------------------------------------------------------------------------------------


def test_purge_deletes_what_was_listed_and_agreed_only(folder: Path) -> None:
    parking.reset(str(folder), "aarch64")
    (row,) = parking.sizes(str(folder))
    files = [path for path in Path(row["path"]).rglob("*") if path.is_file()]
    assert row["bytes"] == sum(path.stat().st_size for path in files) and row["files"] == len(files)
    assert row["machine"] == "x86_64" and row["extensions"]
    assert parking.sizes(str(folder), older_than=3600) == []
    mine = put(folder.parent / ".vscode-server.bak/thesis.tex", "mine")
    assert parking.purge(str(folder), [row])["paths"] == [row["path"]]
    assert not Path(row["path"]).exists() and mine.exists() and (folder / "data/machineid").exists()
    with pytest.raises(NotFound):
        parking.purge(str(folder), [row])


def test_purge_refuses_what_has_changed_since(folder: Path) -> None:
    parking.reset(str(folder), "aarch64")
    rows = parking.sizes(str(folder))
    put(Path(rows[0]["path"]) / "bin/new/node", elf("x86_64"))
    with pytest.raises(OrchError, match="has changed"):
        parking.purge(str(folder), rows)
    assert Path(rows[0]["path"], "extensions").exists()


def test_purge_follows_no_link(folder: Path, tmp_path: Path) -> None:
    precious = put(tmp_path / "precious/file", "x")
    shutil.rmtree(folder / "extensions")
    (folder / "extensions").symlink_to(precious.parent)
    parking.reset(str(folder), "aarch64")
    parking.purge(str(folder), parking.sizes(str(folder)))
    assert precious.exists()


def test_extensions_come_from_the_index(folder: Path) -> None:
    shutil.rmtree(folder / "extensions")
    assert vscode.extensions(str(folder)) == []
    extend(folder, "aarch64", ("b.b", "A.a"))
    assert vscode.extensions(str(folder)) == ["A.a", "b.b"]
    assert vscode.extension_machines(str(folder)) == {"aarch64"}
    put(folder / "extensions/extensions.json", '[1, {"identifier": 3}, {"metadata": null}]')
    assert vscode.extensions(str(folder)) == []
