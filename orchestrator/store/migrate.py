"""Forward-only migrations: `migrations/0001.sql` leads from version 0 (an empty file) to version 1, and so on.

Each step is one transaction that ends with the new `PRAGMA user_version`, so a killed program leaves an old index or a
new one. `schema` says what the newest version is; a test proves that the chain of all steps arrives there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import OrchError

VERSION = 3
APPLICATION = 0x6F726368  # "orch", in the file's header: `file index.db` tells whose it is
_FOLDER = Path(__file__).parent / "migrations"


def steps() -> list[str]:
    """Return the SQL of every migration, oldest first; number n leads from version n to n + 1."""
    return [(_FOLDER / f"{number:04}.sql").read_text(encoding="utf-8") for number in range(1, VERSION + 1)]


def version(connection: sqlite3.Connection) -> int:
    """Return the version of an index; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that this program must not write.

    Raises
    ------
    OrchError
        It is of a newer version, or another program's database.
    """
    # In this order: who makes a new index at this moment writes all three in one step, and the owner is read last.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    found = version(connection)
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if owner != APPLICATION and (owner or found or tables):
        raise OrchError(
            f"{path} is a database of another program",
            "move it away, or set ORCH_STATE to another folder",
            path=str(path),
        )
    if found > VERSION:
        raise OrchError(
            f"the index {path} has version {found}; this orch knows versions up to {VERSION}: a newer orch wrote it",
            "pip install --upgrade orch-lab, or make one of this version: orch index rebuild",
            path=str(path),
            found=found,
            known=VERSION,
        )


def migrate(connection: sqlite3.Connection, chain: Sequence[str]) -> None:
    """Apply all steps that an index lacks, each in one transaction.

    Raises
    ------
    sqlite3.Error
        A step failed; the index stays at the version before it.
    """
    for number in range(version(connection), len(chain)):
        script = (
            f"BEGIN IMMEDIATE;\n{chain[number]}\n"
            f"PRAGMA application_id = {APPLICATION};\nPRAGMA user_version = {number + 1};\nCOMMIT;"
        )
        try:
            connection.executescript(script)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
