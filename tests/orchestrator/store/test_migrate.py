from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from jobs.errors import OrchError
from orchestrator.store import Index, discard
from orchestrator.store.migrate import VERSION, migrate, steps, version
from orchestrator.store.schema import ddl, metadata


def shape(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}


def test_all_steps_arrive_at_the_schema() -> None:
    chain, schema = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    migrate(chain, steps())
    schema.executescript(ddl())
    assert shape(chain) == shape(schema)
    assert {table.name for table in metadata.sorted_tables} == {
        name for kind, name, _ in shape(chain) if kind == "table"
    }
    chain.close()
    schema.close()


@pytest.mark.parametrize("old", range(VERSION))
def test_every_older_version_is_brought_up(tmp_path: Path, old: int) -> None:
    path = tmp_path / "index.db"
    connection = sqlite3.connect(path)
    migrate(connection, steps()[:old])
    assert version(connection) == old
    connection.close()
    with Index.open(path) as index:
        assert index.jobs() == []
        index.seen("local", 1.0)
    connection = sqlite3.connect(path)
    assert version(connection) == VERSION
    connection.close()


def test_steps_after_the_first_keep_what_is_there() -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection, ["CREATE TABLE one (a INTEGER);"])
    connection.execute("INSERT INTO one VALUES (7)")
    connection.commit()
    migrate(connection, ["CREATE TABLE one (a INTEGER);", "ALTER TABLE one ADD COLUMN b INTEGER DEFAULT 8;"])
    assert version(connection) == 2
    assert connection.execute("SELECT a, b FROM one").fetchall() == [(7, 8)]
    connection.close()


def test_a_step_that_fails_changes_nothing() -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection, ["CREATE TABLE one (a INTEGER);"])
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, ["", "CREATE TABLE two (a INTEGER); INSERT INTO nowhere VALUES (1);"])
    assert version(connection) == 1
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    connection.close()


def test_a_newer_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    Index.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(OrchError) as caught:
        Index.open(path)
    assert f"version {VERSION + 1}" in caught.value.message
    assert "orch index rebuild" in caught.value.hint and "--upgrade" in caught.value.hint
    discard(path)
    with Index.open(path) as index:
        assert index.jobs() == []


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OrchError, match="another program"):
        Index.open(path)
    assert path.read_bytes() == before
