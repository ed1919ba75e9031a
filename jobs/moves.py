"""Renames that never replace anything, and what a folder weighs."""

from __future__ import annotations

import errno
import os
import stat
from typing import Dict, Iterator, Tuple

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES)  # file systems without hard links


def rename(source: str, target: str) -> None:
    """Rename without ever replacing: `rename` refuses a folder that is not empty, `link` refuses any name.

    Raises
    ------
    OSError
        The target is there, or lies on another file system; nothing was moved.
    """
    if stat.S_ISREG(os.lstat(source).st_mode):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            os.unlink(source)
            return
    os.rename(source, target)


def weigh(*paths: str) -> Dict[str, int]:
    """Return what deleting files and folders would free: `{"bytes", "files"}`.

    A file that has another name elsewhere (environments share files with the caches of conda) frees nothing. No link is
    followed.
    """
    seen: Dict[Tuple[int, int], Tuple[int, int, int]] = {}  # inode -> names found here, names it has, bytes
    for about in (about for path in paths for about in _files(path)):
        key = (about.st_dev, about.st_ino)
        seen[key] = (seen.get(key, (0, 0, 0))[0] + 1, about.st_nlink, about.st_size)
    freed = [size for found, names, size in seen.values() if found >= names]
    return {"bytes": sum(freed), "files": len(seen)}


def _files(path: str) -> Iterator[os.stat_result]:
    names = [path] if not os.path.isdir(path) or os.path.islink(path) else []
    for folder, _, found in os.walk(path) if not names else ():
        names.extend(os.path.join(folder, name) for name in found)
    for name in names:
        try:
            yield os.lstat(name)
        except OSError:  # gone meanwhile
            continue
