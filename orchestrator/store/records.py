"""Sweep records and the journal, into the tables; and which attempt of a job counts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.atomic import canonical
from jobs.documents import moment, text
from jobs.state import QUEUED, UNREACHABLE

# Of several attempts exactly one counts: the first done one that no fence excludes (its host was declared dead, or a
# person asked for another run of the same cell).
_RECOUNT = """
UPDATE job SET
  latest_id = (SELECT a.id FROM attempt a WHERE a.job_id = job.id ORDER BY a.number DESC LIMIT 1),
  counted_id = (SELECT a.id FROM attempt a WHERE a.job_id = job.id AND a.state = 'done' AND NOT EXISTS (
      SELECT 1 FROM journal j JOIN sweep s ON s.name = j.sweep
      WHERE s.id = job.sweep_id AND j.job = job.uid AND j.kind = 'fence' AND j.attempt = a.number)
    ORDER BY a.number LIMIT 1)
WHERE id = ?
"""


def recount(connection: sqlite3.Connection, jobs: Iterable[int]) -> None:
    """Decide anew, for each job (row id), which attempt is the newest and which one counts."""
    connection.executemany(_RECOUNT, [(job,) for job in jobs])


def drop_waiting(connection: sqlite3.Connection, job: int, number: int, host: str) -> None:
    """Forget an attempt that waited on a host, and of which that host says that it waits no more and did not begin."""
    connection.execute(
        "DELETE FROM attempt WHERE job_id = ? AND number = ? AND host = ? AND state = ? AND exit IS NULL",
        (job, number, host, QUEUED),
    )


def record_sweep(connection: sqlite3.Connection, record: Mapping[str, Any]) -> None:
    """Take in what a sweep is now; cells that it no longer has keep their attempts, without a position."""
    sweep = sweep_id(connection, str(record["name"]))
    connection.execute(
        "UPDATE sweep SET created = ?, record = ? WHERE id = ?", (record.get("created"), json.dumps(record), sweep)
    )
    connection.execute(
        "INSERT OR REPLACE INTO sweep_about VALUES (?, ?, ?)",
        (str(record["name"]), json.dumps(about(record)), digest(record)),
    )
    connection.execute("UPDATE job SET position = NULL WHERE sweep_id = ?", (sweep,))
    rows = (
        (sweep, str(cell["id"]), str(cell["label"]), json.dumps(cell.get("names") or {}), position)
        for position, cell in enumerate(record.get("cells") or [])
    )
    connection.executemany(
        "INSERT INTO job (sweep_id, uid, label, names, position) VALUES (?, ?, ?, ?, ?) ON CONFLICT (sweep_id, uid)"
        " DO UPDATE SET label = excluded.label, names = excluded.names, position = excluded.position",
        rows,
    )
    _leave_behind(connection, sweep)


def about(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is small of a record: what is left of it without its cells, its text and its earlier versions."""
    return {key: value for key, value in record.items() if key not in ("cells", "text", "versions")}


def digest(record: Mapping[str, Any]) -> str:
    """Return a hash of all that a record says."""
    return hashlib.sha256(canonical(record).encode()).hexdigest()


def written(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return of each known record when it was written (as it says itself) and its hash."""
    rows = connection.execute("SELECT name, json_extract(about, '$.updated'), digest FROM sweep_about")
    return {name: (str(updated or ""), found) for name, updated, found in rows}


def _leave_behind(connection: sqlite3.Connection, sweep: int) -> None:
    """Let cells that left the sweep be what a rebuild would make of them: nothing, or what their `job.json` says."""
    connection.execute(
        "DELETE FROM job WHERE sweep_id = ? AND position IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM attempt WHERE job_id = job.id)",
        (sweep,),
    )
    left = connection.execute(
        "SELECT j.id, a.spec FROM job j JOIN attempt a ON a.id = j.latest_id"
        " WHERE j.sweep_id = ? AND j.position IS NULL AND a.spec IS NOT NULL",
        (sweep,),
    ).fetchall()
    specs = [(job, json.loads(spec)) for job, spec in left]
    connection.executemany(
        "UPDATE job SET label = ?, names = ? WHERE id = ?",
        [(spec.get("label"), json.dumps(spec.get("names") or {}), job) for job, spec in specs if spec.get("label")],
    )


def ingest_journal(
    connection: sqlite3.Connection, lines: Iterable[Mapping[str, Any]], offset: int, home: str = ""
) -> int:
    """Take in lines of a home's journal up to a byte offset; return how many are new."""
    rows = [row for row in map(_journal_row, lines) if row]
    before = connection.total_changes
    connection.executemany(
        "INSERT OR IGNORE INTO journal (seq, t, sweep, job, kind, text, attempt) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
    )
    new = connection.total_changes - before
    connection.execute(
        "INSERT INTO position VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET offset = max(offset, excluded.offset)",
        (journal_name(home), offset),
    )
    _recount_fenced(connection, [(row[2], row[3]) for row in rows if row[4] == "fence"])
    return new


def _journal_row(line: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The columns of a line; None for one that is no line of a journal: it must not keep out the others."""
    number, attempt = line.get("seq"), line.get("attempt") or 0
    if type(number) is not int or type(attempt) is not int or not all(0 <= one < 1 << 63 for one in (number, attempt)):
        return None
    texts = [text(str(line.get(key) or "")) for key in ("sweep", "job", "kind", "text")]
    return (number, moment(line.get("t")) or 0.0, *texts[:2], texts[2] or "note", texts[3], attempt)


def journal_name(home: str) -> str:
    """Return the name under which the position in a home's journal is kept."""
    return f"journal {home}"


def follow(connection: sqlite3.Connection, name: str, told: Mapping[str, int]) -> None:
    """Remember how far the parts of something were followed, instead of what was remembered of it."""
    connection.execute("DELETE FROM position WHERE name >= ? AND name < ?", _span(name))
    connection.executemany("INSERT INTO position VALUES (?, ?)", [(f"{name}\t{part}", told[part]) for part in told])


def followed(connection: sqlite3.Connection, name: str) -> dict[str, int]:
    """Return how far the parts of something were followed."""
    rows = connection.execute("SELECT name, offset FROM position WHERE name >= ? AND name < ?", _span(name))
    return {part.partition("\t")[2]: offset for part, offset in rows}


def _span(name: str) -> tuple[str, str]:
    """Names of the parts lie between these two."""
    return f"{name}\t", f"{name}\n"


def forget_attempts(connection: sqlite3.Connection, gone: Iterable[tuple[str, str, str]]) -> None:
    """Forget what (sweep, job, host) had run: its folder is not there any more."""
    query = (
        "SELECT a.id, j.id FROM attempt a JOIN job j ON j.id = a.job_id JOIN sweep s ON s.id = j.sweep_id"
        " WHERE s.name = ? AND j.uid = ? AND a.host = ?"
    )
    found = [row for key in gone for row in connection.execute(query, key).fetchall()]
    attempts = [(attempt,) for attempt, _ in found]
    for table in ("metric", "series", "score", "case_score", "artifact", "event"):
        connection.executemany(f"DELETE FROM {table} WHERE attempt_id = ?", attempts)
    connection.executemany("DELETE FROM attempt WHERE id = ?", attempts)
    recount(connection, sorted({job for _, job in found}))


def keep_hosts(connection: sqlite3.Connection, hosts: Iterable[str]) -> int:
    """Forget all but what these hosts have run, and how far anything was followed; return how many attempts stay."""
    names = sorted(set(hosts))
    marks = ", ".join("?" * len(names))
    others = f"SELECT id FROM attempt WHERE host IS NULL OR host NOT IN ({marks})"
    for table in ("metric", "series", "score", "case_score", "artifact", "event"):
        connection.execute(f"DELETE FROM {table} WHERE attempt_id IN ({others})", names)
    connection.execute(f"DELETE FROM attempt WHERE id IN ({others})", names)
    connection.execute("DELETE FROM position")
    recount(connection, [row[0] for row in connection.execute("SELECT id FROM job").fetchall()])
    left = "SELECT j.sweep_id FROM job j JOIN attempt a ON a.job_id = j.id"
    connection.execute(f"DELETE FROM job WHERE sweep_id NOT IN ({left})")
    connection.execute("UPDATE sweep_about SET digest = ''")  # each record is taken in again when it is told
    return int(connection.execute("SELECT count(*) FROM attempt").fetchone()[0])


def silence(connection: sqlite3.Connection, host: str, reason: str) -> int:
    """Let a host's attempts of which no end is known be unreachable; what was last known stays beside it."""
    changed = connection.execute(
        "UPDATE attempt SET known_state = CASE state WHEN ? THEN known_state ELSE state END, state = ?, reason = ?"
        " WHERE host = ? AND final = 0 AND state != ''",
        (UNREACHABLE, UNREACHABLE, reason, host),
    )
    return changed.rowcount


def _recount_fenced(connection: sqlite3.Connection, fenced: list[tuple[str, str]]) -> None:
    query = "SELECT job.id FROM job JOIN sweep ON sweep.id = job.sweep_id WHERE sweep.name = ? AND job.uid = ?"
    found = [connection.execute(query, pair).fetchone() for pair in fenced]
    recount(connection, [row[0] for row in found if row])


def sweep_id(connection: sqlite3.Connection, name: str) -> int:
    """Return the row id of a sweep; the row is made when it is not there yet."""
    found = connection.execute("SELECT id FROM sweep WHERE name = ?", (name,)).fetchone()
    if found is None:
        found = connection.execute("INSERT INTO sweep (name) VALUES (?) RETURNING id", (name,)).fetchone()
    return int(found[0])
