"""Questions to a person: only on a terminal, never by surprise in a script."""

from __future__ import annotations

import sys

from jobs.errors import UsageError

from .output import Output


def agreed(question: str, yes: bool, out: Output) -> bool:
    """Return whether a person agrees; `yes` is the flag that answers beforehand.

    Raises
    ------
    UsageError
        There is no terminal to ask on, and no flag.
    """
    if yes:
        return True
    if not may_ask():
        raise UsageError(f"{question} There is no terminal to ask on", "look at the list above, then add --yes")
    out.note(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes", "o", "oui")


def may_ask() -> bool:
    """Tell whether a person sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()
