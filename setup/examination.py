"""Examines hosts side by side over one connection each; a host that does not answer is a row, never the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from jobs.errors import OrchError
from jobs.survivor import AFTER, SURVIVED
from jobs.wire import Wire

from .doctor import examine, silent
from .patient import Patient
from .rows import FOUND, OK, Row
from .site import Host

SIDE_BY_SIDE = 16  # hosts that are asked at the same time
Connect = Callable[[Host], Wire]


@dataclass(frozen=True)
class Examination:
    """What was found on one host.

    Attributes
    ----------
    host:
        Its name in the site file.
    rows:
        All truths, in reading order.
    told:
        The host's own answer (`jobs.truths.truths`), or None when it gave none.
    error:
        Why it gave none.
    asked:
        When, in seconds since 1970 UTC.
    """

    host: str
    rows: list[Row]
    told: dict[str, Any] | None = None
    error: OrchError | None = None
    asked: float = field(default_factory=time.time)

    @property
    def findings(self) -> list[Row]:
        """Rows that name something to repair."""
        return [row for row in self.rows if row.state == FOUND]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        error = self.error.to_json() if self.error else None
        rows = [row.to_json() for row in self.rows]
        return {"host": self.host, "asked": self.asked, "rows": rows, "told": self.told, "error": error}


def examine_all(hosts: Iterable[Host], connect: Connect, home: str = "~/.orch") -> list[Examination]:
    """Examine hosts side by side, in the order given.

    Parameters
    ----------
    connect:
        Opens the wire to a host's agent; an `OrchError` of it becomes that host's row.
    home:
        Orch home where the site file names none.
    """
    listed = list(hosts)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda host: examine_one(host, connect, host.home or home), listed))


def examine_one(host: Host, connect: Connect, home: str) -> Examination:
    """Examine one host.

    Whether a detached process outlives its connection needs a second one: it is tried once a boot.
    """
    started = time.time()
    try:
        with connect(host) as wire:
            reached = time.time()
            told = wire.call("truths", home=home, slurm=next(iter(host.orders), None))
            answered = time.time()
        if told["truths"]["survivor"]["value"]["state"] != SURVIVED:
            told["truths"]["survivor"]["value"] = _survived(host, connect)
    except OrchError as error:
        return Examination(host.name, [silent(error)], error=error)
    text = f"as {told['host']}; connected in {reached - started:.1f} s, measured in {answered - reached:.1f} s"
    patient = Patient.of(host.name, told, answered)  # the clock is the last thing that is read there
    return Examination(host.name, [Row("reachable", OK, text), *examine(patient, host)], told)


def _survived(host: Host, connect: Connect) -> dict[str, Any]:
    time.sleep(AFTER + 0.5)
    with connect(host) as wire:
        return wire.call("survived")
