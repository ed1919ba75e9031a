"""The row of one attempt, while reports about it come in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from jobs.documents import moment
from jobs.state import ENDED, STOPPED, UNREACHABLE


class Attempt:
    """The row of one attempt; made when it is not there yet."""

    def __init__(self, connection: sqlite3.Connection, job: int, number: int) -> None:
        self._connection = connection
        connection.execute(
            "INSERT OR IGNORE INTO attempt"
            " (job_id, number, state, reason, warning, damage, final, known_state, offset)"
            " VALUES (?, ?, '', '', '', '', 0, '', 0)",
            (job, number),
        )
        found = connection.execute(
            "SELECT id, offset, final, exit IS NOT NULL OR result IS NOT NULL"
            " FROM attempt WHERE job_id = ? AND number = ?",
            (job, number),
        ).fetchone()
        self.id, self.offset = int(found[0]), int(found[1])
        self.final, self._has_record = bool(found[2]), bool(found[3])

    def is_final(self, report: Mapping[str, Any], state: str) -> bool:
        """Tell whether nothing new will come: it ended; one stopped before it began may still be begun later."""
        if self.final:
            return True
        begun = self._has_record or self.offset or report.get("exit") or report.get("result") or report.get("offset")
        return state in ENDED and (state != STOPPED or bool(begun))

    def judge(self, report: Mapping[str, Any], state: str, final: bool) -> None:
        """Take over the verdict; an attempt that ended never goes back, whatever an older report says."""
        if self.final and state not in ENDED:
            return
        verdict, host = report["verdict"], report.get("host")
        self._connection.execute(
            "UPDATE attempt SET state = ?, reason = ?, warning = ?, final = ?, host = coalesce(?, host),"
            " known_state = CASE WHEN ? THEN known_state ELSE ? END WHERE id = ?",
            (
                state,
                str(verdict.get("reason") or ""),
                str(verdict.get("warning") or ""),
                int(final),
                host,
                state == UNREACHABLE,
                state,
                self.id,
            ),
        )

    def store_files(self, report: Mapping[str, Any]) -> None:
        """Keep `job.json`, `exit.json` and `result.json` as they are."""
        files = {column: report.get(column) for column in ("spec", "exit", "result")}
        for column, value in files.items():
            if value is not None:
                self._connection.execute(f"UPDATE attempt SET {column} = ? WHERE id = ?", (json.dumps(value), self.id))
        sums = (files["exit"] or {}).get("files")
        if isinstance(sums, Mapping):
            rows = [(self.id, str(name), str(digest)) for name, digest in sums.items()]
            self._connection.executemany("INSERT OR REPLACE INTO artifact VALUES (?, ?, ?)", rows)

    def damaged(self, text: str) -> None:
        """Remember what could not be read."""
        self._connection.execute("UPDATE attempt SET damage = ? WHERE id = ?", (text, self.id))

    def went_on(self, events: list[Mapping[str, Any]], latest: Mapping[str, Any] | None) -> None:
        """Remember the newest event and the newest values."""
        newest = moment(events[-1].get("t")) if events else None
        values = json.dumps({"step": latest["step"], "values": latest["values"]}) if latest else None
        self._connection.execute(
            "UPDATE attempt SET event_t = coalesce(?, event_t), latest = coalesce(?, latest) WHERE id = ?",
            (newest, values, self.id),
        )

    def read_to(self, offset: int) -> None:
        """Remember how far its events are read."""
        self._connection.execute("UPDATE attempt SET offset = ? WHERE id = ?", (offset, self.id))
