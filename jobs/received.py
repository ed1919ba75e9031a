"""Names that came from elsewhere, before they become paths: the one door through which each of them passes.

A host, an archive, a record that somebody else wrote may say `../../.bashrc`, `C:\\\\x`, `NUL` or half a sign. A name
that passes leads to a plain file below the folder that was chosen here, and to no other file of the same answer.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from typing import Iterable, List, Optional, Set, Tuple

DEEPEST = 32  # folders inside each other
LONGEST = 255  # bytes of one name: the limit of most file systems
_FORBIDDEN = re.compile("[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")  # no sign that is seen
_WINDOWS = re.compile('[<>:"|?*]')  # drives, streams and patterns
# Windows: "Naming Files, Paths, and Namespaces". The name counts up to its first dot; superscript digits are digits.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(\.|$)", re.IGNORECASE)
FOLDS = os.name == "nt" or sys.platform == "darwin"  # names that differ in case only are one


def fault(name: str, windows: bool = os.name == "nt") -> str:
    """Return why a name cannot be that of a file here; an empty text when it can.

    Parameters
    ----------
    name:
        One part of a path, without separators.
    windows:
        The rules of Windows hold, too.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text"
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        return "it leads elsewhere"
    if _FORBIDDEN.search(name):
        return "it holds signs that are not seen"
    if size > LONGEST:
        return "it is longer than {} bytes".format(LONGEST)
    if windows and (_WINDOWS.search(name) or _DEVICES.match(name) or name[-1] in ". "):
        return "Windows gives it another meaning"
    return ""


def parts_of(path: object, windows: bool = os.name == "nt") -> Tuple[str, ...]:
    """Return the parts of a relative path with `/` between them.

    Raises
    ------
    ValueError
        It does not lead to a file below the folder that it is relative to; the text says why.
    """
    if not isinstance(path, str):
        raise ValueError("it is no text")
    parts = tuple(path.split("/"))
    if len(parts) > DEEPEST:
        raise ValueError("it is deeper than {} folders".format(DEEPEST))
    why = next(filter(None, (fault(part, windows) for part in parts)), "")
    if why:
        raise ValueError(why)
    return parts


class Names:
    """The names of one answer, none of which may mean the file of another."""

    def __init__(self, windows: bool = os.name == "nt", folds: bool = FOLDS) -> None:
        self._windows, self._folds = windows, folds
        self._seen: Set[str] = set()

    def take(self, path: object) -> Tuple[str, ...]:
        """Return the parts of a path.

        Raises
        ------
        ValueError
            See `parts_of`; or another one of this answer has the same name, but for case or the form of its accents.
        """
        parts = parts_of(path, self._windows)
        key = unicodedata.normalize("NFC", "/".join(parts))
        key = key.casefold() if self._folds else key
        if key in self._seen:
            raise ValueError("another one has this name, written differently")
        self._seen.add(key)
        return parts


def below(root: str, parts: Iterable[str], make: bool = False) -> str:
    """Return the path of a file below a folder, when no link on the way, and no link in its place, leads elsewhere.

    Parameters
    ----------
    make:
        Make the folders on the way that are missing.

    Raises
    ------
    OSError
        A folder cannot be made.
    ValueError
        A link or something else stands in the way.
    """
    names: List[str] = list(parts)
    path = root
    if make:
        os.makedirs(root, exist_ok=True)
    for name in names[:-1]:
        path = os.path.join(path, name)
        if make:
            try:
                os.mkdir(path)
            except FileExistsError:
                pass
        if _kind(path) not in (None, stat.S_IFDIR):
            raise ValueError("{} stands in the way and is no folder".format(path))
    path = os.path.join(path, names[-1])
    if _kind(path) not in (None, stat.S_IFREG):
        raise ValueError("{} stands there and is no plain file".format(path))
    return path


def _kind(path: str) -> Optional[int]:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None
