"""Verbs of the agent about what waits: let go what is held; tell for whom we waited and stepped aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

from .daemon import ensure_running
from .holds import Holds, release_gpus
from .lease import holding

if TYPE_CHECKING:
    from .agent import Agent


def release(agent: "Agent", sweeps: List[str], gpus: bool = False) -> Dict[str, Any]:
    """Start the jobs of held sweeps after all, and use the GPUs again; say what was held, and how many jobs go on."""
    with holding(agent.local.queue_lock):
        holds, waiting = Holds(agent.local), list(agent.queue.waiting())
        held = [entry for entry in waiting if holds.hold_of(entry.job)]
        names = set(holds.release(sweeps))
        again = release_gpus(agent.local) if gpus else False
        left = Holds(agent.local)
        free = [entry for entry in held if left.hold_of(entry.job) is None]
        left.forget({entry.key[0] for entry in waiting})  # what held nobody
    ensure_running(agent.home, agent.local)
    return {"sweeps": sorted(names & {entry.key[0] for entry in free}), "gpus": again, "jobs": len(free)}


def courtesies(agent: "Agent", since: float = 0.0) -> Dict[str, Any]:
    """Return the wishes that hold here, who is on the cards now, and the book's lines since a time (s since 1970)."""
    from . import cards, gpu, guestbook

    wishes, apps = cards.wishes_of(agent.local), gpu.apps() or []
    now = [
        {"card": card.index, "who": one.words()}
        for card in gpu.cards()
        for one in cards.neighbours(agent.local.cards, card.uuid, apps)
    ]
    return {"wishes": wishes._asdict(), "now": now, "lines": guestbook.read(agent.local, since)}
