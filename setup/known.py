"""What was last known of each host, kept on this machine: `orch hosts` shows it without asking anybody."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.atomic import read_json, write_json
from jobs.errors import ContractError, disk_error

from .examination import Examination
from .facts import HostFacts
from .rows import Row


@dataclass(frozen=True)
class Known:
    """The last examination of a host.

    Attributes
    ----------
    host:
        Its name in the site file.
    asked:
        When it answered last, in seconds since 1970 UTC.
    facts:
        The machine then; None when it could not be measured.
    rows:
        The rows then.
    silent_since:
        When it was asked in vain after that, or None; `error` says why.
    """

    host: str
    asked: float
    facts: HostFacts | None
    rows: tuple[Row, ...]
    silent_since: float | None = None
    error: str = ""


def remember(state: Path, examination: Examination) -> None:
    """Keep an examination; one that failed leaves the facts of the last that did not.

    Raises
    ------
    DiskError
        The state folder cannot be written.
    """
    path = _path(state, examination.host)
    value = examination.to_json()
    if examination.told is None:
        before = read_json(path)
        kept = before if isinstance(before, dict) else {**value, "asked": None}
        why = examination.error.message if examination.error else ""
        value = {**kept, "silent_since": kept.get("silent_since") or examination.asked, "why_silent": why}
    _write(path, value)


def remember_facts(state: Path, host: str, machine: Mapping[str, Any]) -> None:
    """Keep what a host told of itself (`jobs.probe.probe`) on another occasion than an examination.

    Raises
    ------
    DiskError
        The state folder cannot be written.
    """
    before = read_json(_path(state, host))
    fresh: dict[str, Any] = {"host": host, "rows": [], "told": {}}
    value = before if isinstance(before, dict) and before.get("told") else fresh
    truths = {**value["told"].get("truths", {}), "machine": {"value": dict(machine)}}
    value = {**value, "asked": time.time(), "told": {**value["told"], "truths": truths}, "error": None}
    _write(_path(state, host), {**value, "silent_since": None, "why_silent": ""})


def recall(state: Path, host: str) -> Known | None:
    """Return what is known of a host, or None: it never answered, or another orch wrote the file."""
    value = read_json(_path(state, host))
    if not isinstance(value, dict) or not value.get("asked"):
        return None
    try:
        machine = ((value["told"] or {}).get("truths", {}).get("machine") or {}).get("value")
        facts = HostFacts.from_json(machine) if machine else None
        rows = tuple(Row(**row) for row in value["rows"])
    except (ContractError, KeyError, TypeError):
        return None
    return Known(host, value["asked"], facts, rows, value.get("silent_since"), value.get("why_silent", ""))


def forget(state: Path, host: str) -> bool:
    """Forget a host; tell whether anything was known."""
    path = _path(state, host)
    there: bool = path.exists()
    path.unlink(missing_ok=True)
    return there


def told_of(state: Path, host: str) -> dict[str, Any] | None:
    """Return the host's whole last answer (`jobs.truths.truths`), or None."""
    value = read_json(_path(state, host))
    told = value.get("told") if isinstance(value, dict) else None
    return told if isinstance(told, dict) else None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value, sync=False)
    except OSError as error:
        raise disk_error(error, str(path)) from error


def _path(state: Path, host: str) -> Path:
    return state / "hosts" / f"{host}.json"
