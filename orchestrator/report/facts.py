"""Provenance: what the counted results were made with, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..store import AttemptRow, EventRow

Pair = tuple[AttemptRow, Mapping[str, Any]]  # an attempt that counts, and its `start` event


@dataclass(frozen=True)
class Fact:
    """One property of the results: its values, each with the labels of the cells that have it."""

    name: str
    values: Mapping[str, tuple[str, ...]]
    must_agree: bool = False  # a comparison across different values needs a warning


def gather(attempts: Iterable[AttemptRow], starts: Iterable[EventRow]) -> tuple[Fact, ...]:
    """Return the facts that are known of the attempts that count."""
    begun = {(event.job, event.attempt): event.body for event in starts}
    pairs = [(row, begun.get((row.job, row.number), {})) for row in attempts if row.counts]
    facts = [_fact(name, get, must_agree, pairs) for name, get, must_agree in _FACTS]
    return tuple(fact for fact in facts if fact.values)


def _fact(name: str, get: Callable[[Pair], Any], must_agree: bool, pairs: Iterable[Pair]) -> Fact:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        value = get(pair)
        if value not in (None, ""):
            found.setdefault(value if isinstance(value, str) else json.dumps(value), []).append(pair[0].label)
    return Fact(name, {value: tuple(labels) for value, labels in found.items()}, must_agree)


def _recorded(*path: str) -> Callable[[Pair], Any]:
    return lambda pair: _dig(pair[0].spec, ("provenance", *path))


def _started(*path: str) -> Callable[[Pair], Any]:
    return lambda pair: _dig(pair[1], path)


def _dig(value: Any, path: Iterable[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _git(pair: Pair) -> str | None:
    git = _recorded("git")(pair)
    commit = _dig(git, ("commit",))
    return f"{commit[:12]}{', with uncommitted changes' if git.get('dirty') else ''}" if commit else None


def _data(pair: Pair) -> str | None:
    data = _recorded("data")(pair)
    return f"{data.get('name')} ({data.get('hash')})" if isinstance(data, Mapping) else None


def _host(pair: Pair) -> str | None:
    return pair[0].host or _dig(pair[0].exit, ("host",))


def _device(pair: Pair) -> str | None:
    device = _started("device")(pair) or _dig(pair[0].exit, ("device",))
    return device if isinstance(device, str) else None


def _retries(pair: Pair) -> str | None:
    return f"attempt {pair[0].number}" if pair[0].number > 1 else None


def _at_once(pair: Pair) -> str | None:
    """What batch normalisation saw: it differs where memory ran out and a job went on with smaller parts."""
    micro, batch = _started("micro_batch")(pair), _started("batch")(pair)
    if not isinstance(micro, int) or not isinstance(batch, int):
        return None
    return f"{micro} of {batch} slices" if micro < batch else "the whole batch"


_FACTS: tuple[tuple[str, Callable[[Pair], Any], bool], ...] = (
    ("data", _data, True),
    ("split", _recorded("split"), True),
    ("code", _recorded("code"), True),
    ("git", _git, False),
    ("environment", _recorded("environment", "fingerprint"), True),
    ("torch", _started("versions", "torch"), True),
    ("Python", _started("versions", "python"), False),
    ("orch", _recorded("orch"), False),
    ("host", _host, True),
    ("device", _device, True),
    ("precision", _started("precision"), True),
    ("micro-batch", _at_once, True),
    ("counted attempt", _retries, False),
)
