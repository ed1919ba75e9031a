"""Verbs about sharing cards: what the site wishes, and what can be shown to a colleague."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Mapping

from . import gpu, guestbook
from .atomic import read_json, write_json
from .cards import neighbours, wishes_of
from .queue import ring

if TYPE_CHECKING:
    from .agent import Agent

DAYS = 7.0  # of the guest book, unless more are asked for


def heed(agent: "Agent", wishes: Mapping[str, Any]) -> None:
    """Keep what the site file says of sharing this host's cards, when it says something else than before."""
    said = dict(wishes)
    if (read_json(agent.local.wishes) or {}) != said:
        write_json(agent.local.wishes, said, sync=False)
        ring(agent.local.wake)


def courtesy(agent: "Agent", days: float = DAYS) -> Dict[str, Any]:
    """Return the wishes, who is on the cards now (`words`, by index), and the guest book's lines of the last days."""
    seen, apps = gpu.look(), gpu.apps() or []
    cards = []
    for card in seen.cards:
        near = neighbours(agent.local.cards, card.uuid, apps)
        cards.append({**card.to_json(), "people": [one.words() for one in near]})
    book = guestbook.read(agent.local, time.time() - days * 86400)
    return {"wishes": dict(wishes_of(agent.local)._asdict()), "cards": cards, "reason": seen.reason, "book": book}
