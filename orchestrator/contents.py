"""What an orch home on another host holds: code, data sets and splits, so that none is sent or made twice. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class HomeContents:
    """What an orch home on other hosts holds, kept up to date while plans are made.

    Attributes
    ----------
    codes:
        Hashes of its code snapshots.
    sets, splits:
        What was told of its data sets (`jobs.briefing.summary`), and of the splits of each.
    """

    codes: set[str]
    sets: dict[str, dict[str, Any]]
    splits: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> HomeContents:
        """Read a brief."""
        splits = {name: list(some) for name, some in told["splits"].items()}
        return cls(set(told["codes"]), {item["name"]: item for item in told["data"]}, splits)
