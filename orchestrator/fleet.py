"""Several hosts at once: contacts opened side by side, answers taken as they come, a dead host stopping nobody."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple

from jobs.errors import NoHome, OrchError, Unreachable

from .config import Settings
from .dispatch import LOCAL, Ahead, Contact
from .inventory import load_site
from .store import Index

SIDE_BY_SIDE = 16  # hosts that are asked at the same time
AGAIN = 20.0  # seconds until a silent host is tried again
_AHEAD = 8  # chunks that may wait to be taken in: memory stays small


class Item(NamedTuple):
    """One piece of what a host streams: a chunk, or its last word (`end`), or why there is none (`error`)."""

    contact: Contact
    chunk: Any = None
    end: Mapping[str, Any] | None = None
    error: OrchError | None = None


class Fleet:
    """Open contacts by the name of their host, and the hosts that did not answer, each with the reason.

    Attributes
    ----------
    contacts:
        Hosts that answered, in the order asked for.
    silent:
        Hosts that did not.
    parts:
        Names of the places that take part (`orchestrator.parts`), hosts or some of their partitions; empty: all.
    """

    def __init__(self, contacts: Mapping[str, Contact], silent: Mapping[str, OrchError] | None = None) -> None:
        self.contacts: dict[str, Contact] = dict(contacts)
        self.silent: dict[str, OrchError] = dict(silent or {})
        self.records: dict[str, tuple[str, str]] = {}  # of which time and hash the index has the sweeps' records
        self.parts: frozenset[str] = frozenset()
        self.known: frozenset[str] | None = None  # all hosts of the site file, where somebody said
        self._revival: Revival | None = None

    @classmethod
    def open(cls, settings: Settings, hosts: Sequence[str], create: bool = True, ahead: Ahead | None = None) -> Fleet:
        """Open contacts with all hosts side by side.

        Parameters
        ----------
        hosts:
            Names of the site file; `local` is this machine.
        create:
            Make an orch home where it is missing; else a host without one is left out.
        ahead:
            Gives what other machines will be asked next, sent along at once: their answers are there by then.

        Raises
        ------
        OrchError
            There is one host only, and it does not answer; or a host is not in the site file.
        """
        contacts: dict[str, Contact] = {}
        silent: dict[str, OrchError] = {}

        def reach(name: str) -> Contact | OrchError:
            try:
                return Contact(settings, create, name, ahead if name != LOCAL else None)
            except OrchError as error:
                return error

        known = frozenset(load_site(settings).hosts)
        if len(hosts) == 1:
            fleet = cls({hosts[0]: Contact(settings, create, hosts[0], ahead if hosts[0] != LOCAL else None)})
            fleet.known = known
            return fleet
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for name, found in zip(hosts, pool.map(reach, hosts), strict=True):
                if isinstance(found, Contact):
                    contacts[name] = found
                elif not isinstance(found, NoHome):
                    silent[name] = found
        fleet = cls(contacts, silent)
        fleet.known = known
        fleet._drop_twins()
        fleet._revival = Revival(settings)
        return fleet

    def revive(self) -> list[str]:
        """Take hosts back in that answer again; asks now and then, in the background. Returns their names."""
        back = self._revival.look(list(self.silent)) if self._revival else {}
        for name, contact in back.items():
            self.contacts[name] = contact
            self.silent.pop(name, None)
        return list(back)

    @property
    def warnings(self) -> list[str]:
        """What needs attention on hosts that answer: a keeper of another version."""
        return [f"{name}: {contact.warning}" for name, contact in self.contacts.items() if contact.warning]

    def _drop_twins(self) -> None:
        """Keep one contact with each machine: this one may also stand in the site file under a name."""
        seen: dict[tuple[str, str, str], str] = {}
        for name in sorted(self.contacts, key=lambda name: name == LOCAL):
            contact = self.contacts[name]
            first = seen.setdefault((contact.home_id, contact.host, contact.boot_id), name)
            if first != name:
                self.contacts.pop(name).wire.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._revival:
            self._revival.close()
        if len(self.contacts) == 1:
            self.first.wire.close()
        elif self.contacts:  # side by side: each waits until the other end has left
            with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
                list(pool.map(lambda contact: contact.wire.close(), self.contacts.values()))

    @property
    def first(self) -> Contact:
        """The first host that answered.

        Raises
        ------
        Unreachable
            None did.
        """
        for contact in self.contacts.values():
            return contact
        raise next(iter(self.silent.values()), Unreachable("no host was asked", "orch hosts lists them"))

    def lose(self, contact: Contact, error: OrchError) -> None:
        """Count a host as silent from now on."""
        self.contacts.pop(contact.name, None)
        self.silent[contact.name] = error
        contact.wire.close()

    def of(self, host: str) -> Contact:
        """Return the contact with a host, by its name in the index.

        Raises
        ------
        Unreachable
            It does not answer, or nobody knows how it is reached.
        """
        for contact in self.contacts.values():
            if host in (contact.name, contact.shown) or not host:
                return contact
        if host in self.silent:
            raise self.silent[host]
        raise Unreachable(f"{host} was not asked: it is not in the site file", "orch hosts lists those that are")

    def standing_in(self, host: str, index: Index) -> Contact | None:
        """Return who can act on what waits on a host: itself, else another host of its orch home, else None."""
        for contact in self.contacts.values():
            if host in (contact.name, contact.shown):
                return contact
        homes = [home for (home, _), shown in index.machines().items() if shown == host]
        return next(filter(None, (self.of_home(home) for home in homes)), None)

    def beside(self, contact: Contact) -> list[str]:
        """Return the own names of the other machines here that have the same orch home."""
        same = (other for other in self.contacts.values() if other.home_id == contact.home_id)
        return sorted(other.host for other in same if other is not contact)

    def of_home(self, home: str) -> Contact | None:
        """Return a contact with any host of an orch home, or None."""
        return next((contact for contact in self.contacts.values() if contact.home_id == home), None)

    def each(self, ask: Callable[[Contact], Any]) -> dict[str, Any]:
        """Ask all hosts the same, side by side; those that fall silent are lost, other errors are raised."""
        contacts = list(self.contacts.values())
        if len(contacts) == 1:
            return {contacts[0].name: ask(contacts[0])}

        def guarded(contact: Contact) -> Any:
            try:
                return ask(contact)
            except Unreachable as error:
                return error

        answers: dict[str, Any] = {}
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for contact, answer in zip(contacts, pool.map(guarded, contacts), strict=True):
                if isinstance(answer, Unreachable):
                    self.lose(contact, answer)
                else:
                    answers[contact.name] = answer
        return answers

    def stream(self, ask: Callable[[Contact], Iterator[Any]]) -> Iterator[Item]:
        """Yield what all hosts stream, in the order in which it comes; each host's last item has its end or error."""
        contacts = list(self.contacts.values())
        if len(contacts) == 1:
            yield from _stream_of(contacts[0], ask)
            return
        arrived: queue.Queue[Item] = queue.Queue(_AHEAD)
        given_up = threading.Event()

        def read(contact: Contact) -> None:
            for item in _stream_of(contact, ask):
                while not given_up.is_set():
                    try:
                        arrived.put(item, timeout=0.2)
                        break
                    except queue.Full:
                        continue

        for contact in contacts:
            threading.Thread(target=read, args=(contact,), daemon=True).start()
        open_ends = len(contacts)
        try:
            while open_ends:
                item = arrived.get()
                open_ends -= item.end is not None or item.error is not None
                yield item
        finally:
            given_up.set()


class Revival:
    """Tries silent hosts again in the background, so that nobody waits for a time-out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tries: dict[str, Future[Contact]] = {}
        self._next: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)

    def look(self, silent: Sequence[str]) -> dict[str, Contact]:
        """Return the hosts that answer by now; begin another try of the others when it is time."""
        back = {}
        for name in silent:
            attempt = self._tries.get(name)
            if attempt and attempt.done():
                del self._tries[name]
                self._next[name] = time.monotonic() + AGAIN
                if attempt.exception() is None:
                    back[name] = attempt.result()
            elif not attempt and time.monotonic() >= self._next.get(name, 0.0):
                self._tries[name] = self._pool.submit(Contact, self._settings, False, name)
        return back

    def close(self) -> None:
        """Let go of what is still being tried."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for attempt in self._tries.values():
            attempt.add_done_callback(_close_if_open)


def _close_if_open(attempt: Future[Contact]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().wire.close()


def _stream_of(contact: Contact, ask: Callable[[Contact], Iterator[Any]]) -> Iterator[Item]:
    try:
        stream = iter(ask(contact))
        while True:
            try:
                chunk = next(stream)
            except StopIteration as stop:
                yield Item(contact, end=dict(stop.value or {}))
                return
            yield Item(contact, chunk)
    except OrchError as error:
        yield Item(contact, error=error)


def usable_here() -> bool:
    """Tell whether this machine can run jobs itself."""
    return os.name == "posix"
