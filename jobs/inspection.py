"""The verb that tells everything about one job: its attempts, and why it waits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List

from . import attempt, host
from .holds import Holds
from .results import read_result
from .waits import WAITS, Waits

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]


def show(agent: Agent, sweep: str, job: str) -> Reply:
    """Everything about one job: each attempt's specification, verdict, records and files (name, bytes)."""
    found = []
    for folder in agent.home.attempts(sweep, job):
        spec, verdict = attempt.read_job(folder) or {}, agent.verdict(folder)
        place = attempt.place_of(spec, agent.local)
        ending = {"exit": attempt.read_exit(folder, place), "result": read_result(folder)[1]}
        files = {"files": _sizes(folder.path), "path": folder.path}
        found.append({"spec": spec, "verdict": verdict.to_json(), **files, **ending})
    queued = [entry.job for entry in agent.queue.waiting() if entry.key[:2] == (sweep, job)]
    held = next(filter(None, map(Holds(agent.local).why, queued)), "")
    waits = _waits(agent, queued) or next(filter(None, map(Waits(agent.local).why, queued)), "")
    return {"attempts": found, "queued": queued, "held": held, "waits": waits}


def _waits(agent: Agent, queued: List[Dict[str, Any]]) -> str:
    """Why a job waits for Slurm, in words; empty where it waits for a slot of ours."""
    if not queued or "slurm" not in (queued[0].get("placement") or {}):
        return ""
    from .handing import why_waits

    job = queued[0]
    return WAITS + why_waits(agent.home, agent.local, host.name(), (job["sweep"], job["id"], job["attempt"]))


def _sizes(path: str) -> Dict[str, int]:
    sizes = {}
    for name in sorted(os.listdir(path)):
        try:
            sizes[name] = os.lstat(os.path.join(path, name)).st_size
        except FileNotFoundError:  # a temporary file that was just put into place
            continue
    return sizes
