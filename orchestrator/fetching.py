"""Files of run folders come to this machine: by offset, verified by hash, each once, into the folder chosen only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from jobs.documents import moment
from jobs.errors import DiskError, OrchError, WireError, disk_error
from jobs.received import Names, below

from .dispatch import Contact
from .price import size

PART = ".part"  # a file that is not whole yet; the next try goes on after it
SPARED = ("last.pt", "last.json")  # what only a training that goes on needs; fetched when it is asked for
GROWTH = 1 << 28  # bytes by which a file may grow while it is sent: the log of a job that runs
LARGEST = 1 << 44  # bytes of a file that a host may announce: 16 TiB
_NS = 10**9

Progress = Callable[[int], None]  # gets the bytes that came


class Wanted(NamedTuple):
    """One file of one attempt, and where it shall lie here: `root` was chosen here, `parts` come from the host."""

    sweep: str
    job: str
    attempt: int
    name: str
    size: int
    mtime_ns: int
    root: Path
    parts: tuple[str, ...]

    @property
    def target(self) -> Path:
        """Where it shall lie."""
        return self.root.joinpath(*self.parts)

    @property
    def is_here(self) -> bool:
        """It was fetched before, and has not changed since."""
        try:
            about = self.target.stat(follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return (about.st_size, about.st_mtime_ns) == (self.size, self.mtime_ns)


class Found(NamedTuple):
    """What a host has: files, and what was refused of its answer, in words."""

    files: list[Wanted]
    refused: list[str]


def wanted(
    contact: Contact, jobs: Sequence[tuple[str, str]], only: Sequence[str], folders: Mapping[tuple[str, str], Path]
) -> Found:
    """Ask a host which files there are.

    Parameters
    ----------
    only:
        Patterns of names (`*.pt`); none is all but `SPARED`.
    folders:
        The folder here of each job (sweep, id).

    Raises
    ------
    WireError
        It answers with something else.
    """
    try:
        answers = [(one["sweep"], one["id"], one["attempt"], one["files"]) for one in _answers(contact, jobs)]
        files, refused = [], []
        for sweep, job, attempt, listed in answers:
            names = Names()
            for item in listed if (sweep, job) in jobs else ():
                name = str(item["name"])
                if any(fnmatchcase(name, pattern) for pattern in only) if only else name not in SPARED:
                    try:
                        place = (folders[sweep, job], names.take(item["name"]))
                        files.append(Wanted(sweep, job, int(attempt), name, *_measures(item), *place))
                    except ValueError as error:
                        refused.append(f"{contact.name} names a file {name!r}, which is left there: {error}")
    except (KeyError, TypeError, ValueError) as error:
        text = f"{contact.name} does not say which files there are, as orch does"
        raise WireError(text, f"is the orch there the same as here? orch doctor {contact.name}") from error
    return Found(files, refused)


def _answers(contact: Contact, jobs: Sequence[tuple[str, str]]) -> Iterable[Mapping[str, Any]]:
    return list(contact.wire.call("files_of", jobs=list(jobs))["jobs"])


def _measures(item: Mapping[str, Any]) -> tuple[int, int]:
    """Size in bytes and time in ns since 1970.

    Raises
    ------
    ValueError
        No file can have them.
    """
    length, changed = item["size"], item["mtime_ns"]
    if type(length) is not int or not 0 <= length <= LARGEST:
        raise ValueError("its size is none")
    if type(changed) is not int or moment(changed // _NS) is None:
        raise ValueError("its date is none")
    return length, changed


def fetch(contact: Contact, one: Wanted, progress: Progress) -> int:
    """Fetch one file; return the bytes that had to come. What came of it before is not asked for again.

    Raises
    ------
    OrchError
        It changes faster than it can be read, or something here stands in its way.
    WireError
        The host sends something else, or more than it announced.
    DiskError
        It cannot be written here.
    """
    try:
        target = Path(below(str(one.root), one.parts, make=True))
        part = Path(below(str(one.root), (*one.parts[:-1], one.parts[-1] + PART)))
        for _ in range(2):  # a part of an older state of the file does not fit: once more, from the start
            begin = part.stat().st_size if part.exists() else 0
            _refuse_lacking(one, part.parent, begin)
            told = _take(contact, one, part, begin, progress)
            if told == _sha256(part):
                os.utime(part, ns=(one.mtime_ns, one.mtime_ns))
                part.replace(target)
                return target.stat().st_size - begin
            part.unlink()
    except OSError as error:
        raise disk_error(error, str(one.target)) from error
    except ValueError as error:
        raise OrchError(
            f"{one.name} is not written: {error}", "choose another folder: --to DIR", job=one.job
        ) from error
    raise OrchError(f"{one.name} changes while it is read", "fetch it again once its job has ended", job=one.job)


def _refuse_lacking(one: Wanted, folder: Path, begin: int) -> None:
    """Refuse a file for which there is no room, before its first byte: a host may announce any size."""
    free = shutil.disk_usage(folder).free
    if one.size - begin > free:
        hint = "free some space, or choose another folder: --to DIR"
        raise DiskError(f"{one.target} would take {size(one.size - begin)}; {size(free)} are free", hint)


def _take(contact: Contact, one: Wanted, part: Path, begin: int, progress: Progress) -> str:
    """Append what comes; return the hash of the whole file as the host tells it."""
    asked = {"sweep": one.sweep, "job": one.job, "attempt": one.attempt, "name": one.name, "offset": begin}
    stream, came = contact.wire.stream("send", **asked), begin
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(part, flags, 0o666), "ab") as handle:
        while True:
            try:
                block = base64.b64decode(next(stream), validate=True)
            except StopIteration as stop:
                return str(stop.value.get("sha256"))
            except (binascii.Error, TypeError) as error:
                raise _nonsense(contact, one, "something that is no file") from error
            came += len(block)
            if came > one.size + GROWTH:
                raise _nonsense(contact, one, f"more than the {one.size} bytes that it announced")
            handle.write(block)
            progress(len(block))


def _nonsense(contact: Contact, one: Wanted, what: str) -> WireError:
    return WireError(f"{contact.name} sends {what} for {one.name!r}", "is it orch that answers there? look at the host")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def total(files: Sequence[Wanted]) -> int:
    """Return the bytes of all files."""
    return sum(one.size for one in files)
