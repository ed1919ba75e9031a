"""The verb that queues jobs: what is due is sorted out under the queue's lock, by evidence, over all of the home."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Set, Tuple

from . import host, protocol, queueing_shell, sweep_records
from .daemon import ensure_running
from .errors import UsageError, disk_error
from .events import EventWriter
from .folder import RunFolder, valid_name
from .holds import Holds
from .integrity import check_environment
from .lease import holding
from .queue import waiting_everywhere
from .slots import set_limit
from .spec import JobSpec
from .state import DONE, ENDED, RUNNING
from .uses import announce

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]


def submit(
    agent: Agent,
    record: Optional[Dict[str, Any]],
    jobs: List[Dict[str, Any]],
    again: "tuple[str, ...] | list[str]" = (),
    parallel: Optional[int] = None,
    floors: Optional[Mapping[str, int]] = None,
    by_person: bool = True,
) -> Reply:
    """Queue the jobs that are due, in one batch; say for each what was done and why.

    Parameters
    ----------
    record:
        The sweep's record, replaced in one step (one that `grows` keeps its cells); None leaves it.
    jobs:
        `JobSpec.to_json` objects. A job that waits, runs or is done is left alone.
    again:
        Ids of jobs to run again although they are done.
    parallel:
        Jobs side by side on this host from now on; 0: as many as its cores; None: as before.
    floors:
        By job id, the highest attempt number that other orch homes have given: the next one is higher.
    by_person:
        A person asks, who has looked at what is held: held sweeps go on.

    Raises
    ------
    UsageError
        A sweep's name, a number or a need that this host cannot serve.
    NameTaken
        The record's name is another person's or project's: nothing was queued.
    ContractError
        Code or an environment that a job needs was put aside meanwhile, or the environment is a stranger's;
        or the keeper that lives speaks a protocol that this orch does not read.
    DiskError
        The home cannot be written; nothing was queued.
    """
    protocol.require(agent.local)
    specs = _sound(jobs)
    if parallel is not None and parallel < 0:
        raise UsageError("{} jobs cannot run side by side".format(parallel), "give a number from 1")
    if parallel is not None:
        set_limit(agent.local, parallel)
    try:
        with holding(agent.local.queue_lock):
            answers, due = _sort_out(agent, specs, jobs, set(again), floors or {})
            for need in announce(agent.home, due, record):
                if need.startswith("envs/"):
                    check_environment(os.path.join(agent.home.path, need), agent.home, agent.local)
            if record:
                sweep_records.write(agent.home, record)
            if due and by_person:
                Holds(agent.local).release(sorted({job["sweep"] for job in due}))
            if due:
                agent.queue.add(due)
                _fence(agent, [job for job in due if job["id"] in again])
    except OSError as error:
        raise disk_error(error, agent.home.path) from error
    return {"jobs": answers, "queued": len(due), "keeper": ensure_running(agent.home, agent.local)}


def _sound(jobs: List[Dict[str, Any]]) -> List[JobSpec]:
    specs = [JobSpec.from_json(job) for job in jobs]
    _check_names(specs)
    _check_cards(specs)
    return specs


def _check_names(specs: List[JobSpec]) -> None:
    for name in {spec.sweep for spec in specs}:
        if not valid_name(name):
            raise UsageError("'{}' cannot be a sweep's name".format(name), "use letters, digits and . _ + -")


def _check_cards(specs: List[JobSpec]) -> None:
    """Refuse a job that could never start: it would stop the queue for all behind it."""
    most = max((spec.resources.gpus for spec in specs if "slurm" not in spec.placement), default=0)
    if not most:
        return
    from .gpu import common_kind, has_kind, look

    seen = look()
    if most > len(seen.cards):
        text = "a job needs {} GPUs, {} has {} ({})".format(most, host.name(), len(seen.cards), seen.reason)
        raise UsageError(text, "ask for fewer, or choose another host")
    for kind in {spec.resources.gpu_type for spec in specs if "slurm" not in spec.placement} - {None}:
        if not has_kind(str(kind), common_kind(seen.cards)):
            text = "a job needs a GPU of the kind {}, {} has {}"
            names = ", ".join(sorted({card.name for card in seen.cards}))
            raise UsageError(
                text.format(kind, host.name(), names), "choose another host, or resources: {gpu_type: ...}"
            )
    share = max((spec.resources.gpu_memory_mb or 0 for spec in specs), default=0)
    largest = max((card.memory_total_mb or share for card in seen.cards), default=0)
    if share > largest:
        text = "a job needs {} MiB of a GPU, the largest of {} has {} MiB".format(share, host.name(), largest)
        raise UsageError(text, "ask for less: resources: {gpu_memory_mb: ...}, or choose another host")


def _sort_out(
    agent: Agent, specs: List[JobSpec], jobs: List[Dict[str, Any]], again: Set[str], floors: Mapping[str, int]
) -> Tuple[List[Reply], List[Dict[str, Any]]]:
    waiting = {entry.key[:2]: (place, entry.key[2]) for place, entry in waiting_everywhere(agent.home)}
    answers, due = [], []
    for spec, job in zip(specs, jobs):
        place, number = waiting.get((spec.sweep, spec.id), ("", 0))
        if number:
            action = "waits already" if place == host.name() else "waits already on {}".format(place)
            answers.append({"id": spec.id, "action": action, "attempt": number})
            continue
        action, number, resume = _next_attempt(agent, spec, spec.id in again, floors.get(spec.id, 0))
        answers.append({"id": spec.id, "action": action, "attempt": number})
        if action == "queued":
            due.append({**job, "attempt": number, "resume": resume, "retry": None})
    return answers, queueing_shell.marked(agent.home, host.name(), due)


def _next_attempt(agent: Agent, spec: JobSpec, again: bool, floor: int) -> Tuple[str, int, Optional[str]]:
    """What to do with a job that does not wait: the action, its attempt, the folder from which it goes on."""
    attempts = agent.home.attempts(spec.sweep, spec.id)
    if not attempts:
        return "queued", floor + 1, None
    last = attempts[-1]
    verdict = agent.verdict(last)
    if verdict.state not in ENDED:
        return ("runs already" if verdict.state == RUNNING else verdict.reason), last.attempt, None
    if verdict.state == DONE and not again:
        return "done already", last.attempt, None
    resume = None if verdict.state == DONE else _unfinished(attempts)
    return "queued", max(last.attempt, floor) + 1, resume


def _unfinished(attempts: List[RunFolder]) -> Optional[str]:
    """The newest attempt with a checkpoint from which to go on; later ones were moved before they began."""
    for folder in reversed(attempts):
        if os.path.exists(folder.checkpoint("last")):
            return folder.path
        if os.path.exists(folder.events):
            return None  # it began, and left nothing: what lies before it is older than its start
    return None


def _fence(agent: Agent, due: List[Dict[str, Any]]) -> None:
    """Let the results of jobs that a person runs again count no more: the new ones will.

    After the batch is written: killed in between, the old results count, and asking again is all it takes.
    """
    former = [folder for job in due for folder in agent.home.attempts(job["sweep"], job["id"])]
    done = [folder for folder in former if agent.verdict(folder).state == DONE]
    if not done:
        return
    journal = EventWriter(agent.home.journal)
    for folder in done:
        place = {"sweep": folder.sweep, "job": folder.job_id, "attempt": folder.attempt}
        journal.write("fence", **place, text="run again on request")
    journal.sync()
    journal.close()
