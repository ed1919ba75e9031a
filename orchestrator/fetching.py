"""Files of run folders come to this machine: by offset, verified by hash, each once."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from jobs.errors import OrchError, disk_error

from .dispatch import Contact

PART = ".part"  # a file that is not whole yet; the next try goes on after it
SPARED = ("last.pt", "last.json")  # what only a training that goes on needs; fetched when it is asked for
BLOCK = 1 << 20  # bytes

Progress = Callable[[int], None]  # gets the bytes that came


class Wanted(NamedTuple):
    """One file of one attempt, and where it shall lie here."""

    sweep: str
    job: str
    attempt: int
    name: str
    size: int
    mtime_ns: int
    target: Path

    @property
    def is_here(self) -> bool:
        """It was fetched before, and has not changed since."""
        try:
            about = self.target.stat()
        except OSError:
            return False
        return (about.st_size, about.st_mtime_ns) == (self.size, self.mtime_ns)


def wanted(
    contact: Contact, jobs: Sequence[tuple[str, str]], only: Sequence[str], folder: Callable[[str, str], Path]
) -> list[Wanted]:
    """Ask a host which files there are.

    Parameters
    ----------
    only:
        Patterns of names (`*.pt`); none is all but `SPARED`.
    folder:
        Gives the folder here for a job (sweep, id).
    """
    found = []
    for told in contact.wire.call("files_of", jobs=list(jobs))["jobs"]:
        for item in told["files"]:
            name = str(item["name"])
            if any(fnmatchcase(name, pattern) for pattern in only) if only else name not in SPARED:
                target = folder(told["sweep"], told["id"]).joinpath(*PurePosixPath(name).parts)
                place = (told["sweep"], told["id"], int(told["attempt"]), name)
                found.append(Wanted(*place, int(item["size"]), int(item["mtime_ns"]), target))
    return found


def fetch(contact: Contact, one: Wanted, progress: Progress) -> int:
    """Fetch one file; return the bytes that had to come. What came of it before is not asked for again.

    Raises
    ------
    OrchError
        It changes faster than it can be read.
    DiskError
        It cannot be written here.
    """
    part = one.target.with_name(one.target.name + PART)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):  # a part of an older state of the file does not fit: once more, from the start
            begin = part.stat().st_size if part.exists() else 0
            told = _take(contact, one, part, begin, progress)
            if told == _sha256(part):
                os.utime(part, ns=(one.mtime_ns, one.mtime_ns))
                part.replace(one.target)
                return one.target.stat().st_size - begin
            part.unlink()
    except OSError as error:
        raise disk_error(error, str(part)) from error
    raise OrchError(f"{one.name} changes while it is read", "fetch it again once its job has ended", job=one.job)


def _take(contact: Contact, one: Wanted, part: Path, begin: int, progress: Progress) -> str:
    """Append what comes; return the hash of the whole file as the host tells it."""
    asked = {"sweep": one.sweep, "job": one.job, "attempt": one.attempt, "name": one.name, "offset": begin}
    stream = contact.wire.stream("send", **asked)
    with part.open("ab") as handle:
        while True:
            try:
                block = base64.b64decode(next(stream))
            except StopIteration as stop:
                return str(stop.value["sha256"])
            handle.write(block)
            progress(len(block))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def total(files: Sequence[Wanted]) -> int:
    """Return the bytes of all files."""
    return sum(one.size for one in files)
