"""Jobs to their hosts: who gets which, and the exchange in which each host gets all of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.errors import DiskError, OrchError, UsageError
from jobs.spec import JobSpec, Resources
from jobs.state import QUEUED, RUNNING

from . import history, placement, price
from .dispatch import LOCAL, Contact
from .fleet import Fleet
from .places import Place
from .plan import Capacity
from .planning import Prepared
from .store import Index
from .sweep import TRAINER
from .words import counted


@dataclass(frozen=True)
class Spread:
    """The due jobs of a plan, each made for its host.

    Attributes
    ----------
    specs:
        In run order.
    placed:
        Host by job id.
    lines:
        What people are told of it.
    outcome, offers:
        All that was worked out, and what each host offers.
    """

    specs: tuple[JobSpec, ...]
    placed: Mapping[str, str]
    lines: tuple[str, ...] = ()
    outcome: placement.Placed = placement.NOTHING
    offers: Mapping[str, placement.Offer] = field(default_factory=dict)


def cost(places: Mapping[str, Place], prepared: Prepared, spread: Spread) -> tuple[price.Price, dict[str, Any]]:
    """Return what the due jobs will cost, and what is free in each orch home."""
    rooms = {name: place.room() for name, place in places.items()}
    made = prepared.plan
    checkpoints = price.checkpoint_bytes(made.sweep.train, len(made.data.classes)) if made.data else None
    gpus = max((spec.resources.gpus for spec in spread.specs), default=0)
    homes, lanes = {name: home for name, (home, _) in rooms.items()}, {}
    for name, offer in spread.offers.items():
        lanes[name] = offer.lanes
    found = price.price(spread.outcome, homes, lanes, gpus, checkpoints)
    return found, {home: dict(free) for home, free in rooms.values()}


def refuse_lacking(name: str, lacks: Sequence[str]) -> None:
    """Refuse a sweep that will not fit.

    Raises
    ------
    DiskError
        With what would help.
    """
    if lacks:
        hint = f"free some space, choose a part (orch plan {name} --folds 0), or name another home: in the site file"
        raise DiskError("; ".join(lacks), hint)


def spread(index: Index, places: Mapping[str, Place], prepared: Prepared, due: Sequence[JobSpec]) -> Spread:
    """Place the due jobs.

    Parameters
    ----------
    places:
        Those for which the plan was made.
    due:
        Specifications of the first host's plan.

    Raises
    ------
    UsageError
        No host can ever run one of the jobs.
    """
    here = list(places) == [LOCAL]
    offers = _offers(index, places, prepared)
    outcome = placement.place(placement.blocks_of(due), offers)
    lines = tuple(placement.describe(outcome)) if due and not here else ()
    specs = tuple(due) if here else _made_for(prepared, due, outcome)
    if prepared.plan.sweep.kind == TRAINER:  # it can go on from a checkpoint when the guess was wrong
        specs = _expecting(specs, outcome, {offer.host: offer.seconds for offer in offers})
    hosts = {job: places[name].host for job, name in outcome.hosts.items()}
    return Spread(specs, hosts, lines, outcome, {offer.host: offer for offer in offers})


def _offers(index: Index, places: Mapping[str, Place], prepared: Prepared) -> list[placement.Offer]:
    sweep = prepared.plan.sweep
    pace = history.seconds_per_job(index, sweep.name, sweep.kind, sweep.train.get("epochs"))
    ahead = Counter(row.host for row in index.jobs() if row.state in (QUEUED, RUNNING))
    offers = []
    for name, place in places.items():
        made, room = prepared.plans[name], place.capacity()
        lanes = placement.lanes(made.specs[0].resources if made.specs else Resources(), room)
        if lanes:
            offers.append(placement.Offer(name, place.kind, lanes, pace.get(place.shown), ahead[place.shown]))
    if not offers:
        raise _too_much(places, prepared)
    return offers


def _too_much(places: Mapping[str, Place], prepared: Prepared) -> UsageError:
    """More cards than any host has: the only need that a host cannot stretch."""
    wanted = max(spec.resources.gpus for made in prepared.plans.values() for spec in made.specs)
    kind = next((spec.resources.gpu_type for made in prepared.plans.values() for spec in made.specs), None)
    has = ", ".join(f"{place.shown} has {_cards(place.capacity(), kind)}" for place in places.values())
    return UsageError(
        f"a job needs {counted(wanted, 'GPU')}{f' of the kind {kind}' if kind else ''}; {has}",
        "ask for fewer (resources: {gpus: N} in the sweep), or choose another host: orch hosts",
    )


def _cards(room: Capacity, kind: str | None) -> str:
    told = f" ({', '.join(room.kinds) or 'not of one kind'})" if kind and room.kinds is not None else ""
    return f"{room.gpus}{told}"


def _made_for(prepared: Prepared, due: Sequence[JobSpec], outcome: placement.Placed) -> tuple[JobSpec, ...]:
    by_host = {host: {spec.id: spec for spec in made.specs} for host, made in prepared.plans.items()}
    made = ((by_host[outcome.hosts[spec.id]][spec.id], outcome.reasons[spec.id]) for spec in due)
    return tuple(replace(spec, placement={**spec.placement, "reason": reason}) for spec, reason in made)


def _expecting(
    specs: Sequence[JobSpec], outcome: placement.Placed, seconds: Mapping[str, float | None]
) -> tuple[JobSpec, ...]:
    """Say in each job how long it takes on its host, where the lab's history knows: what Slurm is asked for follows."""
    told = ((spec, seconds[outcome.hosts[spec.id]]) for spec in specs)
    return tuple(
        replace(spec, placement={**spec.placement, "expected_s": round(known, 1)}) if known else spec
        for spec, known in told
    )


def submit(
    fleet: Fleet,
    record: Mapping[str, Any] | None,
    spread: Spread,
    again: set[str],
    parallel: int | None,
    floors: Mapping[str, int],
    meanwhile: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """Give each host all of its jobs in one exchange, side by side; return what each did with them.

    `meanwhile` runs when the jobs are sent and before an answer is there: what it asks costs no round trip.

    The record (None: it stays as it is) goes to one host of each orch home. A host that falls silent meanwhile keeps
    what it got: nothing is sent twice by running the same command again.

    Raises
    ------
    Unreachable
        No host answers any more.
    """
    homes = {contact.home_id: contact.name for contact in reversed(fleet.contacts.values())}
    specs: dict[str, list[JobSpec]] = {name: [] for name in fleet.contacts}
    for spec in spread.specs:
        specs[spread.placed[spec.id]].append(spec)

    def give(contact: Contact) -> int | None:
        mine = specs[contact.name]
        keeps_record = record is not None and contact.name == homes[contact.home_id]
        if not mine and not keeps_record:
            return None
        ids = {spec.id for spec in mine}
        jobs = (spec.to_json() for spec in mine)
        wanted, known = sorted(again & ids), {number: floors[number] for number in ids & floors.keys()}
        return contact.post_submit(record if keeps_record else None, jobs, wanted, parallel if mine else None, known)

    def answer(contact: Contact) -> list[dict[str, Any]]:
        number = posted[contact.name]
        return [] if number is None else contact.submitted(number)

    posted: dict[str, int | None] = fleet.each(give)
    meanwhile()
    answers = fleet.each(answer)
    if not answers and fleet.silent:
        raise next(iter(fleet.silent.values()))
    for name, some in answers.items():
        for each in some:
            each["host"] = name
    return [each for some in answers.values() for each in some]


def claim(fleet: Fleet, record: Mapping[str, Any]) -> None:
    """Write a new sweep's record in each orch home, before jobs of that name go to several hosts.

    Raises
    ------
    NameTaken
        Somebody else began a sweep of that name at the same moment; nothing of ours is queued.
    """
    homes = {contact.home_id: contact.name for contact in reversed(fleet.contacts.values())}

    def give(contact: Contact) -> object:
        first = contact.name == homes[contact.home_id]
        return contact.submitted(contact.post_submit(record, [])) if first else None

    fleet.each(give)


def refuse_unready(reasons: Mapping[str, OrchError]) -> OrchError:
    """Return the error that says why hosts cannot take part: one host's own, or all of them in one text."""
    if len(reasons) == 1:
        return next(iter(reasons.values()))
    listed = "\n".join(f"{name}: {error.message}" for name, error in reasons.items())
    hints = "; ".join(dict.fromkeys(error.hint for error in reasons.values() if error.hint))
    return OrchError(f"no host is ready:\n{listed}", hints)
