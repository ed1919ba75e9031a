"""This machine and its processes, as evidence: host name, boot, process start times, trees."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import time
from typing import Dict, Iterator, List, Optional, Tuple

from .documents import read
from .transient import retried

_LOOK_LIMIT = 5.0  # seconds for which the kernel is asked again: a wrong identity of a boot would count as a reboot
_GONE = " (deleted)"  # what the kernel adds to a path whose name was removed


@functools.lru_cache(maxsize=None)
def name() -> str:
    """Return the host's own name: run folders remember it, and only that host can tell whether a lock is free."""
    return platform.node() or "localhost"


@functools.lru_cache(maxsize=None)
def boot_id() -> str:
    """Return the kernel's identity of this boot, or an empty text where the kernel gives none."""
    return _first_line("/proc/sys/kernel/random/boot_id") or ""


def start_time(pid: int) -> Optional[int]:
    """Return a process's start time in clock ticks since boot, or None when there is no such process.

    A process id is used again sooner or later; with its start time it names one process only (proc(5), field 22).
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_alive(pid: int, started: Optional[int]) -> bool:
    """Tell whether exactly that process lives (a zombie does not)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and (started is None or int(fields[19]) == started)


def began(pid: int) -> Optional[float]:
    """Return when a process began, in seconds since 1970, or None when it cannot be seen (proc(5), `uptime`)."""
    ticks, uptime = start_time(pid), _first_line("/proc/uptime")
    if ticks is None or not uptime:
        return None
    return time.time() - float(uptime.split()[0]) + ticks / os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> List[int]:
    """Return the ids of all living descendants of a process, parents first."""
    children: Dict[int, List[int]] = {}
    for pid in processes():
        fields = _stat(pid)
        if fields and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(pid)
    found, frontier = [], [root]
    while frontier:
        frontier = [child for parent in frontier for child in children.get(parent, [])]
        found.extend(frontier)
    return found


def holders(path: str) -> List[int]:
    """Return the ids of this user's processes that have a file open, also one whose name is gone (proc(5), `fd`)."""
    real = os.path.realpath(path)
    return [pid for pid in processes() if has_open(pid, real)]


def holders_below(folder: str) -> List[int]:
    """Return the ids of this user's processes that have a file in a folder open (proc(5), `fd`)."""
    real = os.path.realpath(folder) + os.sep
    return [pid for pid in processes() if any(link.startswith(real) for link in _open_files(pid))]


def own_processes() -> List[int]:
    """Return the ids of this user's processes."""
    return [pid for pid in processes() if owner(pid) == os.getuid()]


def program(pid: int) -> Tuple[str, List[str]]:
    """Return the path of a process's program (its name may be gone) and its words.

    Empty when we may not see them; of another user's process the path is.
    """
    folder, executable, words = "/proc/{}".format(pid), "", []
    with contextlib.suppress(OSError):
        executable = os.readlink(os.path.join(folder, "exe"))
    with contextlib.suppress(OSError):
        words = [os.fsdecode(word) for word in read(os.path.join(folder, "cmdline")).split(b"\0")]
    return executable[: -len(_GONE)] if executable.endswith(_GONE) else executable, words


def user() -> Optional[int]:
    """Return our user id; None where there are none (Windows)."""
    return os.getuid() if hasattr(os, "getuid") else None


def owner(pid: int) -> Optional[int]:
    """Return the user id of a process's owner, or None when there is no such process (or it is hidden from us)."""
    try:
        return os.stat("/proc/{}".format(pid)).st_uid
    except OSError:
        return None


def stranger(path: str) -> str:
    """Return the name of the user to whom a file belongs; empty when it is ours, or not there."""
    try:
        found = os.stat(path).st_uid
    except OSError:
        return ""
    return "" if found == user() else str(user_name(found))


def user_name(user: Optional[int]) -> Optional[str]:
    """Return the name of a user id (the number where it has none), or None when the id is not known."""
    import pwd  # not on Windows

    try:
        return None if user is None else pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def ancestors(pid: int) -> Iterator[int]:
    """Yield a process and those it descends from, as far as we may see them."""
    while pid > 0:
        yield pid
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0


def has_open(pid: int, path: str) -> bool:
    """Tell whether a process has a file open, also one whose name is gone; `path` has no links in it."""
    return any(link in (path, path + _GONE) for link in _open_files(pid))


def has_variable(pid: int, name: str, value: str) -> bool:
    """Tell whether a process was started with this variable in its environment."""
    return os.fsencode("{}={}".format(name, value)) in _environment(pid)


def variable(pid: int, name: str) -> Optional[str]:
    """Return a variable with which a process was started; None where it has none, or we may not see it."""
    start = os.fsencode(name + "=")
    return next((os.fsdecode(word[len(start) :]) for word in _environment(pid) if word.startswith(start)), None)


def _environment(pid: int) -> List[bytes]:
    try:
        return read("/proc/{}/environ".format(pid)).split(b"\0")
    except OSError:
        return []


def processes() -> List[int]:
    """Return the ids of all processes that are to be seen."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def stat(pid: int) -> Tuple[str, List[str]]:
    """Return a process's name (15 bytes at most) and the fields of its `stat` (proc(5)); none when it is gone.

    The name may hold anything: blanks, brackets, line ends.
    """
    try:
        name, _, fields = read("/proc/{}/stat".format(pid)).decode("utf-8", "replace").rpartition(")")
    except OSError:
        return "", []
    return name.partition("(")[2], fields.split()


def _stat(pid: int) -> List[str]:
    return stat(pid)[1]


def _open_files(pid: int) -> Iterator[str]:
    folder = "/proc/{}/fd".format(pid)
    try:
        names = os.listdir(folder)
    except OSError:  # somebody else's, or it has just ended
        return
    for name in names:
        try:
            yield os.readlink(os.path.join(folder, name))
        except OSError:  # closed since, while others stay open
            pass


def _first_line(path: str) -> Optional[str]:
    try:
        return retried(lambda: read(path), _LOOK_LIMIT).decode("utf-8", "replace").partition("\n")[0].strip()
    except OSError:
        return None
