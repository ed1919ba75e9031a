"""One line of what `orch doctor` says: a check, its state, the evidence for it and the repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OK, NOTE, FOUND, UNKNOWN = "ok", "note", "found", "unknown"


@dataclass(frozen=True)
class Row:
    """A measured truth, judged.

    Attributes
    ----------
    check:
        What was looked at.
    state:
        `ok`; `note`: worth knowing; `found`: something to repair; `unknown`: it could not be measured.
    evidence:
        What was measured, in words and figures.
    repair:
        Command or edit that repairs it; empty where nothing has to be.
    """

    check: str
    state: str
    evidence: str
    repair: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def value_of(truths: Mapping[str, Any], name: str) -> Any:
    """Return a measured value, or None when it could not be measured."""
    return truths.get(name, {}).get("value")


def error_of(truths: Mapping[str, Any], name: str) -> str:
    """Return why something could not be measured; an empty text when it could."""
    return str(truths.get(name, {"error": "not measured"}).get("error", ""))


def gigabytes(value: int | None) -> str:
    """Return bytes for people: `61.2 GB`."""
    if value is None:
        return "unknown"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
