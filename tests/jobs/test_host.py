"""This machine and its processes, as evidence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_host import until

from jobs import host, stop
from jobs.folder import HostFolder, RunFolder

ODD_NAME = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"a) S\\n1 (b", 0, 0, 0)
print("up", flush=True)
sys.stdin.read()
"""


def test_a_process_is_known_by_id_and_start(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        started = host.start_time(child.pid)
        assert started and started >= (host.start_time(os.getpid()) or 0)
        assert host.is_alive(child.pid, started)
        assert not host.is_alive(child.pid, started + 1)
        child.kill()
        until(lambda: not host.is_alive(child.pid, started), what="a zombie is not alive")
    assert host.start_time(child.pid) is None
    assert not host.is_alive(child.pid, None)


def test_a_process_of_any_name_is_read_right() -> None:
    """A program may give itself a name with brackets and line ends; nobody's scan may fall over it."""
    with subprocess.Popen([sys.executable, "-c", ODD_NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == b"up\n"
        assert child.pid in host.descendants(os.getpid())
        assert host.is_alive(child.pid, host.start_time(child.pid))
        child.stdin.close()


def test_descendants_are_the_whole_tree() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sh -c 'sleep 60; :' & sleep 60; :"]) as child:
        until(lambda: len(host.descendants(child.pid)) == 3)
        found = host.descendants(child.pid)
        assert os.getpid() not in found
        for pid in [child.pid, *found]:
            os.kill(pid, 9)


def test_holders_of_a_file_are_found_after_it_is_gone(hostile_path: Path) -> None:
    path = hostile_path / "file"
    with path.open("w"):
        assert os.getpid() in host.holders(str(path))
        path.unlink()
        assert os.getpid() in host.holders(str(path))
    assert host.holders(str(path)) == []


def test_variables_are_those_of_the_start(hostile_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={"ORCH_RUN": str(hostile_path)}) as child:
        until(lambda: host.has_variable(child.pid, "ORCH_RUN", str(hostile_path)))
        assert not host.has_variable(child.pid, "ORCH_RUN", str(hostile_path) + "x")
        assert not host.has_variable(child.pid, "RCH_RUN", str(hostile_path))
        child.kill()


def test_this_boot_has_an_identity() -> None:
    assert len(host.boot_id()) == 36
    assert host.name()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", 30.0),
        ("{", 30.0),
        ("[]", 30.0),
        ("{}", 30.0),
        ('{"grace": 2}', 2.0),
        ('{"grace": -1}', 0.0),
        ('{"grace": "2"}', 30.0),
        ('{"grace": NaN}', 30.0),
        ('{"grace": 1e999}', 30.0),
    ],
)
def test_the_grace_of_a_stop_request(folder: RunFolder, text: str | None, seconds: float | None) -> None:
    Path(folder.path).mkdir(parents=True)
    if text is not None:
        Path(folder.stop).write_text(text)
    assert stop.grace_of(folder) == seconds


def test_a_stop_can_be_asked_for_on_a_full_disk(small_disk: Path) -> None:
    from local_host import fill

    folder = RunFolder(str(small_disk))
    fill(small_disk / "filler")
    assert stop.ask(folder, "somebody", 3.0)
    assert not stop.ask(folder, "somebody", 3.0)
    assert stop.grace_of(folder) == 30.0


def test_nobody_is_signalled_for_an_attempt_that_is_not_there(folder: RunFolder, local: HostFolder) -> None:
    assert not stop.wake(folder, local)
    (Path(local.path) / "locks").mkdir()
    for text in ("", "{", "[]", '{"watcher": [1, 1], "job": [1, 1]}', '{"watcher": 3}'):
        Path(local.attempt_lock(folder)).write_text(text)
        assert not stop.wake(folder, local)
