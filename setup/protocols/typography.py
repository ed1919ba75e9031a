"""Typography of running text: French spaces and guillemets, apostrophes, numbers with their units; code stays as it is.

The French rules are those of the Imprimerie nationale (*Lexique des règles typographiques*): a narrow no-break space
before `; : ! ?` and inside guillemets.
"""

from __future__ import annotations

import re

NARROW, NO_BREAK = "\u202f", "\u00a0"
_KEPT = re.compile(r"(`[^`]*`|\]\([^)]*\))")  # code and link targets
_UNITS = "Go|Mo|To|GB|MB|TB|GiB|MiB|Mbit/s|h|min|s|ms|%|coeurs|cœurs|cores|jours|days|°"
_UNIT = re.compile(rf"(?<=\d) (?={_UNITS}\b|%|°)")
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)|(?<=s)'(?= )")
_BEFORE = re.compile(r" +(?=[;:!?»])")
_AFTER = re.compile(r"(?<=«) +")


def polish(text: str, language: str) -> str:
    """Return a text with the typography of its language (`en` or `fr`); code and link targets are untouched."""
    parts = _KEPT.split(text)
    return "".join(part if _KEPT.fullmatch(part) else _polished(part, language) for part in parts)


def _polished(text: str, language: str) -> str:
    text = _APOSTROPHE.sub("’", _UNIT.sub(NO_BREAK, text))
    if language == "fr":
        # An elision stands before code, too: `l'` + code
        text = re.sub(r"\b([LlDdCcJjNnSsMmTt]|[Qq]u)'", "\\1’", text)
        text = _AFTER.sub(NARROW, _BEFORE.sub(NARROW, text))
    return text
