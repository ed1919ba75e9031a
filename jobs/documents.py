"""Files that others write: only plain files are opened, read up to a limit, and parsed into what every reader takes.

A program may leave a named pipe, a device, a gigabyte or half an emoji where a document is due. None of it may hold up,
or fill, whoever reads the run folders of all.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from typing import Any, Optional, Tuple

MIB = 1 << 20
_BLOCK = 1 << 16  # bytes that are read at least: a file may grow while it is read
LARGEST = 256 * MIB  # bytes of a file that is read whole: a batch of 100,000 jobs is smaller
DEPTH = 64  # lists and objects inside each other; parser and encoder give up at about 1,000, each elsewhere
_INTEGERS = 1 << 63  # SQLite's have 64 bits, as those of most readers
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # an escaped surrogate
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19  # perhaps a number of more than 64 bits
_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)  # NaN and Infinity, which some writers let through


def open_plain(path: "str | os.PathLike[str]", flags: int = os.O_RDONLY, folder: Optional[int] = None) -> int:
    """Open a plain file, as the `opener` of `open`; never waits for a named pipe.

    Parameters
    ----------
    folder:
        Descriptor of the folder to which the path is relative.

    Raises
    ------
    OSError
        It cannot be opened, or is no plain file (EINVAL).
    """
    return _open(path, flags, folder)[0]


def _open(path: "str | os.PathLike[str]", flags: int, folder: Optional[int] = None) -> Tuple[int, os.stat_result]:
    descriptor = os.open(path, flags | _NEVER_WAIT, dir_fd=folder)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", os.fspath(path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, about


def read(path: "str | os.PathLike[str]", most: int = LARGEST) -> bytes:
    """Return a plain file's bytes.

    Raises
    ------
    OSError
        It cannot be read, is no plain file (EINVAL), or holds more than `most` bytes (EFBIG).
    """
    return read_owned(path, most)[0]


def read_owned(path: "str | os.PathLike[str]", most: int, flags: int = 0) -> Tuple[bytes, os.stat_result]:
    """Return a plain file's bytes, and what the file system said of exactly these.

    Raises
    ------
    OSError
        As `read`.
    """
    descriptor, about = _open(path, os.O_RDONLY | flags)
    try:
        data, part = b"", b""
        while about.st_size <= most >= len(data):
            part = os.read(descriptor, max(about.st_size - len(data) + 1, _BLOCK))
            if not part:
                return data, about
            data = data + part if data else part
        raise OSError(errno.EFBIG, "it holds more than {} MiB".format(most // MIB), os.fspath(path))
    finally:
        os.close(descriptor)


def is_no_document(error: OSError) -> bool:
    """Tell whether something else lies where a document is due."""
    return error.errno in (errno.EINVAL, errno.EFBIG, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENOTDIR)


def parse(data: bytes) -> Any:
    """Return a JSON text's value; numbers, texts and depth are such that every reader and encoder takes them.

    Raises
    ------
    ValueError
        It is no JSON, or nested deeper than `DEPTH`.
    """
    try:
        value = _DECODER.decode(data.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return clean(value) if is_odd(data) or may_be_deep(data) else value


def is_odd(data: bytes) -> bool:
    """Tell whether a JSON text may hold a number or a sign that not every reader takes (quick: it may be wrong)."""
    return _LONG in data.translate(_DIGITS) or (b"\\u" in data and _HALF.search(data) is not None)


def may_be_deep(data: bytes) -> bool:
    """Tell whether a JSON text may be nested deeper than `DEPTH` (quick: it may be wrong)."""
    return data.count(b"[") + data.count(b"{") > DEPTH


def clean(value: Any, depth: int = DEPTH) -> Any:
    """Return a parsed value without what some readers refuse: large integers become floats, halves of signs U+FFFD.

    Raises
    ------
    ValueError
        It is nested deeper than `depth`.
    """
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
        return _float(value)
    if isinstance(value, (dict, list)) and depth == 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {text(key): clean(item, depth - 1) for key, item in value.items()}
    return [clean(item, depth - 1) for item in value] if isinstance(value, list) else value


def text(value: str) -> str:
    """Return a text that can be encoded: halves of signs become U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _float(value: int) -> "float | None":
    try:
        return float(value)
    except OverflowError:
        return None


def moment(value: Any) -> "float | None":
    """Return a time in seconds since 1970 if it is one that a calendar has (before the year 5138), else None."""
    sound = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if sound and 0 <= value < 1e11 else None
