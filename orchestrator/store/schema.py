"""The tables of the index, in SQLAlchemy Core: the reference that the checked-in migrations are tested against.

Everything here is derived: a row can be made again from run folders, sweep records and the journal. `index.content()`
lists what a rebuild must give back. Only cold paths import this module; it costs 0.25 s (`bulk` and `status` do not).
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

sweep = Table(
    "sweep",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Text),  # ISO 8601, UTC
    Column("record", Text),  # JSON: the sweep record as the orch home holds it
)

sweep_about = Table(  # of each record what every command reads: without its cells it is small
    "sweep_about",
    metadata,
    Column("name", Text, primary_key=True),
    Column("about", Text, nullable=False),  # JSON: the record without cells, text and earlier versions
    Column("digest", Text, nullable=False),  # SHA-256 of the record; empty: not known
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", Integer, ForeignKey("sweep.id"), nullable=False),
    Column("uid", Text, nullable=False),  # job id: hash of the scientific cell
    Column("label", Text, nullable=False),
    Column("names", Text, nullable=False),  # JSON: columns for tables
    Column("position", Integer),  # order in the sweep; null: the sweep file no longer asks for it
    Column("latest_id", Integer),  # attempt with the highest number
    Column("counted_id", Integer),  # the one attempt whose result counts
    UniqueConstraint("sweep_id", "uid"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("job.id"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("host", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("warning", Text, nullable=False),
    Column("damage", Text, nullable=False),  # what could not be read in its files
    Column("final", Integer, nullable=False),  # 1: nothing new will come
    Column("known_state", Text, nullable=False),  # last state other than unreachable
    Column("offset", Integer, nullable=False),  # byte offset in events.jsonl
    Column("event_t", Float),  # time of the newest event, s since 1970
    Column("latest", Text),  # JSON: newest step and its values
    Column("spec", Text),  # JSON: job.json
    Column("exit", Text),  # JSON: exit.json
    Column("result", Text),  # JSON: result.json
    UniqueConstraint("job_id", "number"),
)

key = Table(
    "key",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

metric = Table(  # live attempts only; `series` holds those that ended
    "metric",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("key_id", Integer, ForeignKey("key.id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("value", Float),
    PrimaryKeyConstraint("attempt_id", "key_id", "step"),
    sqlite_with_rowid=False,
)

series = Table(
    "series",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("key_id", Integer, ForeignKey("key.id"), nullable=False),
    Column("first", Integer, nullable=False),  # first step
    Column("steps", LargeBinary),  # int64, little-endian; null: consecutive from `first`
    Column("data", LargeBinary, nullable=False),  # float64, little-endian; NaN: undefined
    PrimaryKeyConstraint("attempt_id", "key_id"),
)

score = Table(
    "score",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("key_id", Integer, ForeignKey("key.id"), nullable=False),
    Column("value", Float),  # null: undefined
    PrimaryKeyConstraint("attempt_id", "key_id"),
    sqlite_with_rowid=False,
)

case_score = Table(
    "case_score",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("case", Text, nullable=False),  # pseudonym
    Column("class", Text, nullable=False),
    Column("group", Text, nullable=False),  # pseudonym of the patient
    Column("status", Text, nullable=False),
    Column("dice", Float),  # 0..1; null: undefined
    Column("slice_dice", Float),  # 0..1
    Column("numbers", Text, nullable=False),  # JSON: all other numbers of the row
    PrimaryKeyConstraint("attempt_id", "case", "class"),
    sqlite_with_rowid=False,
)

artifact = Table(
    "artifact",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    PrimaryKeyConstraint("attempt_id", "name"),
    sqlite_with_rowid=False,
)

event = Table(  # start, note, failure, ...; metrics are numbers and stand elsewhere
    "event",
    metadata,
    Column("attempt_id", Integer, ForeignKey("attempt.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("t", Float),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON: all other values of the line
    PrimaryKeyConstraint("attempt_id", "seq"),
    sqlite_with_rowid=False,
)

journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("t", Float, nullable=False),
    Column("sweep", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("kind", Text, nullable=False),  # note, tag, fence
    Column("text", Text, nullable=False),
    Column("attempt", Integer, nullable=False),  # 0: the whole job
    UniqueConstraint("seq", "t", "sweep", "job", "kind", "text", "attempt"),
)

position = Table(
    "position",
    metadata,
    Column("name", Text, primary_key=True),  # file that is read on: `journal`
    Column("offset", Integer, nullable=False),
)

host_seen = Table(
    "host_seen",
    metadata,
    Column("host", Text, primary_key=True),
    Column("t", Float, nullable=False),
)

machine = Table(
    "machine",
    metadata,
    Column("home", Text, nullable=False),  # id of the orch home
    Column("name", Text, nullable=False),  # the machine's own name, as claims record it
    Column("host", Text, nullable=False),  # its name in the site file
    PrimaryKeyConstraint("home", "name"),
)

Index("case_score_group", case_score.c.group)
Index("journal_job", journal.c.sweep, journal.c.job)


def ddl() -> str:
    """Return the statements that make an empty index of the newest version."""
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    dialect = sqlite.dialect()
    statements = [str(CreateTable(table).compile(dialect=dialect)).strip() for table in metadata.sorted_tables]
    indexes = [
        item for table in metadata.sorted_tables for item in sorted(table.indexes, key=lambda one: str(one.name))
    ]
    statements += [str(CreateIndex(item).compile(dialect=dialect)).strip() for item in indexes]
    lines = (line.rstrip() for statement in statements for line in f"{statement};\n".splitlines())
    return "\n".join(lines) + "\n"
