"""Metric values: narrow rows while an attempt lives, one packed row per metric once it ended.

A packed series is read about ten times as fast as narrow rows and takes 8 bytes per value.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise, repeat
from operator import itemgetter

from .rows import Curve

Columns = dict[int, tuple[list[int], list[float]]]  # key id -> steps and values, equally long

_INSERT = "INSERT OR REPLACE INTO metric VALUES (?, ?, ?, ?)"
_COLUMN = "SELECT step, value FROM metric WHERE attempt_id = ? AND key_id = ? ORDER BY step"
_NAMES = """SELECT name FROM key WHERE id IN
(SELECT key_id FROM metric WHERE attempt_id = ? UNION SELECT key_id FROM series WHERE attempt_id = ?)"""
_PACK = "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?)"


def pack(steps: Sequence[int], values: Sequence[float]) -> tuple[int, bytes | None, bytes]:
    """Return first step, packed steps (None when they are consecutive) and packed values.

    A step that comes twice keeps its last value; steps come out rising.
    """
    first, last = steps[0], steps[0] + len(steps) - 1
    consecutive = steps[-1] == last and array("q", steps) == array("q", range(first, last + 1))
    if not consecutive and any(a >= b for a, b in pairwise(steps)):
        unique = dict(zip(steps, values, strict=True))
        return pack(sorted(unique), [unique[step] for step in sorted(unique)])
    return first, None if consecutive else _bytes(array("q", steps)), _bytes(array("d", values))


def unpack(first: int, steps: bytes | None, data: bytes) -> Curve:
    """Undo `pack`."""
    values = _floats(data)
    if steps is None:
        return Curve(array("q", range(first, first + len(values))), values)
    return Curve(_ints(steps), values)


def add(connection: sqlite3.Connection, attempt: int, columns: Columns, final: bool) -> int:
    """Write new values of one attempt; return how many. Values seen before are replaced by themselves."""
    if final and not _has_rows(connection, attempt):
        connection.executemany(_PACK, _packed(attempt, columns))
    else:
        _thaw(connection, attempt)
        for key, (steps, values) in columns.items():
            connection.executemany(_INSERT, zip(repeat(attempt), repeat(key), steps, values))
    return sum(len(steps) for steps, _ in columns.values())


def names(connection: sqlite3.Connection, attempt: int) -> Iterator[str]:
    """Yield the names of an attempt's metrics."""
    rows = connection.execute(_NAMES, (attempt, attempt))
    return (str(name) for (name,) in rows)


def compact(connection: sqlite3.Connection, attempt: int) -> None:
    """Turn the narrow rows of an ended attempt into packed series."""
    keys = connection.execute("SELECT DISTINCT key_id FROM metric WHERE attempt_id = ?", (attempt,)).fetchall()
    for (key,) in keys:
        connection.execute(_PACK, (attempt, key, *pack(*_column(connection, attempt, key))))
    if keys:
        connection.execute("DELETE FROM metric WHERE attempt_id = ?", (attempt,))


def narrow(rows: Iterable[tuple[int, int, int, float | None]]) -> Iterator[tuple[int, int, Curve]]:
    """Group narrow rows (attempt, key, step, value), in that order, into curves; null becomes NaN."""
    for (attempt, key), group in groupby(rows, key=itemgetter(0, 1)):
        _, _, steps, values = zip(*group, strict=True)
        if None in values:
            values = tuple(math.nan if value is None else value for value in values)
        yield attempt, key, Curve(array("q", steps), array("d", values))


def _thaw(connection: sqlite3.Connection, attempt: int) -> None:
    """Turn packed series back into narrow rows: an attempt that had ended reported more."""
    packed = connection.execute("SELECT key_id, first, steps, data FROM series WHERE attempt_id = ?", (attempt,))
    for key, *stored in packed.fetchall():
        curve = unpack(*stored)
        connection.executemany(_INSERT, zip(repeat(attempt), repeat(key), curve.steps, curve.values))
    connection.execute("DELETE FROM series WHERE attempt_id = ?", (attempt,))


def _has_rows(connection: sqlite3.Connection, attempt: int) -> bool:
    query = "SELECT 1 FROM metric WHERE attempt_id = ? UNION ALL SELECT 1 FROM series WHERE attempt_id = ? LIMIT 1"
    return connection.execute(query, (attempt, attempt)).fetchone() is not None


def _packed(attempt: int, columns: Columns) -> Iterator[tuple[int, int, int, bytes | None, bytes]]:
    for key, (steps, values) in columns.items():
        yield (attempt, key, *pack(steps, values))


def _column(connection: sqlite3.Connection, attempt: int, key: int) -> tuple[array[int], array[float]]:
    """Return one metric's narrow rows; as they come into arrays, for there may be a million of them."""
    steps, values = array("q"), array("d")
    for step, value in connection.execute(_COLUMN, (attempt, key)):
        steps.append(step)
        values.append(math.nan if value is None else value)
    return steps, values


def _bytes(values: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _ints(data: bytes) -> array[int]:
    values = array("q", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _floats(data: bytes) -> array[float]:
    values = array("d", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
