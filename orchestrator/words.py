"""Small helpers for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 6  # names in one line


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `. Did you mean 'x'?` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f". Did you mean '{near[0]}'?" if near else ""


def counted(number: int, noun: str) -> str:
    """Return `1 fold`, `5 folds`, `7 strategies`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return `a, b, c and 4 more`."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
