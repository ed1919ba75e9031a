"""Verbs with which `orch doctor` looks at a host: its measured truths.

Nothing here needs an orch home, and whatever may hang is measured in a process of its own.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from . import CONTRACT, disktest, envs, host, software, survivor, vscode
from .apart import side_by_side
from .disk import disk
from .folder import Home, HostFolder
from .probe import probe

if TYPE_CHECKING:
    from .agent import Agent

LIMIT = 20.0  # seconds for one truth: a GPU driver that sleeps needs several to wake
RESERVE = 1 << 30  # bytes that the home is asked for: enough for a run and its checkpoints

Reply = Dict[str, Any]


def truths(agent: Agent, home: str = "~/.orch", reserve: int = RESERVE, plant: bool = True) -> Reply:
    """Measure this host.

    Parameters
    ----------
    home:
        Orch home, which may not exist yet.
    reserve:
        Bytes that its disk is asked for.
    plant:
        Try (once a boot) whether a detached process outlives this connection; `survivor` tells the outcome later.

    Returns
    -------
    dict
        `contract`, `clock` and `truths`: for each name `{"value", "seconds"}` or `{"error"}`.
    """
    home = os.path.abspath(os.path.expanduser(home))
    answers = side_by_side(_tasks(home, reserve), LIMIT)
    answers["survivor"] = {"value": _survivor(plant)}
    return {"contract": CONTRACT, "host": host.name(), "home": home, "clock": time.time(), "truths": answers}


def _tasks(home: str, reserve: int) -> Dict[str, Callable[[], Any]]:
    local = HostFolder.of("").path
    return {
        "machine": functools.partial(probe, home),
        "load": gpu_load,
        "home_disk": lambda: {**disk(home).to_json(), **disktest.room(home)},
        "home_write": functools.partial(disktest.write, home, reserve),
        "home_locks": functools.partial(disktest.locks, home),
        "home_clock": functools.partial(disktest.skew, home),
        "local_disk": lambda: {**disk(local).to_json(), **disktest.room(local)},
        "local_locks": functools.partial(disktest.locks, local),
        "quota": disktest.quota,
        "shell": software.shell,
        "conda": functools.partial(_conda, home),
        "envs": functools.partial(_envs, home),
        "slurm": software.slurm,
        "vscode": _vscode,
    }


def _survivor(plant: bool) -> Reply:
    found = survivor.outcome()
    if plant and found["state"] in (survivor.NOT_TRIED, survivor.KILLED):
        survivor.plant()
    return found


def _conda(home: str) -> Reply:
    installations = software.condas(home)
    return {"installations": installations, "envs": software.conda_envs(installations)}


def _envs(home: str) -> List[Reply]:
    keys = ("lock", "prefix", "python", "state", "reason")
    found = []
    for env in envs.found(Home(home)):
        record = env["record"] or {}
        found.append({**{key: env[key] for key in keys}, "torch": record.get("torch")})
    return found


def _vscode() -> List[Reply]:
    return [vscode.look(folder) for folder in vscode.folders()]


def gpu_load(timeout: float = 15.0) -> List[Reply]:
    """Return the processes on the cards: `{"uuid", "pid", "program", "memory_mb", "user", "foreign"}`.

    One whose owner is hidden from us counts as somebody else's.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-compute-apps=gpu_uuid,pid,used_memory,process_name"
    done = subprocess.run(
        [program, query, "--format=csv,noheader,nounits"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    rows = ([cell.strip() for cell in line.split(",", 3)] for line in lines)
    return [_user_of_card(row) for row in rows if len(row) == 4 and row[1].isdigit()]


def _user_of_card(row: List[str]) -> Reply:
    uuid, pid, memory, name = row
    owner = host.owner(int(pid))
    used = int(memory) if memory.isdigit() else None
    about = {"uuid": uuid, "pid": int(pid), "program": os.path.basename(name) or name, "memory_mb": used}
    return {**about, "user": _user_name(owner), "foreign": owner != os.getuid()}


def _user_name(user: Optional[int]) -> Optional[str]:
    import pwd

    try:
        return None if user is None else pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def survived(agent: Agent) -> Reply:
    """Tell whether the process that an earlier connection planted outlived it."""
    return survivor.outcome()
