"""One writer at a time, by name: who waits too long learns whom for."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import OrchError, disk_error

WAIT = 20.0  # s a second writer waits; one batch of a big sweep takes about 1 s
_PAUSE = 0.02  # s between two tries
_WIDTH = 200  # bytes of the holder's name
_FAR = 1 << 20  # the byte that Windows locks: it lets nobody read what is locked, and the name must be readable


@contextmanager
def writer(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the writer's lock beside the index while a batch is written.

    The kernel frees it when the process ends, however it ends; the text in the file is for people only.

    Raises
    ------
    OrchError
        Another process held it all the time; the message names it.
    """
    handle = _open(path)
    try:
        _acquire(handle, path, wait)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise disk_error(error, str(path)) from error


def _acquire(handle: int, path: Path, wait: float) -> None:
    end = time.monotonic() + wait
    while not _try(handle):
        if time.monotonic() >= end:
            raise OrchError(
                f"the index is being written by another program ({_owner(handle)}), for more than {wait:g} s",
                "wait for it, or end it; then run the same command again: nothing is lost",
                lock=str(path),
            )
        time.sleep(_PAUSE)


def _try(handle: int) -> bool:
    """Lock the file or say that somebody else has; the modules differ, and each exists on its own system only."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise
        return False
    return True


def _sign(handle: int) -> None:
    """Write who holds the lock."""
    since = time.strftime("%H:%M:%S", time.gmtime())
    text = f"process {os.getpid()} on {socket.gethostname()}, since {since} UTC".encode()
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, text[:_WIDTH].ljust(_WIDTH))  # always as long: cutting the file would cost 0.2 ms


def _owner(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, _WIDTH).decode(errors="replace").strip() or "it gave no name"
