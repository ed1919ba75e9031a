"""Grids and placeholders of command sweeps: `1..200`, `{fold}`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)$")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
RUN = "run"  # stays in the words: the host puts the run folder there


def values(written: Any) -> list[Any]:
    """Return the values of one axis: a list (ranges in it are opened), or a range such as `1..200`, ends included."""
    items = written if isinstance(written, list) else [written]
    return [value for item in items for value in _opened(item)]


def _opened(item: Any) -> Iterator[Any]:
    match = _RANGE.match(item) if isinstance(item, str) else None
    if not match:
        yield item
        return
    first, last = int(match[1]), int(match[2])
    yield from range(first, last + 1) if first <= last else range(first, last - 1, -1)


def length(written: Any) -> int:
    """Return how many values an axis has, without making them."""
    total = 0
    for item in written if isinstance(written, list) else [written]:
        match = _RANGE.match(item) if isinstance(item, str) else None
        total += abs(int(match[2]) - int(match[1])) + 1 if match else 1
    return total


def points(axes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every point of the grid; the last axis runs fastest."""
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def placeholders(word: str) -> list[str]:
    """Return the names in braces; `{{` and `}}` are braces themselves."""
    return [match[1] for match in _PLACEHOLDER.finditer(word) if match[1]]


def fill(word: str, point: Mapping[str, Any]) -> str:
    """Replace the placeholders of a word; `{run}` stays for the host."""

    def one(match: re.Match[str]) -> str:
        name = match[1]
        if not name:
            return match[0][0]
        return match[0] if name == RUN else plain(point[name])

    return _PLACEHOLDER.sub(one, word)


def plain(value: Any) -> str:
    """Return a value as a word of a command line: 15.0 is `15`, True is `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
