"""Whose a file is: in a home that several people share, the file system says it, never the words inside.

A file counts as a user's own when it belongs to them and nobody else may write to it. What is read and what was judged
come from one descriptor, so that nothing can be put in the place of a file in between.
"""

from __future__ import annotations

import os
import stat
from typing import Dict, NamedTuple, Tuple

from .documents import LARGEST, read_owned
from .host import user, user_name

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

# What a fresh file of ours is told to be, by folder: not every file system knows our users, or any modes.
_fresh: Dict[str, Tuple[int, int]] = {}


class Owned(NamedTuple):
    """A file's bytes, and what the file system said of exactly these."""

    data: bytes
    uid: int
    mode: int


def read(path: str, most: int = LARGEST) -> Owned:
    """Read a plain file of at most so many bytes, as `documents.read` does; a link is not followed.

    Raises
    ------
    OSError
        It cannot be read, or is no document (`documents.is_no_document`).
    """
    data, about = read_owned(path, most, getattr(os, "O_NOFOLLOW", 0))
    return Owned(data, about.st_uid, about.st_mode)


def is_ours(path: str, uid: int, mode: int) -> bool:
    """Tell whether a file is this user's, and nobody else may have written into it.

    Where the file system gives all files to one user (a mapped network disk, `root_squash`) or knows no modes, a file
    of ours looks as any other: there a file that looks as a fresh one of ours is ours.
    """
    if not hasattr(os, "getuid") or (uid == os.getuid() and not mode & _OTHERS_WRITE):
        return True
    fresh_uid, fresh_mode = _look(os.path.dirname(path))
    return uid == fresh_uid and not mode & _OTHERS_WRITE & ~fresh_mode


def is_our_uid(folder: str, uid: int) -> bool:
    """Tell whether what belongs to a user id in a folder is this user's."""
    return uid == user() or uid == _look(folder)[0]


def _look(folder: str) -> Tuple[int, int]:
    if folder not in _fresh:
        _fresh[folder] = _look_of_ours(folder)
    return _fresh[folder]


def _look_of_ours(folder: str) -> Tuple[int, int]:
    """Owner and mode of a file that we have made just now, and that is to be ours alone."""
    path = os.path.join(folder, ".owner-{}".format(os.urandom(8).hex()))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    except OSError:
        return os.getuid(), 0
    try:
        about = os.fstat(descriptor)
        return about.st_uid, about.st_mode
    finally:
        os.close(descriptor)
        os.unlink(path)


def name_of(uid: int) -> str:
    """Return a user's name for a message; the number where it has none."""
    return str(user_name(uid))
