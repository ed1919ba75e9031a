"""From the hosts into the index: by offset, never twice; and where the index of an orch home lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.homes import open_home

from .config import Settings
from .dispatch import Contact
from .store import Index


@dataclass
class News:
    """What one look at a host brought.

    Attributes
    ----------
    spans:
        Seconds from start to end of each attempt that has ended, by job id.
    """

    spans: dict[str, float] = field(default_factory=dict)


def index_path(settings: Settings, home_id: str) -> Path:
    """Return where the index of an orch home lies on this machine."""
    return settings.state / home_id / "index.db"


def known_index(settings: Settings) -> Path | None:
    """Return the path of the index that was made last time, without asking any host; None when there is none."""
    _, identity = open_home(str(settings.home), create=False)
    path = index_path(settings, identity["id"])
    return path if path.exists() else None


@contextmanager
def fresh_index(settings: Settings, sweeps: list[str] | None = None) -> Iterator[tuple[Contact, Index]]:
    """Open the host and the index, brought up to date.

    Parameters
    ----------
    sweeps:
        Only these; None looks at all.
    """
    with Contact(settings) as contact, Index.open(index_path(settings, contact.home_id)) as index:
        refresh(contact, index, sweeps)
        yield contact, index


def refresh(contact: Contact, index: Index, sweeps: list[str] | None = None) -> News:
    """Bring what is new on a host into the index.

    Raises
    ------
    Unreachable
        The host does not answer; the index stays as it was.
    """
    known = [] if contact.looked else [(*key, *told) for key, told in index.offsets().items()]
    contact.looked = True
    stream = contact.wire.stream("collect", known=known, sweeps=sweeps, journal=index.journal_offset())
    news, reports = News(), []
    while True:
        try:
            chunk = next(stream)
        except StopIteration as stop:
            ending: dict[str, Any] = stop.value
            break
        reports.append(chunk)
    for record in ending["records"]:
        if contact.records.get(record["name"]) != record:
            index.record_sweep(record)
            contact.records[record["name"]] = record
    for chunk in reports:
        index.ingest(chunk)
        news.spans.update(_spans(chunk))
    index.ingest_journal(ending["journal"]["lines"], ending["journal"]["offset"])
    index.seen(ending["host"], ending["t"])
    return news


def _spans(reports: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for report in reports:
        if report["exit"] and report["exit"].get("began", True):
            yield report["job"], report["exit"]["ended"] - report["exit"]["started"]
