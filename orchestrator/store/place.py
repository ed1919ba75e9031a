"""Where an index may lie: on a local disk, readable by its owner only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jobs.disk import is_network
from jobs.errors import DiskError, disk_error


def make_folder(path: Path) -> None:
    """Make the index's folder, mode 700.

    Raises
    ------
    DiskError
        It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, str(path)) from error


def reserve(path: Path) -> None:
    """Make an empty file, mode 600, unless it is there: SQLite gives its side files the mode of the main one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise disk_error(error, str(path)) from error


def refuse_network(path: Path) -> None:
    """Refuse a network file system.

    Raises
    ------
    DiskError
        The folder lies on one.
    """
    reason = network(path)
    if reason:
        raise DiskError(
            f"the index {path} would lie on a network file system ({reason}), where SQLite loses data",
            "keep it on a local disk of this machine: orch config state FOLDER, or set ORCH_STATE",
            path=str(path),
        )


def network(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Return why a path counts as lying on a network file system (`nfs4 at /home`), or an empty text.

    Parameters
    ----------
    path:
        The folder, or one to be made.
    mounts:
        Mount table of Linux. Without one only Windows can tell; elsewhere the answer is empty.
    """
    if sys.platform == "win32":
        return _windows_drive(path)
    try:
        table = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return _mounted(os.path.realpath(path), table)


def _mounted(path: str, table: str) -> str:
    best, kind = "", ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point covers the earlier one
            best, kind = point, fields[2]
    return f"{kind} at {best}" if is_network(kind) else ""


def _unescape(text: str) -> str:
    """Undo the octal escapes of a mount table (space, tab, newline, backslash)."""
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text


def _windows_drive(path: Path) -> str:
    if sys.platform != "win32":
        return ""
    import ctypes

    drive = os.path.splitdrive(os.path.realpath(path))[0]
    if drive.startswith("\\\\"):
        return f"share {drive}"
    remote = 4  # DRIVE_REMOTE in winbase.h
    return f"network drive {drive}" if ctypes.windll.kernel32.GetDriveTypeW(drive + "\\") == remote else ""
