"""Verbs of the agent that take in a copy of a data set: in pieces, each file verified before it gets its name.

A volume is named by its SHA-256, so that no name of a patient travels, two senders make one set of files, and what is
here already is not sent again. What has come of a file lies under a dotted name and is gone on with after a cut.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Dict, Generator, List, Mapping, Tuple

from . import host
from .atomic import read_json, sync_folder, write_json
from .briefing import room, summary
from .documents import open_plain
from .errors import OrchError, UsageError, disk_error
from .folder import Home, valid_name
from .homes import mask, private
from .lease import take

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
Counted = Generator[int, None, Reply]  # bytes that were read meanwhile, then the answer

BLOCK = 1 << 24  # bytes that are hashed between two signs of life
LOOK = 0.5  # seconds between looks at somebody else's lock
STILL = 60.0  # seconds without a byte after which whoever holds the lock is not waited for
_FILE = re.compile(r"[0-9a-f]{64}\.nii(\.gz)?\Z")


def offer_copy(agent: Agent, name: str, hash: str, files: List[Tuple[str, int]], replace: bool = False) -> Counted:
    """Say which files of a data set are still to come; others who take in the same wait for us.

    Parameters
    ----------
    hash:
        That of its contents, as in the manifest.
    files:
        Name (`<SHA-256>.nii.gz`) and bytes of each.
    replace:
        Let the name stand for other contents than before.

    Returns
    -------
    dict
        `registered`: the name stands for these contents and lies where it lay, nothing is to come; `missing`: name and
        bytes that are here already of each file that is not whole; `room`: see `briefing.room`; `part`: path of what
        has come of a file, with `{}` for its name; `rsync`: this host has that program.

    Raises
    ------
    UsageError
        A name cannot be used, or the data set's stands for other contents.
    DiskError
        The home cannot be written.
    """
    _check_names(name, [file for file, _ in files])
    yield from _alone(agent, name)
    known = read_json(agent.home.manifest(name)) or {}
    _refuse_other(known, name, hash, replace)
    told: Reply = {"room": room(agent.home.path), "rsync": shutil.which("rsync") is not None}
    told["part"] = _part(agent.home, name, "{}")
    if known.get("hash") == hash and not known.get("copy"):
        return {**told, "registered": True, "missing": []}
    try:
        missing = []
        for file, size in files:
            whole = yield from _is_whole(os.path.join(agent.home.data_files(name), file), size)
            if not whole:
                missing.append((file, _begun(agent.home, name, file, size)))
    except OSError as error:
        raise disk_error(error, agent.home.data_files(name)) from error
    return {**told, "registered": False, "missing": missing}


def take_piece(agent: Agent, name: str, file: str, offset: int, data: bytes) -> Reply:
    """Append a piece to what has come of a file.

    Raises
    ------
    UsageError
        A name cannot be used, or the piece does not join on.
    DiskError
        The home cannot be written; what has come stays.
    """
    _check_names(name, [file])
    path, rest = _part(agent.home, name, file), memoryview(data)
    try:
        descriptor = _open(agent.home, path)
        try:
            if os.fstat(descriptor).st_size != offset:
                raise UsageError("a piece of {} does not join on".format(file), "run the same command again")
            os.lseek(descriptor, offset, os.SEEK_SET)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk_error(error, path) from error
    return {}


def seal_file(agent: Agent, name: str, file: str) -> Counted:
    """Give a file its name if its contents are those; else throw away what has come. `{"whole": bool}`.

    Raises
    ------
    UsageError
        A name cannot be used.
    DiskError
        The home cannot be written.
    """
    _check_names(name, [file])
    part, target = _part(agent.home, name, file), os.path.join(agent.home.data_files(name), file)
    try:
        descriptor = _open(agent.home, part)  # an empty file has had no piece
        os.fchmod(descriptor, 0o660 & ~mask(agent.home.path))  # rsync may have made it
        os.fsync(descriptor)
        os.close(descriptor)
        if (yield from hashed(part)) != file[:64]:
            os.unlink(part)
            return {"whole": False}
        os.replace(part, target)
        sync_folder(os.path.dirname(target))
    except OSError as error:
        raise disk_error(error, target) from error
    return {"whole": True}


def keep_copy(agent: Agent, name: str, document: Mapping[str, Any], replace: bool = False) -> Reply:
    """Register a data set all of whose files have come; let others take in copies of it again.

    Parameters
    ----------
    document:
        The manifest; `image` and `label` of its cases are names of files, `copy` says whence it came.

    Returns
    -------
    dict
        See `briefing.summary`.

    Raises
    ------
    UsageError
        The name stands for other contents, or a file has not come.
    DiskError
        The home cannot be written.
    """
    wanted = {case[key] for case in document["cases"] for key in ("image", "label")}
    _check_names(name, wanted)
    path, folder = agent.home.manifest(name), agent.home.data_files(name)
    _refuse_other(read_json(path) or {}, name, document["hash"], replace)
    lacking = sorted(wanted - set(os.listdir(folder)))
    if lacking:
        raise UsageError("{} of {} files have not come".format(len(lacking), len(wanted)), "run the same command again")
    paths = [{key: os.path.join(folder, case[key]) for key in ("image", "label")} for case in document["cases"]]
    cases = [{**case, **some} for case, some in zip(document["cases"], paths)]
    kept = {**document, "name": name, "cases": cases, "source": {}}
    try:
        with private(agent.home.path):
            write_json(path, kept)
        for file in set(os.listdir(folder)) - wanted:  # of former contents, or begun and given up
            if not file.startswith(".") or file.endswith(_mark()):  # another host of this home may be at work
                os.unlink(os.path.join(folder, file))
    except OSError as error:
        raise disk_error(error, path) from error
    _leave(agent)
    return summary(kept, path)


def hashed(path: str) -> Generator[int, None, str]:
    """Return the SHA-256 of a file; yields the bytes of each block read."""
    total = hashlib.sha256()
    with open(path, "rb", opener=open_plain) as handle:
        for block in iter(lambda: handle.read(BLOCK), b""):
            total.update(block)
            yield len(block)
    return total.hexdigest()


def _alone(agent: Agent, name: str) -> Generator[int, None, None]:
    """Wait for somebody else here who takes in a copy of that name, as long as files come.

    One whose laptop vanished holds the lock for hours. Going on beside him is safe: pieces that do not join on are
    refused, and no file gets its name without its hash.
    """
    _leave(agent)
    seen, since = _signs(agent.home.data_files(name)), time.monotonic()
    while time.monotonic() - since < STILL:
        agent.copying = take(agent.local.copying(name))
        if agent.copying is not None:
            return
        if agent.client_left():
            raise OrchError("the client left while it waited", "run the same command again")
        yield 0
        time.sleep(LOOK)
        now = _signs(agent.home.data_files(name))
        if now != seen:
            seen, since = now, time.monotonic()


def _signs(folder: str) -> List[Tuple[str, int]]:
    """What changes while files come: their names and sizes."""
    try:
        return sorted((entry.name, entry.stat(follow_symlinks=False).st_size) for entry in os.scandir(folder))
    except FileNotFoundError:  # the folder, or one that has just got its name
        return []


def _leave(agent: Agent) -> None:
    if agent.copying is not None:
        os.close(agent.copying)
        agent.copying = None


def _is_whole(path: str, size: int) -> Generator[int, None, bool]:
    if not os.path.isfile(path) or os.path.getsize(path) != size:
        return False
    return (yield from hashed(path)) == os.path.basename(path)[:64]


def _begun(home: Home, name: str, file: str, size: int) -> int:
    """Bytes that have come of a file; what is longer than the file shall be does not belong to it."""
    path = _part(home, name, file)
    try:
        found = os.path.getsize(path)
    except FileNotFoundError:
        return 0
    if found > size:
        os.unlink(path)
        return 0
    return found


def _part(home: Home, name: str, file: str) -> str:
    return os.path.join(home.data_files(name), "." + file + _mark())


def _open(home: Home, part: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(part, flags, 0o660)
    except FileNotFoundError:
        with private(home.path):
            os.makedirs(os.path.dirname(part), exist_ok=True)
        return os.open(part, flags, 0o660)


def _mark() -> str:
    return ".{}.part".format(host.name())


def _check_names(name: str, files: "Any") -> None:
    for file in files:
        if not _FILE.match(file):
            raise UsageError("'{}' cannot name a volume".format(file), "use the same orch on both ends")
    if not valid_name(name):
        raise UsageError("'{}' cannot name a data set".format(name), "use letters, digits and . _ + -")


def _refuse_other(known: Mapping[str, Any], name: str, hash: str, replace: bool) -> None:
    if known.get("hash") not in (None, hash) and not replace:
        text = "the data set {} is registered there with other contents ({}, here {})"
        hint = "choose another name, or --replace: unfinished jobs on the former contents then cannot go on"
        raise UsageError(text.format(name, known.get("hash"), hash), hint)
