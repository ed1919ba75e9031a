"""Several hosts at work side by side, over one connection each: one that fails ends its own visit and no other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

from jobs.errors import OrchError
from jobs.wire import Wire

from .site import Host

SIDE_BY_SIDE = 16  # hosts at the same time
Connect = Callable[[Host], Wire]
Value = TypeVar("Value")


class Visit:
    """One host while something is done with it.

    Attributes
    ----------
    host:
        The host of the site.
    error:
        What ended the visit, or None.
    seconds:
        Time that the host took: connection and work, not the waiting for others.
    """

    def __init__(self, host: Host) -> None:
        self.host, self.name = host, host.name
        self.error: OrchError | None = None
        self.seconds = 0.0
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """The connection; only while the visit goes on."""
        if self._wire is None:
            raise OrchError(f"{self.name} is not connected", "this is a fault of orch: please report it")
        return self._wire

    def open(self, connect: Connect) -> None:
        """Connect."""
        self._wire = connect(self.host)

    def end(self, error: OrchError | None = None) -> None:
        """Close the connection; with an error nothing more is asked of this host."""
        self.error = self.error or error
        if self._wire:
            self._wire.close()
            self._wire = None


class Visits:
    """Hosts that are visited at the same time, in the order given.

    Parameters
    ----------
    hosts:
        Which.
    connect:
        Opens the wire to a host's agent; an `OrchError` of it ends that host's visit.
    """

    def __init__(self, hosts: Iterable[Host], connect: Connect) -> None:
        self.all = [Visit(host) for host in hosts]
        self.each(lambda visit: visit.open(connect))

    def __enter__(self) -> Visits:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def alive(self) -> list[Visit]:
        """Those that nothing has ended."""
        return [visit for visit in self.all if visit.error is None]

    @property
    def errors(self) -> dict[str, OrchError]:
        """What ended the others."""
        return {visit.name: visit.error for visit in self.all if visit.error}

    def each(self, act: Callable[[Visit], Value], names: Iterable[str] | None = None) -> dict[str, Value]:
        """Do the same with all that are alive (or those named), side by side; return what came of it by name.

        An `OrchError` ends its host's visit. Any other exception, and Ctrl-C, closes all connections: what hosts were
        doing ends with them.
        """
        wanted = None if names is None else set(names)
        visits = [visit for visit in self.alive if wanted is None or visit.name in wanted]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            tasks = {visit.name: pool.submit(_guarded, visit, act) for visit in visits}
            try:
                wait(tasks.values())
            except BaseException:
                self._close()
                raise
        return {name: found for name, task in tasks.items() for found in task.result()}

    def _close(self) -> None:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda visit: visit.end(), self.all))


def _guarded(visit: Visit, act: Callable[[Visit], Value]) -> list[Value]:
    """Return what came of it as a list of one; an empty list when it ended the visit."""
    started = time.monotonic()
    try:
        return [act(visit)]
    except OrchError as error:
        with contextlib.suppress(OSError):
            visit.end(error)
        return []
    finally:
        visit.seconds += time.monotonic() - started
