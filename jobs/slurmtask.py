"""One task of a job array, on the compute node: the watcher of one attempt, with the cores and cards that Slurm gave.

Its host-local folder is one of its own: what follows an attempt's end is seen to by the keeper on the login node.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List

from . import watcher
from .atomic import read_json
from .attempt import replay_spool
from .documents import open_plain
from .errors import OrchError
from .folder import SLURM_FOLDER, Home, HostFolder
from .homes import make_own, mask
from .liveness import WATCHER
from .slots import Lease
from .standing import stand_alone


def main(folder: str) -> None:
    """Run the task of the array in `folder` that Slurm's variables name; the process ends with it."""
    about = dict(read_json(os.path.join(folder, "array.json")) or {})
    os.umask(mask(about["home"]))
    with open(os.path.join(folder, "jobs.jsonl"), "rb", opener=open_plain) as handle:
        job = json.loads(handle.read().splitlines()[_number()])
    own = HostFolder.of(about["id"]).path
    local = HostFolder(os.path.join(own, SLURM_FOLDER))
    try:
        make_own(os.path.dirname(own), own, local.path)
        replay_spool(local, Home(about["home"]))
        stand_alone(WATCHER)
        attempt = Home(about["home"]).attempt(job["sweep"], job["id"], job["attempt"])
        watcher.Watch(job, attempt, local, Lease([], _device(about, job)), lambda word: None).run()
    except (OrchError, OSError) as error:
        sys.exit("{}: {}".format(os.environ.get("SLURMD_NODENAME"), error))


def _number() -> int:
    """Which task of its array we are; a job that is alone is the first."""
    return int(os.environ.get("SLURM_ARRAY_TASK_ID") or 0)


def _device(about: Dict[str, Any], job: Dict[str, Any]) -> Dict[str, Any]:
    environ = os.environ
    task = "{}_{}".format(environ.get("SLURM_ARRAY_JOB_ID"), _number()) if "SLURM_ARRAY_JOB_ID" in environ else ""
    place = {"login": about["login"], "node": environ.get("SLURMD_NODENAME", "")}
    named = {"name": about.get("name", ""), "cluster": environ.get("SLURM_CLUSTER_NAME", "")}
    given = {"job": task or environ["SLURM_JOB_ID"], **place, **named}
    cpus = int(os.environ.get("SLURM_CPUS_PER_TASK") or job["resources"].get("cpus") or 1)
    return {"slot": 0, "cpus": cpus, "gpus": _cards(), "why": "Slurm gave it", "slurm": given}


def _cards() -> List[str]:
    """The cards as Slurm names them: numbers, or UUIDs where the site is so configured."""
    return [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
