"""What a disk does when it is really used: locks, dates, bytes and files that can be written, bytes that can be had."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import tempfile
import time
from typing import Any, Dict, List, Optional

from .disk import disk

PROBE = ".orch-probe-"
SMALL_FILES = 16
BLOCK = bytes(1 << 20)
LEFT_OVER = 3600.0  # seconds after which another probe's folder is a killed one's
_NO_RESERVING = ("tmpfs", "ramfs", "overlay")  # there it costs memory, or says nothing


def nearest(path: str) -> str:
    """Return the path, or its nearest parent that exists."""
    there = os.path.realpath(os.path.expanduser(path))
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    return there


def locks(folder: str) -> Dict[str, Any]:
    """Try both kinds of lock on a file in a folder.

    Returns
    -------
    dict
        `flock` and `lockf`: None when it works, else what the system said; `excludes`: a second flock is refused.
    """
    import fcntl

    found: Dict[str, Any] = {"flock": None, "lockf": None, "excludes": None}
    with tempfile.NamedTemporaryFile(prefix=PROBE, dir=nearest(folder)) as first, open(first.name, "rb+") as second:
        for kind, take in (("flock", fcntl.flock), ("lockf", fcntl.lockf)):
            try:
                take(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                found[kind] = error.strerror
        if found["flock"] is None:
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found["excludes"] = False
            except OSError:
                found["excludes"] = True
    return found


def skew(folder: str) -> float:
    """Return by how many seconds the file server's clock is ahead of ours."""
    with tempfile.NamedTemporaryFile(prefix=PROBE, dir=nearest(folder)) as handle:
        before = time.time()
        os.utime(handle.fileno())
        after = time.time()
        dated = os.fstat(handle.fileno()).st_mtime
    return 0.0 if before - 0.02 <= dated <= after + 0.02 else dated - (before + after) / 2


def write(folder: str, reserve: int) -> Dict[str, Any]:
    """Write some small files and 4 MiB, synced, then ask for `reserve` bytes; all of it is removed.

    Returns
    -------
    dict
        `files`, `bytes` and `seconds` of what was written; `reserved`: True or False, None where asking says nothing;
        `error` and `errno` when something was refused (a quota, a full disk, a read-only home).
    """
    there = nearest(folder)
    _sweep(there)
    found: Dict[str, Any] = {"folder": there, "files": 0, "bytes": 0, "reserved": None, "error": None, "errno": None}
    started, place = time.monotonic(), ""
    try:
        place = tempfile.mkdtemp(prefix=PROBE, dir=there)
        for number in range(SMALL_FILES):
            _put(os.path.join(place, str(number)), b"x")
            found["files"] += 1
        found["bytes"] = _put(os.path.join(place, "block"), BLOCK * 4)
        found["seconds"] = round(time.monotonic() - started, 4)
        found["reserved"] = _reserve(os.path.join(place, "reserve"), reserve)
    except OSError as error:
        found.update(error=error.strerror, errno=errno.errorcode.get(error.errno or 0, ""))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def _put(path: str, data: bytes) -> int:
    with open(path, "wb") as handle:
        handle.write(data)
        handle.flush()
        if len(data) > 1:
            os.fsync(handle.fileno())
    return len(data)


def _reserve(path: str, size: int) -> Optional[bool]:
    """Ask the file system for the space (fallocate(2)); None where it does not know the question."""
    if size <= 0 or disk(path).kind in _NO_RESERVING or not hasattr(os, "posix_fallocate"):
        return None
    with open(path, "wb") as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        asked = libc.fallocate(handle.fileno(), 0, ctypes.c_int64(0), ctypes.c_int64(size))
    if asked == 0:
        return True
    return False if ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None


def _sweep(folder: str) -> None:
    """Take away what a killed probe of ours left."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            about = os.lstat(path)
            if name.startswith(PROBE) and about.st_uid == os.getuid() and time.time() - about.st_mtime > LEFT_OVER:
                shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
        except OSError:
            continue


def room(folder: str) -> Dict[str, Any]:
    """Return bytes and files that may still be made, by statvfs(3); None where the file system does not count."""
    about = os.statvfs(nearest(folder))
    files = about.f_favail if about.f_files else None
    return {"free_bytes": about.f_bavail * about.f_frsize, "free_files": files, "read_only": bool(about.f_flag & 1)}


def quota(timeout: float = 5.0) -> Optional[List[Dict[str, Any]]]:
    """Return this user's quotas as the program `quota` tells them, in bytes and files; None without that program."""
    program = shutil.which("quota")
    if program is None:
        return None
    done = subprocess.run(
        [program, "-w", "-p"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )
    rows = (_quota(line.split()) for line in done.stdout.decode("utf-8", "replace").splitlines())
    return [row for row in rows if row]


def _quota(cells: List[str]) -> Optional[Dict[str, Any]]:
    """One line: file system, blocks of 1 KiB, quota, limit, grace, files, quota, limit, grace; * marks an excess."""
    numbers = [cell.rstrip("*") for cell in cells[1:]]
    if len(numbers) < 7 or not all(number.isdigit() for number in numbers[:7]):
        return None
    used, soft, hard, _, files, soft_files, hard_files = (int(number) for number in numbers[:7])
    space = {"used_bytes": used << 10, "limit_bytes": (hard or soft) << 10 or None}
    return {"path": cells[0], **space, "used_files": files, "limit_files": hard_files or soft_files or None}
