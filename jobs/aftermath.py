"""What follows an attempt's end on its host: decided with the exit record, done under the queue's lock, exactly once.

The watcher writes its decision into the exit record, then does it: queues the next attempt, holds what would fail
alike. Only then it deletes the attempt's lock file. So a lock file that nobody holds is a debt: whoever wakes the queue
next (an agent, a keeper) pays it. The number of the next attempt is fixed, so that paying twice changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, Dict, Mapping, Optional

from . import attempt, host, slurm
from .atomic import exists
from .folder import Home, HostFolder, RunFolder
from .holds import Hold, Holds, alike_reason, code_of, has_room, mark_sick
from .host_identity import concerns, declaration
from .lease import holding, is_held
from .policy import AGAIN, ALIKE, HOLD, NEVER, OTHER_HOST, RETRY, Decision, decide, history_of, next_job, table_of
from .queue import Queue, ring
from .state import ENDED, FAILED, INTERRUPTED, judge

_SICK = frozenset({"gpu_lost", "driver_mismatch"})  # kinds that condemn the cards, not only the sweep
_OF_NODES = frozenset({*_SICK, "host_rebooted", "wrong_architecture"})  # kinds that are a node's fault, behind Slurm
NODE_TRIES = 3  # other nodes that are tried, until a person must look
_OWN_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\b\d{5,}\b")  # addresses, process ids and times differ between siblings
_PATH = re.compile(r"['\"](/[^'\"]+)['\"]")


def decided(job: Mapping[str, Any], failure: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    """Return the decision about an attempt that failed, for its exit record; None where nothing failed."""
    if not failure:
        return None
    kind = str(failure["kind"])
    history = history_of(job, kind)
    decision = decide(kind, history, table_of(job))
    if decision.action == OTHER_HOST and slurm.asked(job) is not None:
        decision = _other_node(history.tries)
    return decision.to_json()


def _other_node(tries: int) -> Decision:
    """Behind Slurm the fault is that of one node among many."""
    if tries >= NODE_TRIES:
        return Decision(NEVER, {}, "{} nodes failed it alike: the limit".format(tries + 1))
    return Decision(RETRY, {}, "it is this node's fault: again on another one")


def follow(
    folder: RunFolder, job: Mapping[str, Any], local: HostFolder, failure: Mapping[str, Any], decision: Any
) -> None:
    """Do what was decided, unless it is done already; then wake the keeper.

    Raises
    ------
    OSError
        The queue or the holds cannot be written: it is still to be done.
    """
    with holding(local.queue_lock):
        _follow(folder, {**job, "attempt": folder.attempt}, local, failure, _decision(decision), late=False)
    ring(local.wake)


def _follow(
    folder: RunFolder,
    job: Mapping[str, Any],
    local: HostFolder,
    failure: Mapping[str, Any],
    decision: Decision,
    late: bool,
) -> None:
    """Nothing when a next attempt is there already, or somebody has asked for a stop.

    Parameters
    ----------
    late:
        It is a debt: the sweep was held when it was made, and may have been released since.
    """
    attempts = folder.home.attempts(folder.sweep, folder.job_id)  # none: the folder was deleted
    waits = any(Queue(folder.home, name).has(folder.sweep, folder.job_id) for name in folder.home.queue_hosts())
    newest = bool(attempts) and attempts[-1].attempt == folder.attempt
    if not newest or exists(folder.stop) or waits:
        return
    kind, evidence = str(failure["kind"]), str(failure.get("evidence", ""))
    if decision.action == HOLD:
        holds = Holds(local)
        if not (late and folder.sweep in holds.sweeps):
            reason = "{}: {}".format(kind.replace("_", " "), evidence)
            holds.hold(folder.sweep, Hold(kind, reason, _full(folder, job, evidence)))
    elif decision.action == OTHER_HOST:
        _blame_host(folder, job, local, kind, evidence)
    elif decision.action == NEVER and kind in ALIKE:
        _hold_alike(folder, job, local, kind, evidence)
    if decision.action in AGAIN:
        resume = folder.path if os.path.exists(folder.checkpoint("last")) else job.get("resume")
        after = next_job(job, kind, decision, resume, time.time())
        Queue(folder.home, host.name(), local.home_id).add([slurm.avoiding(after, job) if kind in _OF_NODES else after])


def _blame_host(folder: RunFolder, job: Mapping[str, Any], local: HostFolder, kind: str, evidence: str) -> None:
    reason = "{}: {}".format(kind.replace("_", " "), evidence)
    if kind in _SICK and (job.get("resources") or {}).get("gpus"):
        mark_sick(local, kind, reason)
    else:
        Holds(local).hold(folder.sweep, Hold(kind, "{}: {}".format(host.name(), reason), code=code_of(job)))


def _hold_alike(folder: RunFolder, job: Mapping[str, Any], local: HostFolder, kind: str, evidence: str) -> None:
    holds = Holds(local)
    common = _OWN_NUMBERS.sub("#", evidence.replace(folder.path, "{run}").replace(folder.job_id, "{job}"))
    reason = alike_reason(holds.count_alike(job, kind, common), kind, evidence)
    if reason:
        holds.hold(folder.sweep, Hold(kind, reason, code=code_of(job)))


def _full(folder: RunFolder, job: Mapping[str, Any], evidence: str) -> str:
    """The folder that must have room again: the first that refuses a file now, else the run folder."""
    named = _PATH.search(evidence)
    caches = os.environ.get("ORCH_CACHE") or os.environ.get("TMPDIR") or "/tmp"
    candidates = [folder.path, *([named.group(1)] if named else []), str(job.get("cwd") or "/"), caches]
    return next((path for path in candidates if not has_room(path)), folder.path)


def settle(home: Home, local: HostFolder) -> int:
    """Do what a watcher that was killed, or a full disk, left to be done; return how much still is. Under the lock.

    An attempt that was proved dead without a record (the host was booted since, its watcher was killed) is decided
    here, by the policy in its `job.json`.
    """
    owed = 0
    for name in sorted(_listing(local.locks)):
        folder = home.of_lock(name)
        path = os.path.join(local.locks, name)
        if folder is None or is_held(path) or not os.path.isdir(folder.path):
            continue
        try:
            if _settled(folder, local) and os.path.exists(path):
                os.unlink(path)
        except OSError:
            owed += 1
    return owed


def _settled(folder: RunFolder, local: HostFolder) -> bool:
    """Pay one debt; False when the lock file is still needed: it is all the proof there is of an end in this boot."""
    job = attempt.read_job(folder) or {}
    verdict = judge(attempt.evidence(folder, job, local))
    record = attempt.read_exit(folder, local) or {}
    if verdict.state not in ENDED:
        return False
    failure = record.get("failure")
    by_slurm = bool(slurm.task_of(job))
    rebooted = slurm.NODE_FAIL in verdict.reason if by_slurm else attempt.claim_of(job).get("boot_id") != host.boot_id()
    if verdict.state == INTERRUPTED:
        failure = {"kind": "host_rebooted" if rebooted else "exit_status_lost", "evidence": verdict.reason}
    decision = _decision(record.get("decision") or decided(job, failure))
    open_ = verdict.state == FAILED or (verdict.state == INTERRUPTED and decision.action in AGAIN)
    if failure and open_ and not _declared_dead(folder, job):
        _follow(folder, {**job, "attempt": folder.attempt}, local, failure, decision, late=True)
    return bool(record) or rebooted or by_slurm


def _declared_dead(folder: RunFolder, job: Mapping[str, Any]) -> bool:
    """Tell whether a person has declared this host dead since the attempt began: then it is theirs to say."""
    told = declaration(folder.home, host.name())
    return told is not None and concerns(told, folder, attempt.claim_of(job))


def _decision(value: Any) -> Decision:
    said = value if isinstance(value, dict) else {}
    changes, wait = said.get("changes"), said.get("wait_s")
    return Decision(
        str(said.get("action")),
        changes if isinstance(changes, dict) else {},
        str(said.get("reason", "")),
        float(wait) if isinstance(wait, (int, float)) else 0.0,
    )


def _listing(path: str) -> "list[str]":
    try:
        return os.listdir(path)
    except OSError:
        return []
