"""A content-addressed folder: built once, by one process, whole or not at all, and then only read.

Builders take a lock beside the folder, so that of eight processes that start together one builds and seven wait. The
kernel frees the lock of a killed builder; the next one removes its half-built folder and builds again. The last step is
a rename, so a folder that has its final name is whole, even on a file system that refuses locks (there, two processes
may build the same content, and the first rename wins).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.atomic import sync_folder
from jobs.errors import disk_error

_BUILDING = ".building-"


def root() -> Path:
    """Return this user's cache: `ORCH_CACHE`, or `~/.cache/orch`."""
    found = os.environ.get("ORCH_CACHE")
    return Path(found) if found else Path.home() / ".cache" / "orch"


def obtain(folder: Path, build: Callable[[Path], None], whole: Callable[[Path], bool]) -> Path:
    """Return `folder`, built first if it is not there or not whole.

    Parameters
    ----------
    folder:
        Named after its content; folders above are made, readable by their owner only.
    build:
        Fills an empty folder; called in at most one process at a time.
    whole:
        Tells whether a folder's files are complete (a disk may have lost some).

    Raises
    ------
    DiskError
        The cache cannot be written.
    """
    if whole(folder):
        return folder
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder.with_name(folder.name + ".lock")) as alone:
            if not whole(folder):
                _build(folder, build, whole, alone)
    except OSError as error:
        raise disk_error(error, str(folder)) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None], whole: Callable[[Path], bool], alone: bool) -> None:
    if alone:  # whatever lies there is of a dead builder
        for rest in folder.parent.glob(f"{folder.name}{_BUILDING}*"):
            shutil.rmtree(rest, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=folder.name + _BUILDING, dir=folder.parent))  # mode 0700
    try:
        build(place)
        _sync(place)
        _publish(place, folder, whole)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _publish(place: Path, folder: Path, whole: Callable[[Path], bool]) -> None:
    """Give the new folder its name; a damaged one makes way, a whole one of another builder stays."""
    if folder.exists() and not whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        place.rename(folder)
    except OSError:
        if not whole(folder):
            raise
    sync_folder(str(folder.parent))


def _sync(place: Path) -> None:
    """Make the files outlive a power cut before the name does."""
    for path in place.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    sync_folder(str(place))


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock; yield False where the file system has none. The file is never deleted: others may wait on it."""
    import fcntl  # POSIX only, like the hosts

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
