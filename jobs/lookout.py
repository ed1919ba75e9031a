"""The lookout of a job that has cards: while it runs, looks every few seconds whether other people came.

It only looks, and says so: it is the watcher that asks the job to step aside, and nobody else's process is touched.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, List, Mapping, Optional

from . import guestbook
from .folder import HostFolder
from .policy import AGAIN, table_of
from .slots import Lease

if TYPE_CHECKING:
    from .courtesy import Wishes


class Lookout:
    """Looks after one job's cards; a job without cards, or whose sweep has it stay, has no `due`.

    Attributes
    ----------
    due:
        Monotonic time of the next look, or None.
    reason:
        Why the job was asked to step aside, or empty.
    grace:
        Seconds that it has to leave.
    """

    def __init__(self, job: Mapping[str, Any], local: HostFolder, lease: Lease) -> None:
        self._local, self._gpus = local, list(lease.device.get("gpus", ()))
        self._label = "{} ({})".format(job.get("label"), job.get("sweep"))
        alone = not self._gpus or "slurm" in lease.device  # what Slurm gave is nobody else's
        self._stays = alone or table_of(job)["foreign_pressure"].action not in AGAIN
        self._asked = 0.0
        self.due: Optional[float] = None
        self.reason, self.grace = "", 0.0

    def begin(self) -> None:
        """The job begins: the first look comes soon, for somebody may have come between the check and the start."""
        if not self._stays:
            self.due = time.monotonic() + 1.0

    def look(self) -> bool:
        """Look; True when the job must step aside. Then no other look follows."""
        from .cards import wishes_of  # a job without cards does not wait for it

        wishes = wishes_of(self._local)
        self.reason, self.grace = _reason(self._local, self._gpus, wishes), wishes.grace_s
        self.due = None if self.reason else time.monotonic() + wishes.look_s
        if self.reason:
            self._asked = time.monotonic()
            guestbook.note(self._local, guestbook.ASKED, job=self._label, reason=self.reason)
        return bool(self.reason)

    def end(self) -> None:
        """The job has left, with all its processes."""
        self.due = None
        if self.reason:
            took = round(time.monotonic() - self._asked, 1)
            guestbook.note(self._local, guestbook.LEFT, job=self._label, took_s=took, reason=self.reason)


def _reason(local: HostFolder, gpus: List[str], wishes: "Wishes") -> str:
    from .cards import intruders, quiet_reason

    quiet = quiet_reason(wishes, time.time())
    return quiet.reason if quiet else intruders(local, gpus, wishes)
