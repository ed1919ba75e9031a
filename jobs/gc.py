"""The verbs of `orch gc`: list what may go, put it aside, bring it back, delete what was put aside long ago."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List

from . import host, shelving
from .clearing import ENVIRONMENT, KINDS, SUPERSEDED, Clearing, attempts_in, waiting_lines
from .envs import EnvFolder
from .errors import OrchError, disk_error
from .lease import holding, take
from .shared_lock import shared_lock
from .uses import Mentions

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
Item = Dict[str, Any]


def gc_look(agent: Agent, older: float, rule: str = SUPERSEDED, kinds: "tuple[str, ...] | list[str]" = KINDS) -> Reply:
    """Return what may go (`clearing.Clearing.items`) and what is parked; nothing is changed.

    Parameters
    ----------
    older:
        Seconds since it was last used or written.
    rule:
        Which checkpoints (`clearing.RULES`).
    kinds:
        Which kinds (`clearing.KINDS`).
    """
    return {"items": Clearing(agent, rule, older).items(kinds), "parked": shelving.listed(agent.home)}


def gc_park(
    agent: Agent, older: float, by: str, rule: str = SUPERSEDED, kinds: "tuple[str, ...] | list[str]" = KINDS
) -> Reply:
    """Put aside what may go; return what was parked, and what stays after all, each with the reason.

    Returns
    -------
    dict
        `parked` (records, see `shelving`) and `left`: items with a `reason`.

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    clearing = Clearing(agent, rule, older)
    items = clearing.items(kinds)
    parked: List[Item] = []
    left: List[Item] = []
    try:
        with contextlib.ExitStack() as held:
            held.enter_context(shelving.locked(agent.home))
            items = list(_held(agent, items, held, left))
            with holding(agent.local.queue_lock):
                before = _needed(agent, clearing)
                for item in items:
                    _park(agent, item, before, by, parked, left)
                _put_back(agent, clearing, parked, left)
    except OSError as error:
        raise disk_error(error, agent.home.path) from error
    return {"parked": parked, "left": left}


def _park(agent: Agent, item: Item, needed: Dict[str, str], by: str, parked: List[Item], left: List[Item]) -> None:
    why = needed.get(_leaf(item["name"])) or _of_job(item["name"], needed)
    if why:
        left.append({**item, "reason": why})
        return
    try:
        record = shelving.park(agent.home, item, by)
    except OSError as error:
        left.append({**item, "reason": "it cannot be moved: {}".format(error.strerror)})
        return
    if record:
        parked.append(record)
    else:
        left.append({**item, "reason": "somebody has used it meanwhile"})


def _needed(agent: Agent, clearing: Clearing) -> Dict[str, str]:
    """What waits now, by the name of what it needs, and by its job's folder."""
    mentions, jobs = Mentions(clearing.names), {}
    for key, line in waiting_lines(agent.home):
        mentions.read(line, "job {} waits".format(key[1]))
        jobs["runs/{}/{}".format(*key[:2])] = "its job waits"
        jobs.update((attempt, "job {} waits, and reads from it".format(key[1])) for attempt in attempts_in(line))
    return {**mentions.found, **jobs}


def _of_job(name: str, needed: Dict[str, str]) -> str:
    """Whether a checkpoint's job waits, or another one that reads from its attempt; in words."""
    parts = name.split("/")
    return needed.get("/".join(parts[:3])) or needed.get("/".join(parts[2:4]), "")


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]


def _put_back(agent: Agent, clearing: Clearing, parked: List[Item], left: List[Item]) -> None:
    """Bring back what was queued between the look and the rename, by another host of this home."""
    needed = _needed(agent, clearing)
    for record in list(parked):
        why = needed.get(_leaf(record["what"])) or _of_job(record["what"], needed)
        if why:
            shelving.bring_back(agent.home, record)
            parked.remove(record)
            left.append({**record, "name": record["what"], "reason": why})


def _held(agent: Agent, items: List[Item], held: contextlib.ExitStack, left: List[Item]) -> Iterator[Item]:
    """Pass on what may be moved: environments need their lease, and no process that runs in them."""
    reasons: Dict[str, str] = {}
    for item in items:
        why = ""
        if item["kind"] == ENVIRONMENT:
            arch = item["name"].split("/")[1]
            if arch not in reasons:
                reasons[arch] = _lease(agent, arch, held)
            why = reasons[arch] or _runs_in(os.path.join(agent.home.path, item["name"]))
        if why:
            left.append({**item, "reason": why})
        else:
            yield item


def _lease(agent: Agent, arch: str, held: contextlib.ExitStack) -> str:
    """Take what a setup takes (`making.hold`); the reason where it is at work."""
    own = take(os.path.join(agent.local.locks, "environments-" + arch))
    if own is None:
        return "a setup on this host is at work on environments"
    held.callback(os.close, own)
    lease = EnvFolder(agent.home.path, arch, "").lease
    os.makedirs(os.path.dirname(lease), exist_ok=True)
    try:
        held.enter_context(shared_lock(lease, wait=0))
    except OrchError as error:
        return error.message
    return ""


def _runs_in(prefix: str) -> str:
    inside = prefix + os.sep
    for pid in host.processes():  # a colleague's, too: of theirs only the words can be seen
        path, words = host.program(pid)
        if path.startswith(inside) or (words and words[0].startswith(inside)):
            return "process {} of {} runs in it".format(pid, host.name())
    return ""


def gc_parked(agent: Agent, older: float = 0.0) -> Reply:
    """Return what has been parked for at least `older` seconds."""
    now = time.time()
    return {"parked": [item for item in shelving.listed(agent.home) if now - item["parked"] >= older]}


def gc_empty(agent: Agent, older: float) -> Reply:
    """Delete for good what has been parked for at least `older` seconds; return the records."""
    names = [item["name"] for item in gc_parked(agent, older)["parked"]]
    return {"deleted": list(shelving.empty(agent.home, names)) if names else []}


def gc_restore(agent: Agent, name: str) -> Reply:
    """Bring a parked item back to its place."""
    return {"restored": shelving.restore(agent.home, name)}
