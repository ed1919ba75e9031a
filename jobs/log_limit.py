"""The limit of a job's log: over it the middle goes; its head and its newest lines stay, and a line says what is gone.

The program writes into the log itself, at its end (`O_APPEND`), so that it depends on nobody. Its watcher looks at the
log's size now and then and cuts the file in place: the newest lines are written over the middle, then the file is cut
behind them. That takes no room, and whatever fails on the way leaves the newest lines at the end. What the program
prints within that moment may be lost. Between two looks a log may be longer than its limit.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Mapping, Optional

MIB = 1 << 20
DEFAULT_MB = 64  # more than anybody reads; 35 jobs of it fill 2 GiB
_FIRST_LOOK, _LAST_LOOK = 1.0, 5.0  # seconds between two looks: short while a log grows, long once it does not
_NEWEST = 1 << 27  # bytes of newest lines that are kept at most: the watcher holds them in memory
_LINE = 4096  # bytes in which an end of line is looked for, so that no line and no letter is cut


class LogLimit:
    """The limit of one attempt's log.

    Parameters
    ----------
    resources:
        What the job asks for; `log_mb` is the limit in MiB.

    Attributes
    ----------
    due:
        Monotonic time of the next look, or None before the first.
    left_out:
        Bytes that are gone.
    """

    def __init__(self, path: str, resources: Mapping[str, Any]) -> None:
        given = resources.get("log_mb")
        self._path, self._limit = path, (given if isinstance(given, int) and given > 0 else DEFAULT_MB) * MIB
        self._head = self._marker = self._size = 0
        self._break, self._wait = b"", _FIRST_LOOK
        self.due: Optional[float] = None
        self.left_out = 0

    def begin(self) -> None:
        """The program begins."""
        self.due = time.monotonic() + _FIRST_LOOK

    def look(self) -> None:
        """Cut the log if it is too long.

        Raises
        ------
        OSError
            The disk refuses it: no newest line is gone, and the next look tries again.
        """
        self.due = time.monotonic() + self._wait  # should this look fail
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:  # somebody has deleted it
            return
        try:
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode):
                self._plan(about.st_size)
                if about.st_size > self._limit:
                    self._cut(descriptor, about.st_size)
        finally:
            os.close(descriptor)

    def _plan(self, size: int) -> None:
        """Look soon again while the log grows fast."""
        grows = size - self._size > self._limit // 64
        self._size, self._wait = size, _FIRST_LOOK if grows else min(2 * self._wait, _LAST_LOOK)
        self.due = time.monotonic() + self._wait

    def _cut(self, descriptor: int, size: int) -> None:
        if not self._head:
            self._head = self._limit // 2
            before = os.pread(descriptor, _LINE, self._head - _LINE)
            self._break = b"" if b"\n" in before else b"\n"
            self._head -= _LINE - (before.rfind(b"\n") + 1 or _LINE)
        start = size - min(self._limit // 4, _NEWEST) + _LINE  # what is written ends before it: it stays till the cut
        newest = os.pread(descriptor, size - start, start)
        newest = newest[newest.find(b"\n", 0, _LINE) + 1 :]
        left_out = self.left_out + size - self._head - self._marker - len(newest)
        marker = self._break + self._says(left_out).encode()
        behind = _write(descriptor, marker + newest, self._head)
        late = os.pread(descriptor, _LINE, size)  # printed meanwhile
        behind = _write(descriptor, late, behind)
        os.ftruncate(descriptor, behind)
        self.left_out, self._marker, self._size = left_out, len(marker), behind

    def _says(self, left_out: int) -> str:
        limit = "resources: {{log_mb: {}}} in the sweep file allows more".format(2 * self._limit // MIB)
        text = "orch: {:,} bytes are left out here: the log was over its limit of {} MiB; {}\n"
        return text.format(left_out, self._limit // MIB, limit)


def _write(descriptor: int, data: bytes, at: int) -> int:
    """Write all of it in its place; return where it ends."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written
    return at
