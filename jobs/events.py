"""`events.jsonl`: append one line, read whole lines from an offset.

One process writes, anybody reads. A line is one `write` of JSON with a rising `seq`; a torn last line is legal and
ignored until its end arrives. Kinds: `start`, `metrics` (a step and its values), `note`, `failure`.
"""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any, Dict, List, NamedTuple


class Lines(NamedTuple):
    """Whole lines read, and the byte offset at which the next read begins."""

    events: List[Dict[str, Any]]
    offset: int
    damaged: int  # whole lines that are no event (edited by hand, or a bad disk)


class EventWriter:
    """Append events to a file; opened again (after a resume) it goes on with the next `seq`.

    A torn last line of a killed writer is closed with a newline first, so that it spoils nothing after it.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        before = read(path)
        self._seq = before.events[-1]["seq"] + 1 if before.events else 0
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._file = os.open(path, flags, 0o666)
        if os.fstat(self._file).st_size > before.offset:
            os.write(self._file, b"\n")

    def write(self, kind: str, **values: Any) -> None:
        """Append one line; numbers that are not finite are written as null.

        Raises
        ------
        OSError
            The disk is full or gone.
        """
        line = {"seq": self._seq, "t": round(time.time(), 3), "kind": kind, **_finite(values)}
        os.write(self._file, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        self._seq += 1

    def sync(self) -> None:
        """Make all lines so far outlive a power cut."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: "str | os.PathLike[str]", offset: int = 0) -> Lines:
    """Return the events in whole lines after `offset`; a missing file has none."""
    try:
        with open(path, "rb") as handle:
            handle.seek(offset)
            data = handle.read()
    except FileNotFoundError:
        return Lines([], offset, 0)
    end = data.rfind(b"\n") + 1
    events, damaged = [], 0
    for line in data[:end].splitlines():
        event = _parse(line)
        if event is None:
            damaged += bool(line.strip())
        else:
            events.append(event)
    return Lines(events, offset + end, damaged)


def _parse(line: bytes) -> "Dict[str, Any] | None":
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("seq"), int) and "kind" in event else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
