"""Whose code stands behind our four import names? `setup`, `trainer` and `jobs` are names that others use too."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .rows import FOUND, OK, Row

NAMES = ("orchestrator", "trainer", "jobs", "setup")
DISTRIBUTION = "orch-lab"
_ROOT = Path(__file__).resolve().parent.parent


def rows() -> list[Row]:
    """Return one row for all four names when they are ours, else one for each that is not."""
    claims = importlib.metadata.packages_distributions()
    wrong = [row for name in NAMES for row in _judge(name, _origin(name), claims)]
    return wrong or [Row("import names", OK, f"{', '.join(NAMES)} come from {_ROOT}")]


def _judge(name: str, origin: Path | None, claims: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    others = sorted(set(claims.get(name, ())) - {DISTRIBUTION})
    repair = "install orch in an environment of its own"
    if origin != _ROOT / name / "__init__.py":
        text = f"`import {name}` brings in {origin or 'nothing'}, which is not orch's"
        yield Row("import names", FOUND, text, f"{repair}, and take other folders out of PYTHONPATH")
    elif others:
        yield Row("import names", FOUND, f"{', '.join(others)} installs a package `{name}` too", repair)


def _origin(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).resolve() if found and found.origin else None
