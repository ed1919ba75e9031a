"""A host under examination: what it measured of itself, read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .facts import HostFacts
from .rows import value_of


class Patient(NamedTuple):
    """A host under examination.

    Attributes
    ----------
    name:
        What people call it.
    truths:
        What `jobs.truths.truths` measured, by name.
    facts:
        The machine; None when it could not be measured.
    home:
        Orch home there.
    ahead:
        Seconds by which its clock is ahead of this machine's; None when not compared.
    """

    name: str
    truths: Mapping[str, Any]
    facts: HostFacts | None
    home: str
    ahead: float | None = None

    @classmethod
    def of(cls, name: str, told: Mapping[str, Any], now: float | None = None) -> Patient:
        """Read the answer of the verb `truths`; `now` is this machine's clock in the middle of asking."""
        machine = value_of(told["truths"], "machine")
        facts = HostFacts.from_json(machine) if machine else None
        return cls(name, told["truths"], facts, told["home"], None if now is None else told["clock"] - now)
