"""The one door through which errors of SQLite and SQLAlchemy leave: as errors meant for a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import DiskError, OrchError

_REBUILD = "orch index rebuild   (it is only an index: everything comes back from the run folders)"
_AGAIN = "run the same command again: nothing is lost"

# First part of SQLite's name of the result code -> (class, what happened, hint).
_MEANING: dict[str, tuple[type[OrchError], str, str]] = {
    "SQLITE_CORRUPT": (OrchError, "it is damaged", _REBUILD),
    "SQLITE_NOTADB": (OrchError, "it is no SQLite file, or damaged", _REBUILD),
    "SQLITE_SCHEMA": (OrchError, "its tables were changed by another program", _REBUILD),
    "SQLITE_FULL": (DiskError, "the disk is full", "free some space, then " + _AGAIN),
    "SQLITE_IOERR": (DiskError, "the disk answers with an error", "look at the disk, then " + _AGAIN),
    "SQLITE_READONLY": (DiskError, "you may not write there", "set ORCH_STATE to a folder of your own"),
    "SQLITE_PERM": (DiskError, "you may not write there", "set ORCH_STATE to a folder of your own"),
    "SQLITE_CANTOPEN": (DiskError, "it cannot be opened", "does its folder exist, and is it yours? See ORCH_STATE"),
    "SQLITE_BUSY": (OrchError, "another program keeps it locked", "wait for it, then " + _AGAIN),
    "SQLITE_LOCKED": (OrchError, "another program keeps it locked", "wait for it, then " + _AGAIN),
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let errors of SQLite and SQLAlchemy leave as `OrchError`.

    Raises
    ------
    DiskError
        The disk is full, broken or not writable.
    OrchError
        The index is damaged (hint: rebuild), locked, or something else went wrong in it.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy."):  # not imported here: it costs 0.25 s
            raise
        cause = getattr(error, "orig", None)
        raise _translate(cause if isinstance(cause, sqlite3.Error) else error, path) from error


def _translate(error: Exception, path: Path) -> OrchError:
    name = str(getattr(error, "sqlite_errorname", ""))
    for prefix, (kind, text, hint) in _MEANING.items():
        if name.startswith(prefix):
            return kind(f"the index {path} cannot be used: {text} ({error})", hint, path=str(path), sqlite=name)
    if isinstance(error, sqlite3.DatabaseError) and _lacks_table(error):
        return OrchError(f"the index {path} cannot be used: {error}", _REBUILD, path=str(path), sqlite=name)
    return OrchError(f"the index {path} failed: {error}", _REBUILD, path=str(path), sqlite=name)


def _lacks_table(error: sqlite3.DatabaseError) -> bool:
    return "no such table" in str(error) or "no such column" in str(error)
