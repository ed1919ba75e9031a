"""Reads that must be quick: job states, scores, case rows and curves, through the raw driver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from . import series
from .rows import CaseRow, Curve, Fault, JobRow, Known, Span, SweepRow

PLANNED = "planned"  # a cell of the sweep for which no attempt is known

_JOBS = f"""
SELECT s.name, j.uid, j.label, j.names, j.position,
       CASE WHEN j.counted_id THEN 'done' ELSE coalesce(a.state, '{PLANNED}') END,
       coalesce(a.number, 0), coalesce(c.number, 0), coalesce(a.reason, ''),
       coalesce(a.warning, '') || CASE WHEN a.warning != '' AND a.damage != '' THEN '; ' ELSE '' END
           || coalesce(a.damage, ''),
       coalesce(a.host, ''), coalesce(a.known_state, ''), a.event_t, a.latest
FROM job j JOIN sweep s ON s.id = j.sweep_id
LEFT JOIN attempt a ON a.id = j.latest_id
LEFT JOIN attempt c ON c.id = j.counted_id
{{}}
ORDER BY s.id, j.position IS NULL, j.position, j.uid
"""  # the columns of JobRow, in its order

_COUNTS = f"""
SELECT s.name, CASE WHEN j.counted_id THEN 'done' ELSE coalesce(a.state, '{PLANNED}') END AS now, count(*)
FROM job j JOIN sweep s ON s.id = j.sweep_id LEFT JOIN attempt a ON a.id = j.latest_id
WHERE j.position IS NOT NULL GROUP BY s.name, now
"""

_NAMED = """
SELECT s.name, j.uid, j.label, j.position IS NOT NULL FROM job j JOIN sweep s ON s.id = j.sweep_id
WHERE j.label = ? OR (j.uid >= ? AND j.uid < ?) ORDER BY s.id, j.position IS NULL, j.position, j.uid
"""

# What waited on a host that fell silent is told again as a whole, so that it is known to wait once more: no offset.
_ATTEMPT = """
SELECT s.name, j.uid, a.number, CASE WHEN a.offset OR a.final OR a.state != 'unreachable' THEN a.offset END, a.final
FROM attempt a JOIN job j ON j.id = a.job_id JOIN sweep s ON s.id = j.sweep_id
"""

_SCORES_OF = """
SELECT s.name, j.uid, k.name, v.value FROM sweep s JOIN job j ON j.sweep_id = s.id
JOIN score v ON v.attempt_id = j.counted_id JOIN key k ON k.id = v.key_id
WHERE s.name IN (SELECT value FROM json_each(?)) AND k.name IN (SELECT value FROM json_each(?))
"""

_SCORES = """
SELECT j.uid, k.name, v.value FROM job j JOIN sweep s ON s.id = j.sweep_id
JOIN score v ON v.attempt_id = j.counted_id JOIN key k ON k.id = v.key_id
WHERE s.name = ? AND (? IS NULL OR k.name = ?) ORDER BY j.id, v.key_id
"""

_CASES = """
SELECT j.uid, a.number, c."case", c."group", c.class, c.status, c.dice, c.slice_dice, c.numbers
FROM job j JOIN sweep s ON s.id = j.sweep_id JOIN attempt a ON a.id = j.counted_id
JOIN case_score c ON c.attempt_id = a.id
WHERE s.name = ? ORDER BY j.id, c."case", c.class
"""

_SPANS = """
SELECT s.name, a.host, json_extract(a.spec, '$.cell.program'),
       json_extract(a.exit, '$.ended') - json_extract(a.exit, '$.started'), json_extract(a.latest, '$.values.seconds')
FROM attempt a JOIN job j ON j.id = a.job_id JOIN sweep s ON s.id = j.sweep_id
WHERE a.state = 'done' AND a.final AND a.exit IS NOT NULL AND a.spec IS NOT NULL AND a.host IS NOT NULL ORDER BY a.id
"""

_FAULTS = """
SELECT j.uid, a.host, json_extract(a.exit, '$.failure.kind'), json_extract(a.exit, '$.failure.evidence')
FROM job j JOIN sweep s ON s.id = j.sweep_id JOIN attempt a ON a.id = j.latest_id
WHERE s.name = ? AND a.state = 'failed' AND json_extract(a.exit, '$.decision.action') = 'other_host'
"""

_OWNERS = """
SELECT a.id, j.uid, a.number FROM job j JOIN sweep s ON s.id = j.sweep_id JOIN attempt a ON a.job_id = j.id
WHERE s.name = ? AND (? IS NULL OR j.uid = ?)
"""
_SERIES = f"SELECT attempt_id, key_id, first, steps, data FROM series JOIN ({_OWNERS}) o ON o.id = attempt_id"
_NARROW = f"SELECT attempt_id, key_id, step, value FROM ({_OWNERS}) o CROSS JOIN metric ON attempt_id = o.id"


def jobs(connection: sqlite3.Connection, sweeps: Iterable[str] | None = None) -> list[JobRow]:
    """Return the jobs of some sweeps, or of all, in the order of their sweep."""
    only = "" if sweeps is None else "WHERE s.name IN (SELECT value FROM json_each(?))"  # they are found by their key
    asked = () if sweeps is None else (json.dumps(list(sweeps)),)
    rows = connection.execute(_JOBS.format(only), asked).fetchall()
    names = json.loads(f"[{','.join(row[3] for row in rows)}]")  # one parse of 1,000 texts: three times as fast
    return [JobRow._make((*row[:3], name, *row[4:])) for row, name in zip(rows, names, strict=True)]


_SWEEPS = """
SELECT s.name, s.created, b.about FROM sweep s LEFT JOIN sweep_about b ON b.name = s.name
ORDER BY s.created IS NULL, s.created, s.name
"""


def sweeps(connection: sqlite3.Connection) -> list[SweepRow]:
    """Return all sweeps, oldest first; of their records what is small (`records.about`)."""
    return [SweepRow(name, created, json.loads(about or "{}")) for name, created, about in connection.execute(_SWEEPS)]


def sweep(connection: sqlite3.Connection, name: str) -> SweepRow | None:
    """Return one sweep with its whole record, or None."""
    row = connection.execute("SELECT name, created, record FROM sweep WHERE name = ?", (name,)).fetchone()
    return SweepRow(row[0], row[1], json.loads(row[2] or "{}")) if row else None


def counts(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return by sweep how many of the jobs that it asks for are in each state."""
    found: dict[str, dict[str, int]] = {}
    for sweep, state, number in connection.execute(_COUNTS):
        found.setdefault(sweep, {})[state] = number
    return found


def named(connection: sqlite3.Connection, text: str) -> list[tuple[str, str, str, bool]]:
    """Return the jobs that a text may mean by id, label or beginning of the id: sweep, id, label, whether it counts.

    Those that the sweep file no longer asks for do not count.
    """
    rows = connection.execute(_NAMED, (text, text, text + "\U0010ffff"))
    return [(sweep, uid, label, bool(current)) for sweep, uid, label, current in rows]


def offsets(connection: sqlite3.Connection, unended: bool = False) -> dict[tuple[str, str, int], Known]:
    """Return how far every attempt (sweep, job, number) was read; with `unended` only those without a known end."""
    rows = connection.execute(_ATTEMPT + " WHERE NOT a.final" if unended else _ATTEMPT)
    return {(name, uid, number): Known(offset, bool(final)) for name, uid, number, offset, final in rows}


def scores(connection: sqlite3.Connection, sweep: str, key: str | None = None) -> dict[str, dict[str, float | None]]:
    """Return the result's numbers of the attempts that count: job -> name -> value (None: undefined).

    Parameters
    ----------
    key:
        Only this number.
    """
    found: dict[str, dict[str, float | None]] = {}
    for uid, name, value in connection.execute(_SCORES, (sweep, key, key)):
        found.setdefault(uid, {})[name] = value
    return found


def scores_of(
    connection: sqlite3.Connection, sweeps: Iterable[str], keys: Iterable[str]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return some numbers of several sweeps in one query: sweep -> job -> name -> value (None: undefined)."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    asked = (json.dumps(list(sweeps)), json.dumps(list(keys)))
    for sweep, uid, name, value in connection.execute(_SCORES_OF, asked):
        found.setdefault(sweep, {}).setdefault(uid, {})[name] = value
    return found


def cases(connection: sqlite3.Connection, sweep: str) -> list[CaseRow]:
    """Return the case rows of the attempts that count."""
    rows = connection.execute(_CASES, (sweep,))
    return [CaseRow(*_loaded(row)) for row in rows]


def curves(
    connection: sqlite3.Connection, sweep: str, job: str | None = None
) -> dict[tuple[str, int], dict[str, Curve]]:
    """Return all metrics of all attempts of a sweep or of one job: (job, attempt) -> name -> curve."""
    asked = (sweep, job, job)
    owners = {row[0]: (row[1], row[2]) for row in connection.execute(_OWNERS, asked)}
    names = dict(connection.execute("SELECT id, name FROM key").fetchall())
    found: dict[tuple[str, int], dict[str, Curve]] = {}
    for attempt, key, *stored in connection.execute(_SERIES, asked):
        found.setdefault(owners[attempt], {})[names[key]] = series.unpack(*stored)
    for attempt, key, curve in series.narrow(connection.execute(_NARROW, asked)):
        found.setdefault(owners[attempt], {})[names[key]] = curve
    return found


def spans(connection: sqlite3.Connection) -> list[Span]:
    """Return how long the jobs took that are done, oldest first."""
    rows = connection.execute(_SPANS)
    return [Span(*row) for row in rows if isinstance(row[3], int | float) and row[3] >= 0]


def faults(connection: sqlite3.Connection, sweep: str) -> dict[str, Fault]:
    """Return the jobs whose newest attempt failed by its host's fault: job id -> fault."""
    return {
        uid: Fault(host, kind, evidence or "") for uid, host, kind, evidence in connection.execute(_FAULTS, (sweep,))
    }


def _loaded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:-1], json.loads(row[-1]))
