"""What an index says, free of row numbers: two indexes made from the same run folders must say the same.

Left out, because it is the memory of this machine and not of the hosts: when a host was last seen, the last known state
of an unreachable attempt, how far the journal was read, and by what an attempt without an exit record was proved ended:
a free lock at first, the boot since then.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from . import status

Content = Mapping[tuple[Any, ...], Any]  # (kind, natural key ...) -> value

_OWNER = "FROM attempt a JOIN job j ON j.id = a.job_id JOIN sweep s ON s.id = j.sweep_id"
_WORDS = {
    "sweep": "sweep {}",
    "job": "{}: job {}",
    "attempt": "{}: job {}, attempt {}",
    "curve": "{}: job {}, attempt {}, curve {}",
    "score": "{}: job {}, attempt {}, result {}",
    "case": "{}: job {}, attempt {}, case {} {}",
    "event": "{}: job {}, attempt {}, event {}",
    "artifact": "{}: job {}, attempt {}, checksum of {}",
    "journal": "journal line {0} about {2} {3}: {4} {5}",
}
_PLAIN = ("state", "reason", "warning", "damage", "host", "final", "offset", "event_t")
_JSON = ("latest", "spec", "exit", "result")
_TABLES = (  # kind, columns that name a row, other columns, table
    ("score", "k.name", "v.value", "score v ON v.attempt_id = a.id JOIN key k ON k.id = v.key_id"),
    (
        "case",
        'c."case", c.class',
        'c."group", c.status, c.dice, c.slice_dice, c.numbers',
        "case_score c ON c.attempt_id = a.id",
    ),
    ("event", "e.seq", "e.t, e.kind, e.body", "event e ON e.attempt_id = a.id"),
    ("artifact", "f.name", "f.sha256", "artifact f ON f.attempt_id = a.id"),
)
_LONGEST = 60  # characters of a value that a difference shows


def content(connection: sqlite3.Connection) -> dict[tuple[Any, ...], Any]:
    """Return everything that a rebuild must give back."""
    found: dict[tuple[Any, ...], Any] = {}
    for part in (_sweeps, _jobs, _attempts, _curves, _rows):
        found.update(part(connection))
    return found


def compare(index: Content, rebuilt: Content) -> list[str]:
    """Return the differences between an index and the run folders, one sentence each."""
    found = []
    for key in sorted({*index, *rebuilt}, key=str):
        where = _WORDS[key[0]].format(*key[1:])
        if key not in rebuilt:
            found.append(f"{where}: in the index, not in the run folders")
        elif key not in index:
            found.append(f"{where}: in the run folders, not in the index")
        elif index[key] != rebuilt[key]:
            found.extend(f"{where}: {text}" for text in _differences(index[key], rebuilt[key]))
    return found


def _differences(left: Any, right: Any) -> Iterator[str]:
    if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
        yield f"the index says {_short(left)}, the run folders say {_short(right)}"
        return
    for name in sorted({*left, *right}, key=str):
        if left.get(name) != right.get(name):
            yield f"{name} is {_short(left.get(name))} in the index, {_short(right.get(name))} in the run folders"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _sweeps(connection: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name, record in connection.execute("SELECT name, record FROM sweep"):
        yield ("sweep", name), json.loads(record or "{}")


def _jobs(connection: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for row in status.jobs(connection):
        says = {"label": row.label, "names": dict(row.names), "position": row.position}
        yield ("job", row.sweep, row.id), {**says, "newest attempt": row.attempts, "counted attempt": row.counted}


def _attempts(connection: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], Any]]:
    columns = (*_PLAIN, *_JSON)
    query = f"SELECT s.name, j.uid, a.number, {', '.join('a.' + name for name in columns)} {_OWNER}"
    for sweep, job, number, *values in connection.execute(query):
        says = dict(zip(columns, values, strict=True))
        for name in _JSON:
            says[name] = json.loads(says[name] or "null")
        if says["final"] and says["exit"] is None:
            says["reason"] = says["warning"] = ""
        yield ("attempt", sweep, job, number), says


def _curves(connection: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for (sweep,) in connection.execute("SELECT name FROM sweep").fetchall():
        for (job, number), curves in status.curves(connection, sweep).items():
            for name, curve in curves.items():
                yield (
                    ("curve", sweep, job, number, name),
                    {
                        "values": len(curve.values),
                        "last": curve.values[-1] if math.isfinite(curve.values[-1]) else None,
                        "digest": _digest(curve.steps, curve.values),
                    },
                )


def _digest(steps: array[int], values: array[float]) -> str:
    plain = array("d", (math.nan if value != value else value for value in values))  # one NaN, whatever its bits
    return hashlib.sha256(steps.tobytes() + plain.tobytes()).hexdigest()[:16]


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for kind, names, values, table in _TABLES:
        width = 3 + len(names.split(", "))
        query = f"SELECT s.name, j.uid, a.number, {names}, {values} {_OWNER} JOIN {table}"
        for row in connection.execute(query):
            yield (kind, *row[:width]), list(row[width:])
    for row in connection.execute("SELECT seq, t, sweep, job, kind, text, attempt FROM journal"):
        yield ("journal", *row), True
