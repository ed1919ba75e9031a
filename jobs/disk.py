"""The file system under a path: its type, whether it is on a network, how much is free."""

from __future__ import annotations

import os
import re
import shutil
from typing import Any, Dict, NamedTuple, Optional

_MOUNTS = "/proc/self/mountinfo"  # proc(5); field 5 is the mount point, the type follows the lone dash
_ESCAPE = re.compile(r"\\([0-7]{3})")  # blanks in mount points are written as octal numbers
# Locks and memory maps are not to be trusted there, and other machines see late what is written.
_KINDS = "nfs nfs4 cifs smb2 smb3 smbfs 9p afs ceph lustre gpfs beegfs glusterfs pvfs2 orangefs panfs drvfs ncpfs"
NETWORK = frozenset(_KINDS.split())
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs", "fuse.nfs")


class Disk(NamedTuple):
    """One path's file system.

    Attributes
    ----------
    path:
        The path asked for; where it does not exist, its nearest existing parent was looked at.
    kind:
        Type of the file system (`ext4`, `nfs4`), or None where the system does not tell (Windows, macOS).
    free_bytes, total_bytes:
        Bytes a plain user may still write, and the size; None when the path cannot be reached. A quota may allow less.
    """

    path: str
    kind: Optional[str]
    free_bytes: Optional[int]
    total_bytes: Optional[int]

    @property
    def on_network(self) -> bool:
        """Other machines can write there too (False where the type is not known)."""
        return is_network(self.kind or "")

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {**self._asdict(), "on_network": self.on_network}


def is_network(kind: str) -> bool:
    """Tell whether a type of file system (`nfs4`) belongs to other machines as well."""
    return kind in NETWORK or kind.startswith(_NETWORK_FUSE)


def disk(path: "str | os.PathLike[str]") -> Disk:
    """Return what the system tells of the file system under a path; never raises."""
    asked = os.fspath(path)
    there = os.path.realpath(asked)
    while not os.path.exists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    try:
        usage = shutil.disk_usage(there)
    except OSError:
        return Disk(asked, _kind(there), None, None)
    return Disk(asked, _kind(there), usage.free, usage.total)


def _kind(path: str) -> Optional[str]:
    """Type of the mount with the longest matching mount point; of two on one point the later covers the earlier."""
    best, kind = "", None
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as handle:
            lines = handle.read().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _ESCAPE.sub(lambda found: chr(int(found.group(1), 8)), before.split(" ")[4])
        if len(point) >= len(best) and _holds(point, path):
            best, kind = point, after.split(" ")[0]
    return kind


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
