from __future__ import annotations

import contextlib
import inspect
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc

from jobs.errors import DiskError, OrchError
from orchestrator.store import Index
from orchestrator.store.door import translated


def errors_of(module: Any, base: type[BaseException]) -> list[type[BaseException]]:
    found = [item for _, item in inspect.getmembers(module, inspect.isclass) if issubclass(item, base)]
    return [item for item in found if not issubclass(item, Warning)]


def made(kind: type[BaseException]) -> BaseException:
    """Make an error of a class of SQLAlchemy; what it wants to be told differs."""
    cause = sqlite3.OperationalError("text")
    for wanted in (("SELECT", None, cause), ("text", "SELECT", None, cause), ("text",), ("a", "b"), ("a", "b", "c")):
        with contextlib.suppress(TypeError):
            error = kind(*wanted)
            str(error)
            return error
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", errors_of(sqlite3, sqlite3.Error), ids=lambda kind: kind.__name__)
def test_every_error_of_sqlite_is_translated(kind: type[BaseException]) -> None:
    with pytest.raises(OrchError), translated(Path("index.db")):
        raise kind("text")


@pytest.mark.parametrize("kind", errors_of(sqlalchemy.exc, Exception), ids=lambda kind: kind.__name__)
def test_every_error_of_sqlalchemy_is_translated(kind: type[BaseException]) -> None:
    with pytest.raises(OrchError), translated(Path("index.db")):
        raise made(kind)


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated(Path("index.db")):
        raise KeyError("ours")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(OrchError, match="no SQLite file") as caught:
        Index.open(path)
    assert "orch index rebuild" in caught.value.hint


def test_a_damaged_page(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    path = tmp_path / "index.db"
    with Index.open(path) as index:
        index.ingest(reports)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(OrchError) as caught, Index.open(path) as index:
        index.jobs()
    assert "orch index rebuild" in caught.value.hint


def test_a_full_disk_keeps_what_was_there(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports[:1])
    before = index.content()
    pages = index._connection.execute("PRAGMA page_count").fetchone()[0]
    index._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite itself says "full" beyond it
    big = {**reports[1], "events": [{"seq": n, "kind": "note", "text": "x" * 500} for n in range(200)]}
    with pytest.raises(DiskError, match="full"):
        index.ingest([big])
    assert index.content() == before
    index._connection.execute("PRAGMA max_page_count = 1000000")
    assert index.ingest([big])


def test_a_file_that_went_away_under_us(tmp_path: Path, report: Callable[..., dict[str, Any]]) -> None:
    path = tmp_path / "index.db"
    with Index.open(path) as index:
        for item in tmp_path.glob("index.db*"):
            item.unlink()
        assert index.ingest([report(events=[{"seq": 0, "kind": "note"}], offset=1)]) == 1
        assert len(index.jobs()) == 1
