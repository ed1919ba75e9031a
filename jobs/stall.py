"""When a queue stands still: who is waited for, why in words, and how long until the next try."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Iterable, Optional

from . import host
from .folder import HostFolder
from .messages import Channel
from .queue import Entry

STALL = 60.0  # seconds without any progress after which it is asked why


class Restart(Exception):
    """The keeper must begin anew, with no descriptor kept; the text says why."""


class Backoff:
    """Seconds until the next try: doubled each time, up to a limit, and from the first again after a success."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self.tries = 0

    def next(self) -> float:
        """Return the seconds until the next try, and count it."""
        self.tries += 1
        return min(self._most, self._first * 2.0 ** min(self.tries - 1, 16))

    def reset(self) -> None:
        """It went well."""
        self.tries = 0


class WorkerSlot:
    """A watcher that the keeper has forked, what its lease gives it and the entry it serves (None: it is leaving)."""

    def __init__(self, channel: Channel, pid: int, resources: Dict[str, Any], slot: int) -> None:
        self.channel, self.pid, self.resources, self.slot = channel, pid, resources, slot
        self.entry: Optional[Entry] = None
        self.used = self.begun = False  # its cards have served a job; the run folder of its entry is there
        self.given_at = time.monotonic()

    def give(self, entry: Optional[Entry]) -> bool:
        """Give it the next entry, or dismiss it; False when it is gone."""
        self.entry, self.begun, self.used, self.given_at = entry, False, True, time.monotonic()
        return self.channel.send(entry.line if entry else b"")

    def is_late(self) -> bool:
        """Tell whether it was given something long ago, and has neither begun nor refused it."""
        return not self.begun and time.monotonic() - self.given_at > STALL


def stall_reason(local: HostFolder, workers: Iterable[WorkerSlot], moved_at: float) -> Optional[str]:
    """Say who holds the slots for which something due waits; None while that is nobody's fault (our jobs run).

    Raises
    ------
    Restart
        We hold one ourselves, which serves nobody.
    """
    if time.monotonic() - moved_at < STALL or any(worker.begun for worker in workers):
        return None
    found = host.holders_below(os.path.dirname(local.slot("job", 0)))
    if os.getpid() in found:
        raise Restart("this process holds a slot that serves no job")
    listed = ", ".join(map(str, sorted(found)[:5])) or "nobody that we can see"
    return "all slots are held by processes of earlier jobs: {}".format(listed)
