"""What laptop, agent, keeper and watcher share on a host has a number (`PROTOCOL`): a living keeper tells its own.

Queue entries, lists of begun attempts, the wake pipe, locks, claims and messages. Each end reads a range; a keeper that
tells no number has 1, and begins attempts that no list names.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from . import PROTOCOL, READS, __version__, host
from .atomic import read_json, write_json
from .errors import ContractError
from .folder import HostFolder
from .lease import is_held

LISTED = 2  # from here on the lists name every attempt that begins
TELL_WAIT = 0.05  # seconds that a keeper may need between its lock and its number
REPAIR = (
    "wait until its queue is empty (orch status) or end its jobs (orch stop): that keeper leaves then; "
    "or update orch on this computer"
)


class Spoken(NamedTuple):
    """What the living keeper speaks."""

    number: int
    reads: Tuple[int, int]  # the lowest and the highest number that it reads
    version: str

    @property
    def fits(self) -> bool:
        """Tell whether this orch and that keeper may work on one queue."""
        return READS[0] <= self.number <= READS[1] or self.reads[0] <= PROTOCOL <= self.reads[1]


OLDEST = Spoken(1, (1, 1), "of before protocol 2")


def tell(local: HostFolder) -> None:
    """In a keeper: say what it speaks. Not synced: it counts only while this process lives."""
    pid = os.getpid()
    said = {"protocol": PROTOCOL, "reads": READS, "version": __version__, "pid": pid, "start": host.start_time(pid)}
    write_json(local.keeper_speaks, said, sync=False)


def spoken(local: HostFolder) -> Optional[Spoken]:
    """Return what the living keeper speaks; None when there is none."""
    if not is_held(local.keeper_lock):
        return None
    found = _told(local)
    if found is None:  # it has perhaps just taken its lock
        time.sleep(TELL_WAIT)
        found = _told(local)
    return found or OLDEST


def warning(local: HostFolder) -> str:
    """Say that the living keeper does not fit, with the repair; empty when it does, or there is none."""
    found = spoken(local)
    return "" if found is None or found.fits else "{}; {}".format(_misfit(found), REPAIR)


def require(local: HostFolder) -> None:
    """Refuse to queue for a keeper that does not fit.

    Raises
    ------
    ContractError
        The living keeper speaks a number that this orch does not read.
    """
    found = spoken(local)
    if found is not None and not found.fits:
        raise ContractError(_misfit(found), REPAIR)


def _misfit(found: Spoken) -> str:
    text = "the keeper on {} (orch {}) speaks protocol {}; this orch ({}) reads {} to {}"
    return text.format(host.name(), found.version, found.number, __version__, *READS)


def _told(local: HostFolder) -> Optional[Spoken]:
    said: Dict[str, Any] = read_json(local.keeper_speaks) or {}
    try:
        low, high = (int(number) for number in said["reads"])
        pid = int(said["pid"])
        alive = said["start"] is not None and host.start_time(pid) == said["start"]
        return Spoken(int(said["protocol"]), (low, high), str(said["version"])[:40]) if alive else None
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
