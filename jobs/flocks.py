"""Who holds a lock, as the kernel says: a lock file's own words are what somebody has written there."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional


class Held(NamedTuple):
    """A lock that is held: whether others may hold it too, and the process that took it (it may have ended since)."""

    shared: bool
    pid: int


def held(path: str) -> Optional[List[Held]]:
    """Return the locks (flock) on a file; None where the kernel does not tell.

    Source: proc_locks(5). Files are told by their inode: their device has another number there on some file systems.
    """
    try:
        inode = str(os.lstat(path).st_ino)
        with open("/proc/locks", encoding="ascii", errors="replace") as handle:
            rows = [line.split() for line in handle]
    except FileNotFoundError:
        return [] if os.path.exists("/proc/locks") else None
    except OSError:
        return None
    mine = (row for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode)
    return [Held(row[3] == "READ", int(row[4])) for row in mine]
