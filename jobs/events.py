"""`events.jsonl`: append one line, read whole lines from an offset.

One process writes, anybody reads. A line is one `write` of JSON with a rising `seq`; a torn last line is legal and
ignored until its end arrives. Kinds: `start`, `metrics` (a step and its values), `note`, `failure`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from typing import Any, Dict, Iterator, List, NamedTuple

from . import documents
from .atomic import patiently

BLOCK = 1 << 19  # bytes that are read, and kept, at once: as objects some thirty times as much
LARGEST = 1 << 30  # bytes of a file that are read; what stands behind is not
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)  # NaN and Infinity, which other writers may let through


class Lines(NamedTuple):
    """Whole lines read, and the byte offset at which the next read begins."""

    events: List[Dict[str, Any]]
    offset: int
    damaged: int  # whole lines that are no event (edited by hand, or a bad disk)
    more: bool = False  # there are further whole lines


class EventWriter:
    """Append events to a file; opened again (after a resume) it goes on with the next `seq`.

    A torn last line (of a killed writer, or of a full disk) is closed with the next event, so that it spoils nothing.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        before, self._seq = Lines([], 0, 0), 0
        for before in pieces(path):
            self._seq = max([self._seq, *(event["seq"] + 1 for event in before.events)])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.open(path, flags, 0o666)
        tail = _read_from(path, before.offset)
        self._torn = bool(tail)
        last = _parse(tail)  # a line that lacks nothing but its end will count once it has one
        self._seq = max(self._seq, last["seq"] + 1 if last else 0)

    def write(self, kind: str, **values: Any) -> None:
        """Append one line; numbers that are not finite are written as null. A `t` that is given stays.

        Raises
        ------
        OSError
            The disk is full or gone.
        """
        line = {"seq": self._seq, "t": round(time.time(), 3), "kind": kind, **finite(values)}
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        data = b"\n" + data if self._torn else data
        written = os.write(self._file, data)
        self._torn = written < len(data)
        self._seq += 1
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Make all lines so far outlive a power cut."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: "str | os.PathLike[str]", offset: int = 0) -> Lines:
    """Return the events in whole lines after `offset`, all at once; a missing file has none."""
    found = Lines([], offset, 0)
    for piece in pieces(path, offset):
        found = Lines(found.events + piece.events, piece.offset, found.damaged + piece.damaged)
    return found


def pieces(path: "str | os.PathLike[str]", offset: int = 0) -> Iterator[Lines]:
    """Yield the same in pieces of at most `BLOCK` bytes, at least one; of a file beyond `LARGEST` the rest is damaged.

    Raises
    ------
    OSError
        It cannot be read, or is no plain file.
    """
    while True:
        piece = _piece(path, offset)
        offset = piece.offset
        yield piece
        if not piece.more:
            return


def _piece(path: "str | os.PathLike[str]", offset: int) -> Lines:
    if offset >= LARGEST:
        return Lines([], offset, 1)
    data = _read_from(path, offset)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == BLOCK:  # a line that no event is as long as; its rest is another damaged one
        return Lines([], offset + BLOCK, 1, True)
    events, damaged = [], 0
    odd = documents.is_odd(data)
    for line in data[:end].splitlines():
        event = _parse(line, odd)
        if event is None:
            damaged += bool(line.strip())
        else:
            events.append(event)
    return Lines(events, offset + end, damaged, len(data) == BLOCK)


def _read_from(path: "str | os.PathLike[str]", offset: int) -> bytes:
    try:
        return patiently(lambda: _bytes_from(path, offset))
    except FileNotFoundError:
        return b""


def _bytes_from(path: "str | os.PathLike[str]", offset: int) -> bytes:
    with open(path, "rb", buffering=0, opener=documents.open_plain) as handle:
        handle.seek(offset)
        found = b""
        while len(found) < BLOCK:  # a raw read may bring less
            part = handle.read(BLOCK - len(found))
            if not part:
                break
            found = found + part if found else part
        return found


def _parse(line: bytes, odd: bool = True) -> "Dict[str, Any] | None":
    try:
        event = _DECODER.decode(line.decode())
        if odd or documents.may_be_deep(line):
            event = documents.clean(event)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(event, dict) and isinstance(event.get("seq"), int) and isinstance(event.get("kind"), str)
    return event if sound else None


def finite(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers that are not finite become None."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return finite(value.item()) if hasattr(value, "item") else value  # a scalar of numpy or torch
