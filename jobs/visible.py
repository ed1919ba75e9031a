"""Texts from elsewhere, made harmless where they are shown: signs that a terminal, a page or a reader would obey.

Escapes of terminals, controls, signs that turn the direction of writing and signs of no width are shown as their number
(`\\x1b`, `\\u202e`): a log, a label or a name of a file can neither move the cursor nor hide what stands beside it.
"""

from __future__ import annotations

import re

_OBEYED = (
    "\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
)
_UNSAFE = re.compile("[{}]".format(_OBEYED))
_COLOURED = re.compile("\x1b\\[[0-9;]*m|\r\n?|[{}]".format(_OBEYED))
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def visible(text: str) -> str:
    """Return a text in which every sign is seen and none is obeyed, but for newline and tab."""
    return _UNSAFE.sub(_number, text)


def on_terminal(text: str) -> str:
    """Return a program's output for a terminal: its colours stay, a carriage return begins a new line."""
    return _COLOURED.sub(_kept, text)


def in_json(text: str) -> str:
    """Return a JSON text in which those signs, which stand in its strings only, are escaped as JSON does."""
    return _UNSAFE.sub(lambda found: "".join("\\u{:04x}".format(one) for one in _units(found[0])), text)


def _kept(found: "re.Match[str]") -> str:
    sign = found[0]
    if sign[0] == "\r":
        return "\n"
    return sign if _COLOUR.fullmatch(sign) else _number(found)


def _number(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return "\\x{:02x}".format(code) if code < 0x100 else "\\u{:04x}".format(code)


def _units(sign: str) -> "list[int]":
    data = sign.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
