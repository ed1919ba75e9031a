"""A sweep whose file changed: what its labels meant before, and what has changed, in words.

The record says what the sweep is now. Once cells leave it, the record of before becomes a version with a number, from
1; `rotate/1` means the cell of now, `rotate/1@1` that of version 1. Cells that only come add no version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobs.errors import NotFound, OrchError

from .words import listed

if TYPE_CHECKING:
    from .yamlfile import PathIn

MOST = 20  # versions that are kept; cells of older ones are found by their ids
_KEPT = ("updated", "text", "kind", "columns", "baseline", "metric", "steps", "strategies", "data", "code")
_LONGEST = 40  # characters of a value that is shown


def split_version(word: str) -> tuple[str, int | None]:
    """Return a name or label, and the number behind its `@`."""
    head, sign, number = word.rpartition("@")
    return (head, int(number)) if sign and head and number.isascii() and number.isdecimal() else (word, None)


def number(record: Mapping[str, Any]) -> int:
    """Return the number of the version that a record says."""
    found = record.get("version")
    return found if isinstance(found, int) and found > 0 else 1


def earlier(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the versions before the one that a record says, each a record with its number as `n`, oldest first."""
    found = record.get("versions")
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one for one in rows if isinstance(one.get("n"), int) and isinstance(one.get("cells"), list)]


def ids(record: Mapping[str, Any]) -> list[str]:
    """Return the ids of the cells of a record or of a version, in their order."""
    return [str(cell["id"]) if isinstance(cell, Mapping) else str(cell) for cell in record.get("cells") or ()]


def continued(record: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new record with the versions of before; the same cells as in an earlier one are that version again."""
    now, last = ids(record), ids(before)
    former = earlier(before)
    if not last or set(last) <= set(now):
        return {**record, "version": number(before), "versions": former}
    left = {"n": number(before), **{key: before.get(key) for key in _KEPT}, "cells": last}
    again = next((one for one in former if set(one["cells"]) == set(now)), None)
    kept = [one for one in (*former, left) if one is not again]
    highest = max(one["n"] for one in (*former, left))
    return {**record, "version": again["n"] if again else highest + 1, "versions": kept[-MOST:]}


def at(record: Mapping[str, Any], wanted: int | None, word: str) -> Mapping[str, Any]:
    """Return a sweep's record as it was in a version; `cells` are then ids.

    Raises
    ------
    NotFound
        There is no such version.
    """
    if wanted in (None, number(record)):
        return record
    found = {one["n"]: one for one in earlier(record)}
    if wanted not in found:
        known = [str(one) for one in sorted({*found, number(record)})]
        raise NotFound(f"{word} has no version {wanted}", f"there are: {', '.join(known)}")
    return {**record, **found[wanted], "version": wanted}


def of_cell(record: Mapping[str, Any], job: str) -> int | None:
    """Return the newest earlier version that a cell is of, or None."""
    found = [one["n"] for one in earlier(record) if job in one["cells"]]
    return max(found, default=None)


def changes(before: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return what differs between the sweep files of two records: `train.epochs 3 -> 2, seeds [0] -> [0, 1]`."""
    from .yamlfile import dotted  # most commands read no YAML

    found = [
        f"{dotted(place)} {_shown(old)} -> {_shown(new)}"
        for place, old, new in _differing((), _values(before), _values(record))
    ]
    if not found and before.get("data") != record.get("data"):
        found = [f"data {before.get('data')} -> {record.get('data')}"]
    if not found:
        return "the data, or how it is split" if record.get("kind") == "trainer" else "the options of the command"
    return listed(found)


def _values(record: Mapping[str, Any]) -> Any:
    from .yamlfile import parse

    try:
        return parse(str(record.get("text") or ""), "").value or {}
    except (OrchError, ValueError, RecursionError):  # of a time when other things were allowed
        return {}


def _differing(place: PathIn, old: Any, new: Any) -> Iterator[tuple[PathIn, Any, Any]]:
    """Yield the places at which two values differ, as deep inside as the difference is."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _differing((*place, key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _is_long(old):
        for number, pair in enumerate(zip(old, new, strict=True)):
            yield from _differing((*place, number), *pair)
    elif old != new:
        yield place, old, new


def _is_long(values: list[Any]) -> bool:
    return len(json.dumps(values, default=str)) > _LONGEST // 2


def _shown(value: Any) -> str:
    text = "(not there)" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
