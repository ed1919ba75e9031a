"""Locks: one holder, inherited on purpose, free when the last holder is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_host import until

from jobs.errors import DiskError
from jobs.lease import holding, is_held, take

SLEEP = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def path(hostile_path: Path) -> str:
    return str(hostile_path / "below" / "a.lock")


def test_one_holder_at_a_time(path: str) -> None:
    first = take(path)
    assert first is not None
    assert take(path) is None
    assert is_held(path)
    os.close(first)
    assert not is_held(path)
    second = take(path)
    assert second is not None
    os.close(second)


def test_asking_takes_nothing(path: str) -> None:
    assert not is_held(path)
    assert not Path(path).exists()


def test_an_unlinked_lock_file_admits_no_second_holder_to_the_new_one(path: str) -> None:
    """Injected: the lock file removed between open and lock, 200 times by another process. Two holders: never."""
    code = "import sys; from jobs.lease import take; import os\n"
    code += "for _ in range(200):\n  fd = take(sys.argv[1], wait=True)\n  os.unlink(sys.argv[1])\n  os.close(fd)"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", code, path], cwd=root) as remover:
        while remover.poll() is None:
            descriptor = take(path)
            if descriptor is not None:
                assert os.fstat(descriptor).st_ino == Path(path).stat().st_ino
                os.close(descriptor)
    assert remover.returncode == 0


def test_waiting_ends_when_the_holder_lets_go(path: str) -> None:
    code = "import sys, os; from jobs.lease import take; fd = take(sys.argv[1]); print('held', flush=True); input()"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        assert take(path) is None
        holder.stdin.close()
        descriptor = take(path, wait=True)
        assert descriptor is not None
        os.close(descriptor)


def test_a_child_that_inherits_holds_on_after_its_parent(path: str) -> None:
    """Injected: the first holder closes. Lost: nothing; the lock is free only when the child is killed."""
    descriptor = take(path)
    assert descriptor is not None
    with subprocess.Popen(SLEEP, pass_fds=[descriptor], stdin=subprocess.PIPE) as child:
        os.close(descriptor)
        assert is_held(path)
        child.send_signal(signal.SIGKILL)
        until(lambda: not is_held(path), what="the lock is free")


def test_other_children_do_not_inherit(path: str) -> None:
    descriptor = take(path)
    assert descriptor is not None
    with subprocess.Popen(SLEEP, close_fds=False, stdin=subprocess.PIPE) as child:
        os.close(descriptor)
        until(lambda: not is_held(path), what="the child has become its program")
        assert child.stdin is not None
        child.stdin.close()


def test_taking_renews_the_date(path: str) -> None:
    """Cleaners of /var/tmp go by age: a lock that is taken daily must not look 40 days old."""
    os.close(take(path) or 0)
    old = time.time() - 40 * 86400
    os.utime(path, (old, old))
    with holding(path):
        assert Path(path).stat().st_mtime > time.time() - 60


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        take(str(tmp_path / "file" / "lock"))


def test_the_block_is_held_and_then_free(path: str) -> None:
    with holding(path):
        assert is_held(path)
    assert not is_held(path)
