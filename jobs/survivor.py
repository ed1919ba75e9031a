"""Does a detached process outlive the connection that started it? Tried, not guessed.

A process is planted as jobs are: forked twice, in a session of its own, no terminal, nothing inherited. It waits until
the agent that planted it has gone, lives on for a while, and writes that it did. A later connection reads it.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from . import host
from .atomic import read_json, write_json
from .folder import HostFolder
from .homes import make_own

AFTER = 1.0  # seconds after the agent's end that count as surviving: what kills at logout does so at once
PATIENCE = 600.0  # seconds that it waits for the agent to go
_TICK = 0.1  # seconds between looks

NOT_TRIED, WAITS, SURVIVED, KILLED = "not tried", "waits", "survived", "killed"


def record_path() -> str:
    """Where the outcome stands: host-local, for all orch homes of a user."""
    return os.path.join(os.path.dirname(HostFolder.of("").path), "survivor.json")


def outcome() -> Dict[str, Any]:
    """Return `{"state"}` (`not tried`, `waits`, `survived` or `killed`) for this boot, with the dates known."""
    record = read_json(record_path())
    if not isinstance(record, dict) or record.get("boot_id") != host.boot_id():
        return {"state": NOT_TRIED}
    if record.get("survived"):
        return {"state": SURVIVED, **record}
    alive = host.is_alive(int(record["pid"]), record.get("start_time"))
    return {"state": WAITS if alive else KILLED, **record}


def plant() -> None:
    """Start the process that waits for our end; one that waits already is left to it."""
    path, agent = record_path(), os.getpid()
    make_own(os.path.dirname(path))
    started = host.start_time(agent)
    ready, done = os.pipe()
    child = os.fork()
    if child:
        os.close(done)
        os.read(ready, 1)  # its record is written
        os.close(ready)
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _let_go(keep=done)
            _live(path, agent, started, done)
    finally:
        os._exit(0)


def _let_go(keep: int) -> None:
    """Hold nothing of the connection: whoever keeps its streams open keeps it from ending."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != keep:
            try:
                os.close(int(name))
            except OSError:  # the one that listed them
                continue


def _live(path: str, agent: int, started: Any, done: int) -> None:
    pid = os.getpid()
    record = {"boot_id": host.boot_id(), "pid": pid, "start_time": host.start_time(pid), "planted": time.time()}
    write_json(path, record, sync=False)
    os.close(done)
    deadline = time.monotonic() + PATIENCE
    while host.is_alive(agent, started):
        if time.monotonic() > deadline:
            os.unlink(path)
            return
        time.sleep(_TICK)
    closed = time.time()
    time.sleep(AFTER)
    write_json(path, {**record, "closed": closed, "survived": time.time() - closed}, sync=False)
