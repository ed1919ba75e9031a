"""Errors of system calls that may pass: the call is made again, with growing waits and a limit."""

from __future__ import annotations

import errno
import time
from typing import Callable, Iterator, TypeVar

# What a call may answer once and not the next time: a busy or restarted file server, a full table, a quota.
# EACCES, ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, E2BIG, ENOEXEC, EINVAL, EPERM and EROFS say what is, and stay.
_NAMES = """EAGAIN EINTR EIO ESTALE ENOMEM EMFILE ENFILE EBUSY ETXTBSY ENOBUFS ETIMEDOUT ENOLCK EDQUOT ENOSPC
EREMOTEIO ECONNRESET EHOSTDOWN"""
_NUMBERS = frozenset(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name))
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 5.0  # seconds

Value = TypeVar("Value")


def may_pass(error: BaseException) -> bool:
    """Tell whether the same call may succeed later."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NUMBERS)


def waits() -> Iterator[float]:
    """Yield the seconds to wait before each new try: doubled each time, up to a limit."""
    wait = _FIRST_WAIT
    while True:
        yield wait
        wait = min(2 * wait, _LONGEST_WAIT)


def retried(call: Callable[[], Value], limit: float) -> Value:
    """Call, and call again while it fails with an error that may pass.

    Parameters
    ----------
    limit:
        Seconds after which the error counts.

    Raises
    ------
    OSError
        It did not pass within the limit, or is of another kind.
    """
    deadline = time.monotonic() + limit
    for wait in waits():
        try:
            return call()
        except (OSError, MemoryError) as error:
            if not may_pass(error) or time.monotonic() + wait > deadline:
                raise
        time.sleep(wait)
    raise AssertionError  # `waits` has no end
