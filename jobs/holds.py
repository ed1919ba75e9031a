"""What waits on purpose on this host: held sweeps, GPUs that are out of use, and what failed alike. Host-local files.

`holds.json` is changed under the queue's lock only. A hold with a `path` ends by itself when that disk takes a file
again; any other waits for `orch release`. A hold that has ended stays, marked, until none of its jobs waits: so that
everybody hears of it.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from . import host
from .atomic import digest, read_json, write_json
from .folder import HostFolder
from .policy import ALIKE_LIMIT

HELD = "held: "  # how the reason of a job that waits on purpose begins
ROOM_LEAST, ROOM_MOST = 64 << 10, 16 << 20  # bytes that a probe writes: a share of the disk, within these
ROOM_SHARE = 20  # one 20th of it
_SIGNATURES = 50  # failures of one sweep that are remembered


class Hold(NamedTuple):
    """Why jobs wait, and until when."""

    kind: str
    reason: str
    path: Optional[str] = None  # a folder on the disk that must have room again; None: until a person releases it
    code: Optional[str] = None  # only jobs with this code; with a path: all
    released: bool = False
    since: float = 0.0  # seconds since 1970


class Holds:
    """What is held on one host; read once."""

    def __init__(self, local: HostFolder) -> None:
        said = read_json(local.holds)
        self._local = local
        self._all: Dict[str, Any] = said if isinstance(said, dict) else {}
        self.sweeps = {name: hold for name, hold in self._read("sweeps") if hold}
        self.gpus = _sick(local)

    def _read(self, part: str) -> "List[tuple[str, Optional[Hold]]]":
        said = self._all.get(part)
        return [(name, _hold(value)) for name, value in said.items()] if isinstance(said, dict) else []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holds) and (self.sweeps, self.gpus) == (other.sweeps, other.gpus)

    def __bool__(self) -> bool:
        return bool(self.sweeps or self.gpus)

    def hold_of(self, job: Mapping[str, Any]) -> Optional[Hold]:
        """Return what holds a waiting job, or None."""
        if not self.gpus and job.get("sweep") not in self.sweeps:
            return None
        if self.gpus and (job.get("resources") or {}).get("gpus"):
            return self.gpus
        hold = self.sweeps.get(str(job.get("sweep")))
        if hold is None or hold.released or (hold.path is None and hold.code != code_of(job)):
            return None
        return hold

    def why(self, job: Mapping[str, Any]) -> str:
        """Say why a waiting job is held, and the command that lets it go; empty when it is not."""
        hold = self.hold_of(job)
        if hold is None:
            return ""
        command = "--gpus" if hold is self.gpus else job["sweep"]
        return "{}{} (orch release {})".format(HELD, hold.reason, command)

    def probed(self) -> Dict[str, Hold]:
        """Return the holds that end by themselves, by sweep."""
        return {name: hold for name, hold in self.sweeps.items() if hold.path and not hold.released}

    def hold(self, sweep: str, hold: Hold) -> None:
        """Hold a sweep's waiting jobs; one that is held already stays held as it is. Under the queue's lock."""
        before = self.sweeps.get(sweep)
        if before is None or before.released:
            self.sweeps[sweep] = hold._replace(since=time.time())
            self._save()

    def count_alike(self, job: Mapping[str, Any], kind: str, evidence: str) -> int:
        """Remember how a job failed; return how many jobs of its sweep failed alike. Under the queue's lock."""
        alike = self._all.setdefault("alike", {}).setdefault(job["sweep"], {})
        ids = alike.setdefault(digest([kind, evidence, code_of(job)]), [])
        if job["id"] not in ids:
            ids.append(job["id"])
            for stale in list(alike)[:-_SIGNATURES]:
                del alike[stale]
            self._save()
        return len(ids)

    def release(self, sweeps: List[str]) -> List[str]:
        """Let the jobs of these sweeps go; return those that were held. Under the queue's lock."""
        held = [name for name in sweeps if name in self.sweeps and not self.sweeps[name].released]
        alike = self._all.get("alike", {})
        counted = [alike.pop(name) for name in sweeps if name in alike]
        self.sweeps.update({name: self.sweeps[name]._replace(released=True) for name in held})
        if held or counted:
            self._save()
        return held

    def forget(self, waiting: "set[str]") -> None:
        """Drop the holds of sweeps of which nothing waits. Under the queue's lock."""
        over = [name for name in self.sweeps if name not in waiting]
        for name in over:
            del self.sweeps[name]
        if over:
            self._save()

    def _save(self) -> None:
        self._all["sweeps"] = {name: dict(hold._asdict()) for name, hold in self.sweeps.items()}
        write_json(self._local.holds, self._all, sync=False)


def _hold(value: Any) -> Optional[Hold]:
    try:
        return Hold(**value)
    except TypeError:
        return None


def code_of(job: Mapping[str, Any]) -> Optional[str]:
    """Return the hash of the code that a job runs, or None when it is not pinned."""
    found = (job.get("provenance") or {}).get("code")
    return str(found) if found else None


def alike_reason(count: int, kind: str, evidence: str) -> Optional[str]:
    """Return why the waiting siblings are held once so many failed alike, or None."""
    if count < ALIKE_LIMIT:
        return None
    return "{} jobs of this sweep failed alike, with {}: {}".format(count, kind.replace("_", " "), evidence)


def mark_sick(local: HostFolder, kind: str, reason: str) -> None:
    """Take the GPUs of this host out of use for all our homes, until the next boot or `orch release --gpus`."""
    mark = {"kind": kind, "reason": reason, "since": time.time(), "boot_id": host.boot_id()}
    write_json(local.sick, mark, sync=False)


def _sick(local: HostFolder) -> Optional[Hold]:
    mark = read_json(local.sick)
    if not isinstance(mark, dict) or mark.get("boot_id") != host.boot_id():
        return None
    reason = "the GPUs of {} are out of use: {}".format(host.name(), mark.get("reason"))
    since = mark.get("since")
    return Hold(str(mark.get("kind")), reason, since=float(since) if isinstance(since, (int, float)) else 0.0)


def release_gpus(local: HostFolder) -> bool:
    """Let jobs use the GPUs again; False when they were not out of use."""
    was = _sick(local) is not None
    if os.path.exists(local.sick):
        os.unlink(local.sick)
    return was


def has_room(path: str, most: int = ROOM_MOST) -> bool:
    """Tell whether a disk takes a file, by writing one: free space and quota as the system tells them may lie.

    Parameters
    ----------
    most:
        Bytes to write at most; a 20th of the disk, if that is less.
    """
    folder = path
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    probe = os.path.join(folder, ".probe-{}-{}".format(os.getpid(), os.urandom(4).hex()))
    try:
        _write_probe(probe, folder, most)
    except OSError as error:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)  # another trouble is for the job itself to tell
    finally:
        if os.path.exists(probe):
            os.unlink(probe)
    return True


def _write_probe(path: str, folder: str, most: int) -> None:
    disk = os.statvfs(folder)
    size = max(ROOM_LEAST, min(most, disk.f_blocks * disk.f_frsize // ROOM_SHARE))
    if disk.f_bavail * disk.f_frsize < size:  # do not take the last bytes from those who write
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with open(path, "xb", buffering=0) as handle:
        block = bytes(1 << 16)
        for _ in range(0, size, len(block)):
            if handle.write(block) < len(block):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle.fileno())
