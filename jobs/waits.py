"""Why jobs wait for a card or a time, and when the keeper looks again: less and less often while nothing changes.

`waits.json` is the keeper's word for whoever asks (`Waits`); it holds the reasons of now and is no record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional

from . import guestbook, slurm
from .atomic import read_json, write_json
from .folder import HostFolder
from .policy import not_before

if TYPE_CHECKING:
    from .slots import Lease, Slots

WAITS = "waits: "  # how the reason of a job begins that waits for other people
SLURM = "slurm"  # the need of what Slurm is to start
DISPATCHER = "keeper"  # the need of all: what keeps the keeper itself from starting anything
LOOK_FIRST, LOOK_MOST = 5.0, 300.0  # seconds between two looks at a card that others use: at first, and at most
LOOK_GROWTH = 1.5  # each is so many times the one before


class InUse(Exception):
    """People keep a card from us, not jobs of our own: the job is put aside and looked after later.

    Attributes
    ----------
    reason:
        Who or what, in words.
    until:
        When to look again, in seconds since 1970, or None when nobody can tell.
    """

    def __init__(self, reason: str, until: Optional[float] = None) -> None:
        super().__init__(reason)
        self.reason, self.until = reason, until


class _Wait(NamedTuple):
    reason: str
    since: float  # seconds since 1970
    every: float  # seconds until the next look
    look_at: float  # monotonic time


class Patience:
    """The keeper's: what waits for other people, by need, and what waits for a time, by job."""

    def __init__(self, local: HostFolder) -> None:
        self._local = local
        self._needs: Dict[str, _Wait] = {}
        self._times: Dict[str, float] = {}  # job -> seconds since 1970
        self._words: Dict[str, str] = {}  # need or job -> reason; empty once it is over, so that everybody hears of it
        self._told = read_json(local.waits) or {}

    def lease(self, slots: "Slots", job: Mapping[str, Any]) -> "Optional[Lease]":
        """Lease what a job needs; None while jobs of ours hold it.

        Raises
        ------
        InUse
            It is too early for this job, or other people are in the way; to be tried again after `seconds`.
        """
        need, wait = _need(job), self._needs.get(_need(job))
        if self.too_early(job) or (wait and wait.look_at > time.monotonic()):
            raise InUse(wait.reason if wait else "too early")
        try:
            lease = slots.lease(job["resources"])
        except InUse as people:
            self._put_off(need, people, wait)
            raise
        if lease and wait:
            waited = round(time.time() - wait.since)
            guestbook.note(self._local, guestbook.BEGINS, job=_label(job), waited_s=waited, reason=wait.reason)
            del self._needs[need]
            self._words[need] = ""
        return lease

    def too_early(self, job: Mapping[str, Any]) -> bool:
        """Tell whether a job was queued again for a later time, and remember it."""
        key, at = _key(job), not_before(job)
        if at <= time.time():
            if self._times.pop(key, None):
                self._words[key] = ""
            return False
        when = time.strftime("%H:%M:%S", time.localtime(at))
        self._times[key] = at
        self._words[key] = "{}, tries again at {}".format(_what(job), when)
        return True

    def _put_off(self, need: str, people: InUse, before: Optional[_Wait]) -> None:
        every = before.every if before else LOOK_FIRST
        if before and before.look_at:  # a look that somebody woke us for is no sign that nothing changes
            every = min(every * LOOK_GROWTH, LOOK_MOST)
        due = every if people.until is None else min(max(1.0, people.until - time.time()), LOOK_MOST)
        since = before.since if before else time.time()
        self._words[need] = people.reason
        self._needs[need] = _Wait(people.reason, since, every, time.monotonic() + due)
        if not before or before.reason != people.reason:
            guestbook.note(self._local, guestbook.WAITS, reason=people.reason)

    def say(self, need: str, text: str) -> None:
        """Tell of something else that keeps jobs waiting; an empty text: no longer."""
        if text or self._words.get(need):
            self._words[need] = text

    def soon(self) -> None:
        """Look again at once: something has changed."""
        self._needs = {need: wait._replace(look_at=0.0) for need, wait in self._needs.items()}

    def seconds(self) -> Optional[float]:
        """Return the seconds until the next look, or None when nothing waits."""
        looks = [wait.look_at - time.monotonic() for wait in self._needs.values()]
        looks += [at - time.time() for at in self._times.values()]
        return max(0.0, min(looks)) if looks else None

    def settle(self) -> None:
        """Forget the waits of which no job is left: all others were just tried, and have another time to look."""
        now, monotonic = time.time(), time.monotonic()
        self._needs = {need: wait for need, wait in self._needs.items() if wait.look_at > monotonic}
        self._times = {job: at for job, at in self._times.items() if at > now}
        self.tell()

    def forget(self) -> None:
        """Nothing waits any more."""
        self._needs.clear()
        self._times.clear()
        self._words.clear()
        self.tell()

    def tell(self) -> None:
        """Write the reasons down for whoever asks, when they have changed."""
        if self._words != self._told:
            self._told = dict(self._words)
            try:
                write_json(self._local.waits, self._words, sync=False)
            except OSError:  # a full disk: the jobs wait all the same
                self._told = {}


class Waits:
    """What the keeper has said of the jobs that wait; read once."""

    def __init__(self, local: HostFolder) -> None:
        said = read_json(local.waits)
        self._words = {key: text for key, text in said.items() if text is not None} if isinstance(said, dict) else {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Waits) and self._words == other._words

    def concern(self, job: Mapping[str, Any]) -> bool:
        """Tell whether something was ever said of a job since the keeper came."""
        return not {_key(job), _need(job), DISPATCHER}.isdisjoint(self._words)

    def why(self, job: Mapping[str, Any]) -> str:
        """Say for whom or what a waiting job waits; empty when only for a slot."""
        found = next(filter(None, map(self._words.get, (_key(job), _need(job), DISPATCHER))), "") if self._words else ""
        return WAITS + str(found) if found else ""


def _key(job: Mapping[str, Any]) -> str:
    return "{}/{}/{}".format(job.get("sweep"), job.get("id"), job.get("attempt"))


def _label(job: Mapping[str, Any]) -> str:
    return "{} ({})".format(job.get("label"), job.get("sweep"))


def _what(job: Mapping[str, Any]) -> str:
    return (
        "it stepped aside" if job["retry"].get("kind") == "foreign_pressure" else "it failed for a reason that passes"
    )


def _need(job: Mapping[str, Any]) -> str:
    """What a job needs of the cards, or of Slurm, as one word; jobs that need the same wait for the same."""
    if slurm.asked(job) is not None:
        return SLURM
    resources = job.get("resources") or {}
    return "{} {}".format(resources.get("gpus") or 0, resources.get("gpu_memory_mb") or 0)
