"""Host-local locks (flock): held by descriptor, inherited by children on purpose, free when the last holder is gone.

An unlinked lock file would admit a second holder, so the inode is compared after locking.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Iterator, Optional

from .errors import DiskError, disk_error


def take(path: str, wait: bool = False) -> Optional[int]:
    """Lock a file and return its descriptor, or None when another holds it.

    Parameters
    ----------
    path:
        Lock file on local disk; created when missing (the group may read it, where the umask lets it).
    wait:
        Wait until it is free.

    Raises
    ------
    DiskError
        The file cannot be made, or the file system has no locks.
    """
    import fcntl  # not on Windows, where nothing is locked

    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
            continue
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            text = "cannot lock {}: {}".format(path, error.strerror)
            raise DiskError(text, "set ORCH_LOCAL to a folder on a local disk") from error
        try:
            current = is_current(descriptor, path)
        except OSError as error:
            os.close(descriptor)
            raise disk_error(error, path) from error
        if current:
            with contextlib.suppress(OSError):  # a date is no reason to do without the lock
                os.utime(descriptor)  # cleaners of /var/tmp go by age, and locking changes no date
            return descriptor
        os.close(descriptor)


def is_held(path: str) -> bool:
    """Tell whether anybody holds the lock, without taking it from a later taker (a shared lock for an instant)."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def holding(path: str) -> Iterator[int]:
    """Hold a lock for a block, waiting for it first."""
    descriptor = take(path, wait=True)
    try:
        yield descriptor  # type: ignore[misc]  # waiting never returns None
    finally:
        os.close(descriptor)  # type: ignore[arg-type]


def is_current(descriptor: int, path: str) -> bool:
    """Tell whether a path still names the file that is open: a lock on another one holds nobody back.

    Raises
    ------
    OSError
        The disk does not say.
    """
    try:
        there = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
