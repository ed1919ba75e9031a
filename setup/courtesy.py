"""The site file's key `courtesy`: how our jobs share a host's cards with other people's.

courtesy:
  quiet_hours: mon-fri 08:00-19:00   # no job of ours uses a card then (a list is several); the host's own time
  foreign_memory: 500 MB             # what others may hold on a card that we still use
  free_memory: 4 GB                  # what must be free on a card before a job starts
  prefer: [1, 0]                     # cards to take first, by their index
  look: 20                           # seconds between looks while a job runs
  grace: 120                         # seconds that a job has to write its checkpoint and leave
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.courtesy import window

if TYPE_CHECKING:
    from .site import Document, Place

KEYS = ("quiet_hours", "foreign_memory", "free_memory", "prefer", "look", "grace")
_MEMORY = {"foreign_memory": "foreign_mb", "free_memory": "free_mb"}
_SECONDS = {"look": ("look_s", 1), "grace": ("grace_s", 0)}  # name on the host, and the least
_MOST_SECONDS = 3600
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(M|G)i?B")


def wishes(document: Document, place: Place, value: Any) -> Mapping[str, Any]:
    """Return the wishes as the host keeps them (`jobs.courtesy.Wishes`); what is not said is not in it.

    Raises
    ------
    SpecError
        An unknown key (the nearest is named), or a value that is none.
    """
    if not isinstance(value, dict):
        raise document.error(place, "must be a mapping", "courtesy: {quiet_hours: 08:00-19:00}")
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, 0.6)
            text = "unknown key" + (f". Did you mean '{near[0]}'?" if near else "")
            raise document.error((*place, key), text, f"keys are: {', '.join(KEYS)}")
        name, kept = _wish(document, (*place, key), key, item)
        found[name] = kept
    return MappingProxyType(found)


def _wish(document: Document, place: Place, key: str, item: Any) -> tuple[str, Any]:
    if key in _MEMORY:
        return _MEMORY[key], _memory(document, place, key, item)
    if key in _SECONDS:
        name, least = _SECONDS[key]
        return name, _seconds(document, place, key, item, least)
    if key == "prefer":
        if not isinstance(item, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in item):
            raise document.error(place, f"must be a list of cards' indexes, not {item!r}", "prefer: [1, 0]")
        return key, item
    hours = item if isinstance(item, list) else [item]
    for one in hours:
        if not isinstance(one, str) or not window(one):
            raise document.error(place, f"are no hours: {one!r}", "quiet_hours: 08:00-19:00, or mon-fri 08:00-19:00")
    return key, hours


def _memory(document: Document, place: Place, key: str, item: Any) -> int:
    size = _SIZE.fullmatch(item) if isinstance(item, str) else None
    if not size:
        raise document.error(place, f"must be an amount of memory, not {item!r}", f"{key}: 500 MB, or 4 GB")
    return round(float(size[1]) * (1024 if size[2] == "G" else 1))


def _seconds(document: Document, place: Place, key: str, item: Any, least: int) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float) or not least <= item <= _MOST_SECONDS:
        text = f"must be seconds from {least} to {_MOST_SECONDS}, not {item!r}"
        raise document.error(place, text, f"{key}: 30")
    return float(item)
