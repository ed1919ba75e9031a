"""Reads that may take their time, in SQLAlchemy Core: attempts with files, events, journal, worst cases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from . import schema as t
from .rows import AttemptRow, CaseRow, EventRow, JournalRow

_JSON = frozenset({"names", "spec", "exit", "result", "body", "numbers", "latest"})


def attempts(connection: sqlite3.Connection, sweep: str | None, job: str | None = None) -> list[AttemptRow]:
    """Return the attempts of a sweep (of all: None) or of one job, in the order of the sweep and of the attempts."""
    fenced = (
        sa.exists()
        .where(t.journal.c.kind == "fence", t.journal.c.sweep == t.sweep.c.name, t.journal.c.job == t.job.c.uid)
        .where(t.journal.c.attempt == t.attempt.c.number)
    )
    query = (
        sa.select(t.attempt, t.job.c.uid, t.job.c.label, t.job.c.names, t.job.c.counted_id, fenced.label("fenced"))
        .select_from(_joined())
        .where(*_only(sweep, job))
        .order_by(t.job.c.position.is_(None), t.job.c.position, t.job.c.uid, t.attempt.c.number)
    )
    return [_attempt(row) for row in _run(connection, query)]


def events(
    connection: sqlite3.Connection, sweep: str | None, job: str | None = None, kind: str | None = None
) -> list[EventRow]:
    """Return events other than metrics; with `kind` only these."""
    query = (
        sa.select(t.job.c.uid, t.attempt.c.number, t.event.c.seq, t.event.c.t, t.event.c.kind, t.event.c.body)
        .select_from(_joined().join(t.event, t.event.c.attempt_id == t.attempt.c.id))
        .where(*_only(sweep, job), *([t.event.c.kind == kind] if kind else []))
        .order_by(t.job.c.id, t.attempt.c.number, t.event.c.seq)
    )
    return [EventRow(*row.values()) for row in _run(connection, query)]


def journal(connection: sqlite3.Connection, sweep: str | None = None, job: str | None = None) -> list[JournalRow]:
    """Return the journal's lines, oldest first."""
    table = t.journal.c
    query = sa.select(table.seq, table.t, table.sweep, table.job, table.kind, table.text, table.attempt)
    query = query.where(*([table.sweep == sweep] if sweep else []), *([table.job == job] if job else []))
    return [JournalRow(*row.values()) for row in _run(connection, query.order_by(table.seq, table.t, table.id))]


def worst(connection: sqlite3.Connection, sweep: str, count: int) -> list[CaseRow]:
    """Return the rows with the lowest defined Dice among the attempts that count, worst first."""
    c = t.case_score.c
    columns = (t.job.c.uid, t.attempt.c.number, c.case, c.group, c["class"], c.status, c.dice, c.slice_dice, c.numbers)
    counted = t.job.join(t.sweep, t.sweep.c.id == t.job.c.sweep_id)
    counted = counted.join(t.attempt, t.attempt.c.id == t.job.c.counted_id)
    query = (
        sa.select(*columns)
        .select_from(counted.join(t.case_score, c.attempt_id == t.attempt.c.id))
        .where(t.sweep.c.name == sweep, c.dice.is_not(None))
        .order_by(c.dice, t.job.c.id, c.case)
        .limit(count)
    )
    return [CaseRow(*row.values()) for row in _run(connection, query)]


def _run(connection: sqlite3.Connection, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
    """Run a query on the open connection, inside the snapshot of its caller: an engine would end that transaction."""
    compiled = query.compile(dialect=sqlite.dialect())
    cursor = connection.execute(compiled.string, [compiled.params[name] for name in compiled.positiontup or ()])
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield {
            name: json.loads(value) if name in _JSON and value is not None else value
            for name, value in zip(names, row, strict=True)
        }


def _joined() -> sa.Join:
    with_job = t.attempt.join(t.job, t.job.c.id == t.attempt.c.job_id)
    return with_job.join(t.sweep, t.sweep.c.id == t.job.c.sweep_id)


def _only(sweep: str | None, job: str | None) -> list[sa.ColumnElement[bool]]:
    wanted = [t.sweep.c.name == sweep] if sweep is not None else []
    return wanted + ([t.job.c.uid == job] if job is not None else [])


def _attempt(row: dict[str, Any]) -> AttemptRow:
    return AttemptRow(
        job=row["uid"],
        label=row["label"],
        names=row["names"],
        number=row["number"],
        counts=row["counted_id"] == row["id"],
        fenced=bool(row["fenced"]),
        host=row["host"] or "",
        state=row["state"],
        reason=row["reason"],
        warning="; ".join(filter(None, (row["warning"], row["damage"]))),
        spec=row["spec"],
        exit=row["exit"],
        result=row["result"],
    )
