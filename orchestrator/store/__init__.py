"""The index: SQLite on this machine, made from run folders, sweep records and the journal, at any time anew.

Index.open(path)      create, migrate, refuse what it must not write         index, migrate, place, lock, door
.ingest(reports)      bulk writing, idempotent                               bulk, attempt, records, series
.jobs(sweep) ...      quick reads through the raw driver                     status
.attempts(sweep) ...  other reads through SQLAlchemy Core                    queries, schema
.content()            what a rebuild must give back                          content
"""

from .content import compare
from .index import Index, discard, not_found
from .records import digest
from .rows import AttemptRow, CaseRow, Curve, EventRow, Fault, JobRow, JournalRow, Known, Span, SweepRow
from .status import PLANNED

__all__ = [
    "PLANNED",
    "AttemptRow",
    "CaseRow",
    "Curve",
    "EventRow",
    "Fault",
    "Index",
    "JobRow",
    "JournalRow",
    "Known",
    "Span",
    "SweepRow",
    "compare",
    "digest",
    "discard",
    "not_found",
]
