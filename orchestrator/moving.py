"""Jobs move to an idle host: from a slow or silent one if it is proved that they did not start, and from an unfit one.

A host is unfit for a sweep once a job of it failed there by the host's own fault: that job and those that wait move.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from jobs.atomic import canonical
from jobs.errors import OrchError
from jobs.holds import HELD
from jobs.spec import JobSpec
from jobs.state import FAILED, QUEUED, RUNNING, UNREACHABLE

from .fleet import Fleet
from .placement import Offer
from .store import Index, JobRow
from .words import counted

GAIN = 0.8  # a job moves when it would end within this share of the time that it would take where it waits


class Move(NamedTuple):
    """One waiting job, from where to where, and why; jobs of one `block` move together or not at all."""

    job: JobRow
    source: str
    target: str
    why: str
    block: str = ""


@dataclass
class _Load:
    """A host's jobs: how many run and, newest last, which wait; and the blocks of which some have begun anywhere."""

    running: int
    waiting: list[JobRow]
    begun: set[str]


def moves(
    rows: Sequence[JobRow], offers: Mapping[str, Offer], stranded: Mapping[str, str], failed: Collection[str] = ()
) -> list[Move]:
    """Return which jobs should move. Pure.

    Parameters
    ----------
    rows:
        All jobs that may move.
    offers:
        What each host that answers, and is fit, offers to these jobs.
    stranded:
        Hosts that do not answer or are unfit, with the reason.
    failed:
        Ids of the jobs that failed by an unfit host's fault.
    """
    held = {row.host for row in rows if row.state == QUEUED and row.reason.startswith(HELD)}
    offers = {host: offer for host, offer in offers.items() if host not in held}  # what comes there would be held, too
    waits = [_waits(row, stranded, failed) for row in rows]
    begun = {block_of(row) for row, waiting in zip(rows, waits, strict=True) if not waiting}
    loads = {host: _Load(0, [], begun) for host in [*offers, *stranded]}
    for row, waiting in zip(rows, waits, strict=True):
        if row.host in loads:
            loads[row.host].running += row.state == RUNNING
            if waiting:
                loads[row.host].waiting.append(row)
    return list(_balanced(loads, offers, stranded))


def _waits(row: JobRow, stranded: Mapping[str, str], failed: Collection[str]) -> bool:
    """Whether a job may move: what is held would be held elsewhere too, unless it is its host's fault."""
    if row.state == QUEUED:
        return row.host in stranded or not row.reason.startswith(HELD)
    return (row.state == UNREACHABLE and row.known_state == QUEUED) or (row.state == FAILED and row.id in failed)


def _balanced(loads: Mapping[str, _Load], offers: Mapping[str, Offer], stranded: Mapping[str, str]) -> Iterator[Move]:
    free = {host: offers[host].lanes - loads[host].running - len(loads[host].waiting) for host in offers}
    while True:
        target = max(free, key=lambda host: (free[host], -(offers[host].seconds or 0.0)), default="")
        sources = [host for host in loads if host != target and loads[host].waiting]
        if not target or free[target] <= 0 or not sources:
            return
        source = max(sources, key=lambda host: len(loads[host].waiting))
        why = stranded.get(source) or _faster(loads[source], offers[source], offers[target])
        taken = [(loads[source].waiting[-1], source)]
        together = source not in stranded and offers[source].kind != offers[target].kind
        if together:
            taken = _whole_block(loads, source)
        if not why or not taken:
            return
        free[target] -= len(taken)
        for row, holder in taken:
            loads[holder].waiting.remove(row)
            yield Move(row, holder, target, why, block_of(row) if together else "")


def _whole_block(loads: Mapping[str, _Load], source: str) -> list[tuple[JobRow, str]]:
    """Jobs and hosts of a block of which none has begun: a comparison moves to another kind of host as a whole."""
    whole = [block_of(row) for row in loads[source].waiting if block_of(row) not in loads[source].begun]
    if not whole:
        return []
    return [(row, host) for host, load in loads.items() for row in load.waiting if block_of(row) == whole[-1]]


def block_of(row: JobRow) -> str:
    """Return what a comparison needs together with a job: its fold and seed, else the job alone."""
    if "fold" not in row.names:
        return row.id
    return canonical([row.names.get("fold"), row.names.get("seed")])


def _faster(load: _Load, here: Offer, there: Offer) -> str:
    """Why the last job in a queue would end sooner on an idle host, or an empty text."""
    if not here.seconds or not there.seconds:
        return f"{there.host} is idle"
    rounds = 1 + (load.running + len(load.waiting) - 1) // max(1, here.lanes)
    return f"{there.host} is idle" if there.seconds < GAIN * rounds * here.seconds else ""


class Mover:
    """Moves the jobs of one sweep while it is watched.

    Parameters
    ----------
    specs:
        By host and job id, the jobs of the sweep as they would run there.
    offers:
        What each host offers.
    left:
        Ids of jobs that stay as they are: failed ones that nobody asked to run again.
    """

    def __init__(
        self,
        fleet: Fleet,
        index: Index,
        sweep: str,
        specs: Mapping[str, Mapping[str, JobSpec]],
        offers: Mapping[str, Offer],
        left: Collection[str] = (),
    ) -> None:
        self._fleet, self._index, self._sweep, self._specs, self._offers = fleet, index, sweep, specs, offers
        self._mine = {job for made in specs.values() for job in made} - set(left)
        self._unfit: dict[str, str] = {}  # hosts at fault since we watch, and the reason

    def consider(self) -> list[str]:
        """Move what should move; return a line for each host that gave jobs away."""
        names = {contact.shown: contact.name for contact in self._fleet.contacts.values()}
        mine = (row for row in self._index.jobs(self._sweep) if row.id in self._mine)
        rows = [row._replace(host=names.get(row.host, row.host)) for row in mine]
        failed = [row.id for row in rows if row.state == FAILED]
        faults = self._index.faults(self._sweep) if failed else {}
        for job, fault in faults.items():
            if job in self._mine:
                self._unfit.setdefault(
                    names.get(fault.host, fault.host), f"{fault.kind.replace('_', ' ')} there: {fault.evidence}"
                )
        stranded = {**dict.fromkeys(self._fleet.silent, "it does not answer"), **self._unfit}
        offers = {
            host: offer
            for host, offer in self._offers.items()
            if host in self._fleet.contacts and host not in self._unfit
        }
        groups: dict[tuple[str, str, str], list[Move]] = {}
        for move in moves(rows, offers, stranded, faults):
            groups.setdefault((move.block or move.source, move.target, move.block), []).append(move)
        return [line for some in groups.values() if (line := self._move(some))]

    def _move(self, some: Sequence[Move]) -> str:
        """Take jobs back, which proves that they did not start, then queue them anew; empty when none could be.

        Of a block that moves to another kind of host all are taken back, or those that were stay where they waited.
        """
        target, why = some[0].target, some[0].why
        sources = sorted({move.source for move in some})
        moved: dict[str, tuple[str, int]] = {}  # job id -> host where it waited, attempt that was taken back
        try:
            for source in sources:
                asked = [move.job for move in some if move.source == source]
                moved.update(self._taken(source, asked, f"moved from {source} to {target}: {why}"))
            stays = bool(some[0].block) and len(moved) < len(some)
            for source in sources:
                mine = {job: attempt for job, (place, attempt) in moved.items() if place == source}
                self._queue(mine, source if stays else target, source, why)
        except OrchError as error:  # what was taken back is a hole: the same sweep again fills it
            return f"could not move jobs to {target}: {error.message}"
        if stays or not moved:
            return ""
        return f"{counted(len(moved), 'job')} moved from {', '.join(sources)} to {target}: {why}"

    def _taken(self, source: str, asked: Sequence[JobRow], why: str) -> dict[str, tuple[str, int]]:
        """Take back what waits; what has failed is free already."""
        free = {row.id: (source, row.attempts) for row in asked if row.state == FAILED}
        waiting = [(row.sweep, row.id) for row in asked if row.state != FAILED]
        holder = self._fleet.standing_in(source, self._index) if waiting else None
        taken = holder.withdraw(waiting, why) if holder else []
        return {
            **free,
            **{item["id"]: (source, int(item["attempt"])) for item in taken if item["action"] == "withdrawn"},
        }

    def _queue(self, attempts: Mapping[str, int], host: str, source: str, why: str) -> None:
        if not attempts:
            return
        reason = f"moved from {source}: {why}" if host != source else "others of its comparison have begun here"
        there = [self._specs[host][job] for job in attempts]
        specs = [replace(spec, placement={**spec.placement, "host": host, "reason": reason}) for spec in there]
        contact = self._fleet.contacts[host]
        jobs = (spec.to_json() for spec in specs)
        contact.submitted(contact.post_submit(None, jobs, floors=attempts, by_person=False))
