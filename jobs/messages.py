"""The messages of keeper and watcher: each arrives whole and by itself, whatever one read or one write takes.

A message is its length (4 bytes, big-endian) and its bytes, over a socket pair of which each process has one end. Where
the kernel cannot take or give anything just now (ENOBUFS, ENOMEM, EAGAIN), it is tried again; any other error means
that the other end is gone. Whoever finds it gone closes its own end, so that both know: the run folder then tells
whether the job had begun.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from typing import List, Optional, Tuple

# First byte of what a watcher says; the keeper answers TAKEN, REFUSED and DONE with the next job or an empty message.
STARTED, TAKEN, REFUSED, DONE, FREE = b"p", b"x", b"f", b"d", b"s"

LIMIT = 1 << 26  # bytes of a message; a job's line with all its data stays far below
_BLOCK = 1 << 16  # bytes of one read
_HEAD = struct.Struct("!I")
_PASSING = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR)
_PAUSE = 0.05  # seconds until the kernel is asked again for memory
_PATIENCE = 60.0  # seconds for which it is asked, until the other end counts as gone


class Channel:
    """One end of a conversation. The keeper's never waits; the watcher's does (`next`, `say`)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._arrived, self._unsent = bytearray(), bytearray()
        self._since: Optional[float] = None  # monotonic time since which the kernel has refused memory
        self.gone = False  # the other end is, or must be thought to be

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._connection.fileno()

    def close(self) -> None:
        """Let the other end know that nobody listens."""
        self.gone = True
        self._connection.close()

    @property
    def unsent(self) -> bool:
        """Tell whether bytes wait until the other end reads: call `flush` when it does."""
        return bool(self._unsent)

    def send(self, message: bytes) -> bool:
        """Send without waiting, as much as is taken now; False when the other end is gone."""
        self._unsent += _HEAD.pack(len(message)) + message
        return self.flush()

    def flush(self) -> bool:
        """Send what was not taken before; False when the other end is gone."""
        while self._unsent and not self.gone:
            try:
                taken = self._connection.send(self._unsent, socket.MSG_DONTWAIT)
            except OSError as error:
                self.gone = not self._passes(error)
                break
            self._since = None
            del self._unsent[:taken]
        return not self.gone

    def receive(self) -> List[bytes]:
        """Return the messages that are there now, without waiting; with `gone` set there will be no more."""
        self._read(socket.MSG_DONTWAIT)
        return self._whole()

    def say(self, message: bytes) -> bool:
        """Send and wait until it is taken; False when the other end is gone, and then it is closed here too."""
        self.send(message)
        while self._unsent and not self.gone:
            if self._since is None:
                select.select([], [self._connection], [])
            else:
                time.sleep(_PAUSE)
            self.flush()
        if self.gone:
            self.close()
        return not self.gone

    def next(self) -> Optional[bytes]:
        """Wait for a message and return it; None when the other end is gone."""
        while not self.gone:
            message = self._first()
            if message is not None:
                return message
            self._read(0)
            if self._since is not None:
                time.sleep(_PAUSE)
        return None

    def _read(self, flags: int) -> None:
        try:
            block = b"" if self.gone else self._connection.recv(_BLOCK, flags)
        except OSError as error:
            self.gone = self.gone or not self._passes(error)
            return
        self._since = None
        self.gone = self.gone or not block
        self._arrived += block

    def _whole(self) -> List[bytes]:
        found: List[bytes] = []
        while True:
            message = self._first()
            if message is None:
                return found
            found.append(message)

    def _first(self) -> Optional[bytes]:
        """Take the first whole message out of what has arrived."""
        if len(self._arrived) < _HEAD.size:
            return None
        (size,) = _HEAD.unpack_from(self._arrived)
        if size > LIMIT:  # no message of ours: nothing behind it can be read
            self.gone = True
            return None
        end = _HEAD.size + size
        if len(self._arrived) < end:
            return None
        message = bytes(self._arrived[_HEAD.size : end])
        del self._arrived[:end]
        return message

    def _passes(self, error: OSError) -> bool:
        """Tell whether the same call may succeed later; the kernel is not asked for memory for ever."""
        if error.errno not in _PASSING:
            return False
        if error.errno != errno.EAGAIN:
            self._since = self._since or time.monotonic()
        return self._since is None or time.monotonic() - self._since < _PATIENCE


def pair() -> Tuple[Channel, Channel]:
    """Return the two ends of a new conversation.

    Raises
    ------
    OSError
        There are too many open files, or no memory.
    """
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)
