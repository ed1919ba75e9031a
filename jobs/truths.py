"""Verbs with which `orch doctor` looks at a host: its measured truths.

Nothing here needs an orch home, and whatever may hang is measured in a process of its own.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional

from . import CONTRACT, disktest, envs, gpu, host, slurmlook, software, survivor, vscode
from .apart import side_by_side
from .disk import disk
from .folder import Home, HostFolder
from .probe import probe

if TYPE_CHECKING:
    from .agent import Agent

LIMIT = 20.0  # seconds for one truth: a GPU driver that sleeps needs several to wake
RESERVE = 1 << 30  # bytes that the home is asked for: enough for a run and its checkpoints

Reply = Dict[str, Any]


def truths(
    agent: Agent,
    home: str = "~/.orch",
    reserve: int = RESERVE,
    plant: bool = True,
    slurm: Optional[Mapping[str, Any]] = None,
) -> Reply:
    """Measure this host.

    Parameters
    ----------
    home:
        Orch home, which may not exist yet.
    reserve:
        Bytes that its disk is asked for.
    plant:
        Try (once a boot) whether a detached process outlives this connection; `survivor` tells the outcome later.
    slurm:
        What Slurm is asked for here, and `python`; None: no jobs are handed to it.

    Returns
    -------
    dict
        `contract`, `clock` and `truths`: for each name `{"value", "seconds"}` or `{"error"}`.
    """
    home = os.path.abspath(os.path.expanduser(home))
    tasks = _tasks(home, reserve)
    if slurm is not None:
        tasks["submitit"] = functools.partial(_submitit, home, slurm.get("python"))
    answers = side_by_side(tasks, LIMIT)
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
        "slurm": slurmlook.look,
        "vscode": _vscode,
    }


def _submitit(home: str, python: Any) -> Reply:
    """Where jobs are handed to Slurm: which Python has submitit, of those that `arrays` would try."""
    made = envs.newest(Home(home))
    python = python.get(envs.architecture()) if isinstance(python, dict) else python
    return slurmlook.submitit([python, made["python"] if made else None, sys.executable])


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
    return [_user_of_card(app) for app in gpu.apps(timeout) or ()]


def _user_of_card(app: gpu.App) -> Reply:
    owner = host.owner(app.pid)
    return {**app._asdict(), "user": host.user_name(owner), "foreign": owner != os.getuid()}


def survived(agent: Agent) -> Reply:
    """Tell whether the process that an earlier connection planted outlived it."""
    return survivor.outcome()
