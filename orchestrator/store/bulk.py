"""Bulk ingest: reports of the agents into the tables, through the raw driver.

Everything may come twice, late or in another order: the same facts give the same rows.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.documents import moment, text
from jobs.errors import ContractError
from jobs.folder import valid_name
from jobs.state import GONE, STATES, UNREACHABLE

from . import series
from .attempt import Attempt
from .records import drop_waiting, recount, sweep_id

_CASE_COLUMNS = frozenset({"case", "class", "group", "status", "dice", "slice_dice"})
_LIMIT = 1 << 63  # SQLite's integers have 64 bits
# What a report can bring about that no other one can help; a full disk is something else.
_OF_SQLITE = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, *_OF_SQLITE)
MOST_ATTEMPTS = 1 << 31
MOST_NAMES = 1000  # of one attempt's metrics: each becomes a column of tables; and of the values in its result
_MANY_NAMES = 100  # in one piece of events: then it is looked up how many there are already
WORDS = 300  # characters of a label, and of why a report is damaged


Named = dict[str, tuple[list[int], list[float]]]  # steps and values by metric


class Batch:
    """One transaction's worth of reports."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._keys: dict[str, int] = dict(connection.execute("SELECT name, id FROM key").fetchall())
        self._touched: set[int] = set()
        self.rows = 0  # metric values, scores, case rows and events written

    def add(self, report: Mapping[str, Any]) -> None:
        """Take in one attempt's report.

        Raises
        ------
        ContractError
            It names no sweep, job or attempt.
        """
        number, state = _names(report)
        job = self._job(report)
        self._touched.add(job)
        if state == GONE:
            drop_waiting(self._connection, job, number, str(report.get("host")))
            return
        self._take(Attempt(self._connection, job, number), report, state)

    def add_damaged(self, report: Mapping[str, Any], error: Exception) -> None:
        """Take in a report that the tables refuse, and whose rows were taken back: as a damaged attempt."""
        self._keys = dict(self._connection.execute("SELECT name, id FROM key").fetchall())
        number, _ = _names(report)
        job = self._job({**report, "spec": None})
        self._touched.add(job)
        attempt = Attempt(self._connection, job, number)
        why = f"its run folder cannot be understood: {error!r}"[:WORDS]
        attempt.judge({"verdict": {"reason": text(why)}}, UNREACHABLE, False)
        attempt.damaged("damaged run folder")

    def finish(self) -> None:
        """Decide anew, for every job touched, which attempt is the newest and which one counts."""
        recount(self._connection, sorted(self._touched))

    def _take(self, attempt: Attempt, report: Mapping[str, Any], state: str) -> None:
        offset = int(report.get("offset") or 0)
        final = attempt.is_final(report, state)
        if offset >= attempt.offset:
            attempt.judge(report, state, final)
        attempt.store_files(report)
        self._results(attempt, report)
        if offset > attempt.offset:
            self._events(attempt, report.get("events") or [], final)
            attempt.read_to(offset)
        if final:
            series.compact(self._connection, attempt.id)

    def _job(self, report: Mapping[str, Any]) -> int:
        sweep = sweep_id(self._connection, str(report["sweep"]))
        uid, spec = str(report["job"]), report.get("spec") or {}
        found = self._connection.execute(
            "SELECT id, position, label FROM job WHERE sweep_id = ? AND uid = ?", (sweep, uid)
        ).fetchone()
        if found and (found[1] is not None or not spec):
            return int(found[0])
        label, names = _label(spec, uid), json.dumps(_columns(spec.get("names")))
        row = self._connection.execute(
            "INSERT INTO job (sweep_id, uid, label, names) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (sweep_id, uid) DO UPDATE SET label = excluded.label, names = excluded.names RETURNING id",
            (sweep, uid, label, names),
        ).fetchone()
        return int(row[0])

    def _key(self, name: str) -> int:
        found = self._keys.get(name)
        if found is None:
            row = self._connection.execute("INSERT INTO key (name) VALUES (?) RETURNING id", (name,)).fetchone()
            found = self._keys[name] = int(row[0])
        return found

    def _results(self, attempt: Attempt, report: Mapping[str, Any]) -> None:
        """Take in what the program handed in, and remember what of it is not kept."""
        values, cases = (report.get("result") or {}).get("values"), report.get("cases")
        told = [self._values(attempt, values)] if isinstance(values, Mapping) else []
        told += [] if cases is None else [self._cases(attempt, cases)]
        if told:
            attempt.damaged("; ".join(filter(None, told)))

    def _values(self, attempt: Attempt, values: Mapping[str, Any]) -> str:
        numbers = [
            (name, value)
            for name, value in values.items()
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        ]
        rows = [(attempt.id, self._key(name), value) for name, value in numbers[:MOST_NAMES]]
        self._connection.execute("DELETE FROM score WHERE attempt_id = ?", (attempt.id,))
        self._connection.executemany("INSERT INTO score VALUES (?, ?, ?)", rows)
        self.rows += len(rows)
        return (
            f"{len(numbers):,} values in result.json, of which {MOST_NAMES:,} are kept" if numbers[MOST_NAMES:] else ""
        )

    def _cases(self, attempt: Attempt, cases: Iterable[Any]) -> str:
        whole = list(cases)
        rows = [_case(attempt.id, case) for case in whole if isinstance(case, Mapping) and case.get("case")]
        self._connection.execute("DELETE FROM case_score WHERE attempt_id = ?", (attempt.id,))
        self._connection.executemany("INSERT OR REPLACE INTO case_score VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self.rows += len(rows)
        return f"{len(whole) - len(rows)} unreadable rows in cases.json" if len(rows) < len(whole) else ""

    def _events(self, attempt: Attempt, events: list[Mapping[str, Any]], final: bool) -> None:
        named, others, latest = self._split(attempt.id, events)
        columns = {self._key(name): pair for name, pair in self._kept(attempt, named).items()}
        self._connection.executemany("INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?)", others)
        self.rows += len(others) + series.add(self._connection, attempt.id, columns, final)
        attempt.went_on(events, latest)

    def _split(
        self, attempt: int, events: list[Mapping[str, Any]]
    ) -> tuple[Named, list[tuple[Any, ...]], Mapping[str, Any] | None]:
        """Return metric values by name, rows of other events, and the newest metrics event."""
        named: Named = {}
        others: list[tuple[Any, ...]] = []
        latest = None
        for event in events:
            if event.get("kind") != "metrics":
                others.append(_event(attempt, event))
            elif _metrics(event, named):
                latest = event
        return named, others, latest

    def _kept(self, attempt: Attempt, named: Named) -> Named:
        """Return these metrics without those beyond the limit: a program may make up names without end."""
        if len(named) <= _MANY_NAMES:
            return named
        known = set(series.names(self._connection, attempt.id))
        fresh = [name for name in named if name not in known]
        beyond = set(fresh[max(0, MOST_NAMES - len(known)) :])
        if beyond:
            attempt.damaged(f"more than {MOST_NAMES:,} names of metrics in events.jsonl, of which as many are kept")
        return {name: pair for name, pair in named.items() if name not in beyond}


def ingest(connection: sqlite3.Connection, reports: Iterable[Mapping[str, Any]]) -> int:
    """Take in reports; return how many rows were written."""
    batch = Batch(connection)
    for report in reports:
        connection.execute("SAVEPOINT report")
        try:
            batch.add(report)
        except ODD as error:
            connection.execute("ROLLBACK TO report")
            batch.add_damaged(report, error)
        connection.execute("RELEASE report")
    batch.finish()
    return batch.rows


def _names(report: Mapping[str, Any]) -> tuple[int, str]:
    """Return the attempt's number and its state; names of sweep and job, which become folders here, are names.

    Raises
    ------
    ContractError
        One of them is missing or is none.
    """
    try:
        number, state = report["attempt"], report["verdict"]["state"]
        sound = valid_name(report["sweep"]) and valid_name(report["job"]) and state in (*STATES, GONE)
        if sound and type(number) is int and 0 <= number < MOST_ATTEMPTS:
            return number, str(state)
        error: Exception | None = None
    except (KeyError, TypeError) as caught:
        error = caught
    raise ContractError("a host tells of an attempt that has no proper name, number or state", _OTHER) from error


_OTHER = "is the orch of that host the same as here? orch doctor --all"


def _label(spec: Mapping[str, Any], uid: str) -> str:
    label = spec.get("label")
    return text(label)[:WORDS] if isinstance(label, str) and label else uid


def _columns(names: Any) -> dict[str, Any]:
    """The columns of tables: plain values by name."""
    if not isinstance(names, Mapping):
        return {}
    return {str(key): value for key, value in names.items() if isinstance(value, str | int | float | None)}


def _metrics(event: Mapping[str, Any], named: Named) -> bool:
    """Sort one metrics event's values into columns; an event that breaks the contract is left out (False)."""
    step, values = event.get("step"), event.get("values")
    if type(step) is float and step.is_integer():
        step = int(step)
    if type(step) is not int or type(values) is not dict or not -_LIMIT <= step < _LIMIT:
        return False
    for name, value in values.items():
        if type(value) is not float:
            value = _number(value)
            if value is None:
                continue
        column = named.get(name)
        if column is None:
            column = named[name] = ([], [])
        column[0].append(step)
        column[1].append(value)
    return True


def _number(value: Any) -> float | None:
    """Return a number as float, null as NaN, anything else as None."""
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    return None


def _event(attempt: int, event: Mapping[str, Any]) -> tuple[Any, ...]:
    body = {key: value for key, value in event.items() if key not in ("seq", "t", "kind")}
    return attempt, event["seq"], moment(event.get("t")), str(event["kind"]), json.dumps(body)


def _case(attempt: int, case: Mapping[str, Any]) -> tuple[Any, ...]:
    rest = {key: value for key, value in case.items() if key not in _CASE_COLUMNS}
    return (
        attempt,
        str(case["case"]),
        str(case.get("class") or ""),
        str(case.get("group") or case["case"]),
        str(case.get("status") or "ok"),
        _plain(case.get("dice")),
        _plain(case.get("slice_dice")),
        json.dumps(rest),
    )


def _plain(value: Any) -> float | None:
    number = _number(value)
    return None if number is None or math.isnan(number) else number
