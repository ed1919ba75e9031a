"""Jobs that Slurm does not list, and nobody says how they ended: one look proves nothing, several over minutes do.

A squeue of a site may answer from a cache, and a controller that has just come back from a stale state. So each look
that was answered well and missed a job is written down beside the other host-local files; one that finds it ends them.
"""

from __future__ import annotations

import os
import time
from typing import Dict, List

from .atomic import read_json, write_json
from .folder import HostFolder

LOOKS = 3  # looks that did not find it: two could both come out of one cache
LISTED = 2  # looks that are enough where the controller has listed all others of its array, and it had not begun
SPAN = 120.0  # seconds between the first and the last: twice the age of the oldest caches of squeue that are in use
APART = 20.0  # seconds between looks that count: those of one command are one


def missed(local: HostFolder, task: str, listed: bool = False) -> bool:
    """Note that a look that was answered well did not find a job; True when that proves that it has left.

    Parameters
    ----------
    listed:
        The controller has listed all others of its array, and it had not begun: `LISTED` looks do.
    """
    now = time.monotonic()  # the same for all processes of a boot
    told = _read(local, task)
    looks, first, last = told.get(task, [0, now, now])
    if not first <= last <= now:  # of another boot
        looks, first, last = 0, now, now
    if looks == 0 or now - last >= APART:
        looks, last = looks + 1, now
        _write(local, task, {**told, task: [looks, first, last]})
    return looks >= LISTED if listed else looks >= LOOKS and last - first >= SPAN


def found(local: HostFolder, task: str) -> None:
    """Note that a job is there: earlier looks were wrong."""
    if os.path.exists(_path(local, task)):
        told = _read(local, task)
        if told.pop(task, None):
            _write(local, task, told)


def forget(local: HostFolder, array: str) -> None:
    """Delete what was noted of an array."""
    try:
        os.unlink(_path(local, array))
    except OSError:
        pass


def _path(local: HostFolder, task: str) -> str:
    return os.path.join(local.path, "absent-{}.json".format(task.partition("_")[0]))


def _read(local: HostFolder, task: str) -> Dict[str, List[float]]:
    said = read_json(_path(local, task))
    rows = said.items() if isinstance(said, dict) else ()
    return {str(key): row for key, row in rows if isinstance(row, list) and len(row) == 3 and all(map(_number, row))}


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _write(local: HostFolder, task: str, told: Dict[str, List[float]]) -> None:
    try:
        os.makedirs(local.path, exist_ok=True)
        write_json(_path(local, task), told, sync=False)
    except OSError:  # not noted: it stays unproved
        pass
