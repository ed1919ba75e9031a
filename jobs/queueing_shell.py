"""What the shell of a command that queues jobs for Slurm said of how Slurm is found: kept once, named in each job.

The keeper lives on long after the command that woke it. Whatever PATH or SLURM_CONF it has: jobs are handed over,
looked for and cancelled with those of the command that queued them.

queue/<host>/arrays/shell-<user>-<hash>.json
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping

from . import slurm
from .atomic import digest, read_json, write_json
from .folder import Home
from .host import stranger
from .slurm_client import FINDS, Shell

KEY = "shell"  # in `placement.slurm`: the hash
_LONGEST = 32_768  # characters of one variable


def marked(home: Home, host: str, jobs: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Keep this process's shell where some of the jobs are for Slurm, and name it in these.

    Raises
    ------
    OSError
        The home cannot be written.
    """
    if not any(slurm.asked(job) is not None for job in jobs):
        return jobs
    name = _keep(home, host, {key: os.environ[key] for key in FINDS if _fits(os.environ.get(key, ""))})
    return [job if slurm.asked(job) is None else _named(job, name) for job in jobs]


def _fits(text: str) -> bool:
    """A JSON file can hold it: no bytes that are no text, and not without end."""
    return 0 < len(text) <= _LONGEST and text.encode("utf-8", "replace") == text.encode("utf-8", "surrogateescape")


def _named(job: Dict[str, Any], name: str) -> Dict[str, Any]:
    placement = job["placement"]
    return {**job, "placement": {**placement, "slurm": {**placement["slurm"], KEY: name}}}


def _keep(home: Home, host: str, said: Mapping[str, str]) -> str:
    name = digest(said)
    path = _path(home, host, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_json(path, said)
    return name


def of(home: Home, job: Any) -> Shell:
    """Return the variables that were kept for a job that Slurm has begun, or None."""
    given = job if isinstance(job, dict) else {}
    login = slurm.login_of(given)
    return load(home, login, slurm.asked(given)) if login and given.get("placement") else None


def load(home: Home, host: str, asked: Any) -> Shell:
    """Return the variables that were kept for a job, or None: this process's own must do.

    Parameters
    ----------
    asked:
        The job's `placement.slurm`; what it names counts only where it is whole and this user's own.
    """
    name = asked.get(KEY) if isinstance(asked, dict) else None
    if not isinstance(name, str) or not name.isalnum():
        return None
    path = _path(home, host, name)
    said = read_json(path)
    if not isinstance(said, dict) or digest(said) != name or stranger(path):
        return None
    return {key: str(value) for key, value in said.items() if key in FINDS}


def _path(home: Home, host: str, name: str) -> str:
    return os.path.join(home.queue(host), "arrays", "shell-{}-{}.json".format(os.getuid(), name))
