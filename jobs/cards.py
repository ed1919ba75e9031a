"""Leases of this host's cards, shared by all its users: lock files in one sticky folder, and nvidia-smi's evidence.

A job with a card of its own holds the card's file alone (LOCK_EX). Jobs that say how much memory they need share that
file (LOCK_SH), and each holds as many of the card's parts (1 GiB each, a file for each) as it needs: so memory is set
aside from the lease to the end, also while a job has not taken it yet. The files are never deleted and can be written
by all; whoever holds one writes its watcher's process into it, so that every user's `orch` knows whose jobs are jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from . import flocks, gpu, host
from .atomic import read_json
from .courtesy import Neighbour, Wishes, crowd, preferred, quiet_until, refusal
from .folder import HostFolder
from .gpu import Card
from .lease import is_current
from .waits import InUse

PART_MB = 1024  # MiB of a card that one part stands for
_SIGN = 128  # bytes of a holder's signature


class Taken(NamedTuple):
    """Cards leased: their descriptors, and the files in which the holder signs."""

    cards: List[Card]
    descriptors: List[int]
    signs: List[int]  # those of the descriptors that are held alone


def wishes_of(local: HostFolder) -> Wishes:
    """Return how this user shares cards, as the site file says."""
    return Wishes.from_json(read_json(local.wishes))


def quiet_reason(wishes: Wishes, now: float) -> Optional[InUse]:
    """Return the quiet hours in which we are, or None."""
    import datetime

    end = quiet_until(wishes.quiet_hours, datetime.datetime.fromtimestamp(now)) if wishes.quiet_hours else None
    if end is None:
        return None
    return InUse("quiet hours ({}) until {:%H:%M}".format(", ".join(wishes.quiet_hours), end), end.timestamp())


class Cards:
    """The cards of one host, as one user leases them; which there are is asked once."""

    def __init__(self, local: HostFolder) -> None:
        self.folder, self.wishes = local.cards, wishes_of(local)
        self._opened: Set[int] = set()  # descriptors of this look: what is not taken is closed, whatever happens
        self.known = preferred(gpu.cards(), self.wishes.prefer)

    def take(self, count: int, need_mb: int = 0) -> Optional[Taken]:
        """Lease cards, all or nothing: first the locks, then the evidence. None while jobs of our own hold them.

        Raises
        ------
        InUse
            Other people are in the way, or it is their time.
        """
        quiet = quiet_reason(self.wishes, time.time())
        if quiet:
            raise quiet
        kept: Set[int] = set()
        try:
            taken = self._take(count, need_mb)
            kept.update(taken.descriptors if taken else ())
        finally:
            close(self._opened - kept)
            self._opened = set()
        return taken

    def _take(self, count: int, need_mb: int) -> Optional[Taken]:
        make_common(self.folder)
        reasons: List[str] = []
        locked = {card.uuid: self._lock(card, need_mb, reasons) for card in self.known}
        fresh = gpu.look() if any(locked.values()) else gpu.Look([], "")
        chosen = self._choose(count, {uuid: one for uuid, one in locked.items() if one}, fresh, need_mb, reasons)
        if chosen:
            return Taken(
                [card for one in chosen for card in one.cards],
                [descriptor for one in chosen for descriptor in one.descriptors],
                [descriptor for one in chosen for descriptor in one.signs],
            )
        if reasons:
            raise InUse(reasons[0])
        return None

    def _open(self, path: str, shared: bool = False) -> Optional[int]:
        descriptor = lock(path, shared)
        if descriptor is not None:
            self._opened.add(descriptor)
        return descriptor

    def _choose(
        self, count: int, locked: Dict[str, Taken], fresh: gpu.Look, need_mb: int, reasons: List[str]
    ) -> List[Taken]:
        """The first of the locked cards that nobody uses; none when there are too few."""
        if locked and not fresh.cards:
            reasons.append("the cards cannot be seen: {}".format(fresh.reason))
        now_seen = {card.uuid: card for card in fresh.cards}
        apps = gpu.apps() if locked and fresh.cards else []
        found = []
        for uuid, one in locked.items():
            card = now_seen.get(uuid)
            why = self._refusal(card, apps, need_mb) if card else "GPU {} is gone".format(one.cards[0].index)
            if why:
                reasons.append(why)
            else:
                found.append(one)
        return found[:count] if len(found) >= count else []

    def _refusal(self, card: Card, apps: Optional[List[gpu.App]], need_mb: int) -> str:
        here = [app for app in apps or () if app.uuid == card.uuid]
        told = [app.memory_mb for app in here if app.memory_mb is not None]
        hidden = max(0, (card.memory_used_mb or 0) - sum(told)) if len(told) == len(here) else 0
        near = neighbours(self.folder, card.uuid, here)
        return refusal(card, near, hidden, self.wishes, need_mb, time.time())

    def _lock(self, card: Card, need_mb: int, reasons: List[str]) -> Optional[Taken]:
        parts = max(0, (card.memory_total_mb or 0) - self.wishes.foreign_mb) // PART_MB
        path, wanted = os.path.join(self.folder, card.uuid), -(-need_mb // PART_MB)
        if not need_mb or wanted > parts:  # so is a card of unknown memory: it cannot be shared
            whole = self._open(path)
            taken = None if whole is None else Taken([card], [whole], [whole])
        else:
            taken = self._lock_parts(card, path, parts, wanted)
        why = "" if taken else _why_held(self.folder, card.uuid)
        if why:
            reasons.append("GPU {} {}".format(card.index, why))
        return taken

    def _lock_parts(self, card: Card, path: str, parts: int, wanted: int) -> Optional[Taken]:
        common = self._open(path, shared=True)
        if common is None:
            return None
        held: List[int] = []
        for number in range(parts):
            part = self._open("{}.{:03d}".format(path, number)) if len(held) < wanted else None
            held += [] if part is None else [part]
        if len(held) == wanted:
            return Taken([card], [common, *held], held)
        close({common, *held})
        self._opened -= {common, *held}
        return None


def make_common(path: str) -> None:
    """Make the folder that all users share: sticky, and open to all, from its first moment on.

    Raises
    ------
    InUse
        What has that name is not such a folder, or it cannot be made.
    """
    try:
        if not os.path.lexists(path):
            fresh = "{}.{}".format(path, os.urandom(4).hex())
            os.mkdir(fresh)
            os.chmod(fresh, 0o1777)
            try:
                os.rename(fresh, path)
            except OSError:  # somebody was faster
                os.rmdir(fresh)
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise InUse("cards cannot be leased: {}: {}".format(path, error.strerror)) from error
    if not stat.S_ISDIR(mode) or stat.S_IMODE(mode) != 0o1777:
        raise InUse("cards cannot be leased: {} is no folder for all users (its owner: chmod 1777 on it)".format(path))


def lock(path: str, shared: bool = False) -> Optional[int]:
    """Lock a file of the common folder, made when missing; return its descriptor, None when another holds it.

    A file of somebody else is never opened with O_CREAT (fs.protected_regular refuses that in a sticky folder).
    """
    import fcntl  # not on Windows, where nothing is locked

    while True:
        try:
            descriptor = os.open(path, _flags())
        except FileNotFoundError:
            _make(path)
            continue
        except OSError as error:
            raise InUse("cards cannot be leased: {}: {}".format(path, error.strerror)) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InUse("cards cannot be leased: {} is no plain file (its owner: rm it)".format(path))
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        if _is_current(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_current(descriptor: int, path: str) -> bool:
    try:
        current = is_current(descriptor, path)
    except OSError as error:
        os.close(descriptor)
        raise InUse("cards cannot be leased: {}: {}".format(path, error.strerror)) from error
    if current:
        with contextlib.suppress(OSError):
            os.utime(descriptor)  # cleaners of /var/tmp go by age
    return current


def _flags() -> int:
    """How lease files are opened: no link is followed, no pipe is waited for (these words are not known to Windows)."""
    return os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def _make(path: str) -> None:
    """Make a file that all can write, whole in one step; nothing when somebody was faster."""
    fresh = os.path.join(os.path.dirname(path), ".{}".format(os.urandom(8).hex()))
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o666)
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            os.close(descriptor)
            os.unlink(fresh)
    except OSError as error:
        raise InUse("cards cannot be leased: {}: {}".format(path, error.strerror)) from error


def sign(descriptors: Sequence[int]) -> None:
    """Write this process into lease files that it holds: what descends from it on their cards is a job."""
    me = os.getpid()
    words = {"user": os.getuid(), "pid": me, "start": host.start_time(me)}
    for descriptor in descriptors:
        os.pwrite(descriptor, (json.dumps(words).ljust(_SIGN - 1) + "\n").encode(), 0)


def _signatures(folder: str, uuid: str) -> List[Tuple[int, int]]:
    """User and process of each living holder of a card or of a part of it; who only says so is none.

    The files can be written by all, so that another user's word counts only with the lock that it speaks of: on a part
    only while the card is held as shared.
    """
    try:
        names = [name for name in os.listdir(folder) if name.partition(".")[0] == uuid]
    except OSError:  # nobody has leased a card yet
        return []
    whole = flocks.held(os.path.join(folder, uuid))
    alone = any(not one.shared for one in whole or ())
    found = []
    for name in names:
        path = os.path.join(folder, name)
        one = _signature(path)
        if one and (one[0] == os.getuid() or (_is_held_by(path, one[0]) and not (alone and name != uuid))):
            found.append(one)
    return found


def _is_held_by(path: str, user: int) -> bool:
    """Tell whether a user may hold a file's lock; who took it may have ended, and left it to what descends from it."""
    locks = flocks.held(path)
    return locks is None or any(host.owner(one.pid) in (user, None) for one in locks)


def _signature(path: str) -> Optional[Tuple[int, int]]:
    said = _read(path)
    numbers = [said.get(key) for key in ("user", "pid", "start")] if isinstance(said, dict) else []
    sound = [number for number in numbers if isinstance(number, int)]
    if len(sound) < 3 or not host.is_alive(sound[1], sound[2]) or host.owner(sound[1]) != sound[0]:
        return None
    return sound[0], sound[1]


def _read(path: str) -> Any:
    """What a lease file says; None for whatever else somebody may have put into a folder that all can write."""
    try:
        descriptor = os.open(path, _flags())
    except OSError:
        return None
    try:
        return json.loads(os.read(descriptor, _SIGN))
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def _why_held(folder: str, uuid: str) -> str:
    """Say which other user holds something of a card; nothing while only jobs of ours do."""
    users = {user for user, _ in _signatures(folder, uuid)}
    others = sorted(users - {os.getuid()})
    if others:
        return "is leased by a job of {}".format(host.user_name(others[0]))
    if users:
        return ""
    for one in flocks.held(os.path.join(folder, uuid)) or ():
        user = host.owner(one.pid)
        if user != os.getuid():
            who = (
                "{} (pid {})".format(host.user_name(user), one.pid) if user is not None else "a process that has ended"
            )
            return "has its lease file locked by {}, which is no job of orch".format(who)
    return ""


def neighbours(folder: str, uuid: str, apps: List[gpu.App]) -> List[Neighbour]:
    """Return the processes on a card that no job of anybody's orch has started."""
    jobs: Set[int] = {pid for _, pid in _signatures(folder, uuid)}
    return [_neighbour(app) for app in apps if app.uuid == uuid and jobs.isdisjoint(host.ancestors(app.pid))]


def _neighbour(app: gpu.App) -> Neighbour:
    owner = host.owner(app.pid)
    mine = owner == os.getuid()
    return Neighbour(host.user_name(owner), app.pid, app.program, app.memory_mb, host.began(app.pid), mine)


def intruders(local: HostFolder, gpus: List[str], wishes: Wishes) -> str:
    """Say who else computes on the cards of a job that runs; nothing when nobody does, or nobody can be seen."""
    apps = gpu.apps() or []
    strangers = {uuid: [one for one in neighbours(local.cards, uuid, apps) if not one.ours] for uuid in gpus}
    if not any(strangers.values()):
        return ""
    cards = {card.uuid: card for card in gpu.cards()}
    found = (crowd(cards[uuid], strangers[uuid], wishes.foreign_mb, time.time()) for uuid in gpus if uuid in cards)
    return next(filter(None, found), "")


def close(descriptors: Set[int]) -> None:
    """Give up leases."""
    for descriptor in descriptors:
        os.close(descriptor)
