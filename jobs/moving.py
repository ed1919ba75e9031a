"""Jobs that leave a host: those that wait are taken back, with the proof that they never began; a host declared dead.

A job that waits is taken back by publishing its attempt as ended before it began: of this and the host's own keeper
one is first, whoever is asked and whether or not that host answers. A host that never comes back is declared dead by a
person: its attempts count as ended from then on, and their results, should they come late, do not count.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Tuple

from . import attempt, host, stop
from .atomic import write_json
from .daemon import ensure_running
from .errors import NotFound, UsageError
from .events import EventWriter
from .folder import RunFolder
from .home_identity import make_folder
from .host_identity import concerns, declaration
from .lease import holding
from .queue import waiting_everywhere
from .state import RUNNING, UNREACHABLE

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]


def withdraw(agent: Agent, jobs: List[Tuple[str, str]], why: str) -> Reply:
    """Take back jobs (sweep, id) that wait in any host's queue of this home; say for each what became of it.

    Returns
    -------
    dict
        `{"jobs": [{"sweep", "id", "action", "attempt"}]}`; `action` is `withdrawn`, `had begun` or `does not wait`.
    """
    waiting = {entry.key[:2]: entry for _, entry in waiting_everywhere(agent.home)}
    entries = [waiting[sweep, job_id] for sweep, job_id in jobs if (sweep, job_id) in waiting]
    due = [(agent.queue.run_folder(entry.key), entry.job) for entry in entries]
    won = {entry.key: own for entry, own in zip(entries, attempt.cancel_all(due, agent.local, why))}
    answers = []
    for sweep, job_id in jobs:
        entry = waiting.get((sweep, job_id))
        action = "does not wait"
        if entry:
            action = "withdrawn" if won[entry.key] else "had begun"
        number = entry.key[2] if entry else 0
        answers.append({"sweep": sweep, "id": job_id, "action": action, "attempt": number})
    ensure_running(agent.home, agent.local)
    return {"jobs": answers}


def declare_dead(agent: Agent, machine: str, by: str) -> Reply:
    """Count a machine as dead from now on: its waiting jobs are taken back, its begun ones ended, and fenced.

    Parameters
    ----------
    machine:
        The host's own name, as claims record it; ours too, of another machine of that name.
    by:
        Who says so.

    Returns
    -------
    dict
        `{"ended": [...], "withdrawn": [...]}`: jobs as `{"sweep", "id", "attempt"}`.

    Raises
    ------
    UsageError
        It is the machine that was asked: it lives.
    NotFound
        Nothing in this home ever was on that machine.
    """
    live = list(_live(agent, machine))
    if machine == host.name() and not live:
        raise UsageError("{} answers: it is not dead".format(machine), "orch stop ends its jobs")
    queued = [] if machine == host.name() else _waiting(agent, machine)  # ours do not wait for another of our name
    if not live and not queued and not os.path.isdir(agent.home.queue(machine)):
        raise NotFound("no job of this home ever was on {}".format(machine), "orch status names the hosts")
    with holding(agent.local.queue_lock):
        _fence(agent, live, machine, by)
        make_folder(agent.home, os.path.dirname(agent.home.dead(machine)), agent.local.home_id)
        named = [[folder.sweep, folder.job_id, folder.attempt] for folder in live]
        before = declaration(agent.home, machine) or {}
        kept = before.get("attempts") if isinstance(before.get("attempts"), list) else []
        told = {"at": time.time(), "by": by, "attempts": [*(kept or ()), *named]}
        write_json(agent.home.dead(machine), told)
    taken = withdraw(agent, queued, "{} was declared dead by {}".format(machine, by))["jobs"]
    ended = [{"sweep": folder.sweep, "id": folder.job_id, "attempt": folder.attempt} for folder in live]
    return {"ended": ended, "withdrawn": [item for item in taken if item["action"] == "withdrawn"]}


def _live(agent: Agent, machine: str) -> Iterator[RunFolder]:
    """Attempts begun by a machine of which nobody knows an end."""
    for folder in agent.home.run_folders():
        claimed = attempt.claim_of(attempt.read_job(folder)).get("host") == machine
        if claimed and agent.verdict(folder).state == UNREACHABLE:
            yield folder


def _waiting(agent: Agent, machine: str) -> List[Tuple[str, str]]:
    return [entry.key[:2] for place, entry in waiting_everywhere(agent.home) if place == machine]


def _fence(agent: Agent, live: List[RunFolder], machine: str, by: str) -> None:
    """Before the declaration: killed in between, a fence without it only keeps a result from counting twice."""
    journal = EventWriter(agent.home.journal)
    text = "{} was declared dead by {}".format(machine, by)
    for folder in live:
        journal.write("fence", sweep=folder.sweep, job=folder.job_id, attempt=folder.attempt, text=text)
    journal.write("dead", sweep="", job="", text=text)
    journal.sync()
    journal.close()


def heed_declaration(agent: Agent) -> int:
    """On a machine that came back after it was declared dead: stop what was ended without it; return how many."""
    told = declaration(agent.home, host.name())
    if told is None or told.get("heeded") == host.boot_id():
        return 0
    stopped = 0
    for folder in agent.home.run_folders():
        job = attempt.read_job(folder)
        claim = attempt.claim_of(job)
        meant = claim.get("host") == host.name() and concerns(told, folder, claim)
        if meant and agent.verdict(folder).state == RUNNING:
            first = stop.ask(folder, "orch: the host was declared dead by {}".format(told.get("by")), None)
            stopped += stop.wake(folder, attempt.place_of(job, agent.local), first)
    write_json(agent.home.dead(host.name()), {**told, "heeded": host.boot_id()})
    return stopped
