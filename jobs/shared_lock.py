"""A lock on a shared home, where flock may hang: a folder that only one can put in place, its owner written inside.

The folder is made under a name of its own and renamed: nobody ever sees a lock without an owner. A holder on this host
is judged by its process; one on another host only by age, and by the file server's clock alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Any, Dict, Iterator, Optional

from . import host
from .atomic import move, read_json, write_json
from .errors import OrchError, disk_error
from .host_identity import machine

PAUSE = 0.05  # seconds between tries


@contextlib.contextmanager
def shared_lock(path: str, wait: float = 20.0, expiry: float = 600.0) -> Iterator[None]:
    """Hold the lock for a block.

    Parameters
    ----------
    path:
        Folder that stands for the lock; its parent must exist.
    wait:
        Seconds to wait for another holder.
    expiry:
        Seconds after which a holder on another host counts as gone; much longer than anybody holds this lock.

    Raises
    ------
    OrchError
        Another one holds it for longer than `wait`; who it is stands in the message.
    DiskError
        The folder cannot be made.
    """
    token = os.urandom(8).hex()
    mine = "{}.{}".format(path, token)
    try:
        with contextlib.suppress(FileExistsError):  # its name is ours alone: a server asked twice says so
            os.mkdir(mine)
        write_json(_owner_file(mine), _identity(token), sync=False)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        _take(path, mine, token, wait, expiry)
        _sweep(path, mine, expiry)
        yield
    finally:
        _release(path, mine, token)


def owner(path: str) -> Optional[Dict[str, Any]]:
    """Return who holds the lock (`host`, `boot_id`, `pid`, `start_time`, `token`), or None when it is free."""
    found = read_json(_owner_file(path))
    return found if isinstance(found, dict) else None


def _take(path: str, mine: str, token: str, wait: float, expiry: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            move(mine, path)  # refused while `path` stands: it is never empty
            return
        except OSError as error:
            holder = owner(path)
            if holder and holder.get("token") == token:
                return  # a file server may carry out a rename and still answer with an error
            if not os.path.lexists(path):
                if not os.path.lexists(mine):
                    raise disk_error(error, path) from error
                continue  # the other one has just left
        if _is_gone(path, mine, holder, expiry):
            _break(path, mine, holder)
        elif time.monotonic() > deadline:
            raise _busy(path, holder)
        else:
            time.sleep(PAUSE)


def _busy(path: str, holder: Optional[Dict[str, Any]]) -> OrchError:
    who = "process {pid} on {host}".format(**holder) if holder else "somebody"
    text = "{} is at work on the same files".format(who)
    return OrchError(text, "wait for it; if it is gone for good, delete the folder {}".format(path), lock=path)


def _is_gone(path: str, own: str, holder: Optional[Dict[str, Any]], expiry: float) -> bool:
    if holder and (holder.get("host"), holder.get("machine", machine())) == (host.name(), machine()):
        same_boot = holder.get("boot_id") == host.boot_id()
        return not (same_boot and host.is_alive(int(holder["pid"]), holder.get("start_time")))
    return _age(path, own) > expiry


def _age(path: str, own: str) -> float:
    """Seconds since a lock was taken, by the file server's clock: it dates a folder of ours that is touched now."""
    try:
        os.utime(own)
        return os.stat(own).st_mtime - os.stat(path).st_mtime
    except OSError:
        return 0.0


def _break(path: str, mine: str, holder: Optional[Dict[str, Any]]) -> None:
    """Take away a lock whose holder is gone; if a living one came in between, put it back."""
    aside = mine + ".stale"
    try:
        os.rename(path, aside)
        if owner(aside) != holder:
            os.rename(aside, path)
            return
    except OSError:
        return  # somebody else did
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(path: str, mine: str, expiry: float) -> None:
    """Take away what killed ones left before they had the lock."""
    folder, prefix = os.path.split(path + ".")
    for name in os.listdir(folder):
        other = os.path.join(folder, name)
        if name.startswith(prefix) and other != mine and _is_gone(other, path, owner(other), expiry):
            shutil.rmtree(other, ignore_errors=True)


def _release(path: str, mine: str, token: str) -> None:
    holder = owner(path)
    if holder and holder.get("token") == token:
        with contextlib.suppress(OSError):
            os.rename(path, mine)
    shutil.rmtree(mine, ignore_errors=True)


def _identity(token: str) -> Dict[str, Any]:
    pid = os.getpid()
    place = {"host": host.name(), "machine": machine(), "boot_id": host.boot_id()}
    return {**place, "pid": pid, "start_time": host.start_time(pid), "token": token}


def _owner_file(path: str) -> str:
    return os.path.join(path, "owner.json")
