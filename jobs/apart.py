"""Measurements that may hang (a stale network home, a dead driver): each in a forked child, side by side, limited."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from typing import Any, Callable, Dict, Mapping, Tuple

Answer = Dict[str, Any]  # {"value", "seconds"}, or {"error"} that says why there is none


def side_by_side(tasks: Mapping[str, Callable[[], Any]], limit: float) -> Dict[str, Answer]:
    """Run functions at the same time and return their JSON values.

    Parameters
    ----------
    tasks:
        Functions without arguments by name; what they change in memory is lost.
    limit:
        Seconds after which one that has not answered is given up; it is killed, but not waited for: a process that
        hangs in the kernel takes no signal.

    Returns
    -------
    dict
        For each name `{"value", "seconds"}`, or `{"error"}` in words.
    """
    started = time.monotonic()
    children = {name: _start(task) for name, task in tasks.items()}
    texts: Dict[str, bytes] = dict.fromkeys(tasks, b"")
    open_ends = {end: name for name, (_, end) in children.items()}
    while open_ends:
        left = started + limit - time.monotonic()
        ready = select.select(list(open_ends), [], [], max(0.0, left))[0]
        if not ready:
            break
        for end in ready:
            block = os.read(end, 1 << 16)
            texts[open_ends[end]] += block
            if not block:
                del open_ends[end]
    late = set(open_ends.values())
    for name, (pid, end) in children.items():
        os.close(end)
        _reap(pid, name in late)
    return {name: _late(limit) if name in late else _parsed(text) for name, text in texts.items()}


def _start(task: Callable[[], Any]) -> Tuple[int, int]:
    """Fork a child that writes its answer into a pipe; return its id and the pipe's reading end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        os.setsid()  # so that its own children can be ended with it
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # one that hangs must not keep the connection open
            os.dup2(nothing, standard)
        os.close(reading)
        _write(writing, json.dumps(_measured(task)).encode())
    finally:
        os._exit(0)


def _measured(task: Callable[[], Any]) -> Answer:
    started = time.monotonic()
    try:
        return {"value": task(), "seconds": round(time.monotonic() - started, 4)}
    except OSError as error:
        return {"error": error.strerror or str(error), "errno": errno.errorcode.get(error.errno or 0, "")}
    except Exception as error:
        return {"error": "{}: {}".format(type(error).__name__, error)}


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _reap(pid: int, late: bool) -> None:
    try:
        if late:
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG if late else 0)
    except (ChildProcessError, ProcessLookupError, PermissionError):
        pass


def _late(limit: float) -> Answer:
    return {"error": "no answer within {:g} s".format(limit), "errno": "ETIMEDOUT"}


def _parsed(text: bytes) -> Answer:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {"error": "the measuring process was ended"}
