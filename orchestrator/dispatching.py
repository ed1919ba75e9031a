"""Jobs to their hosts: who gets which, and the exchange in which each host gets all of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.errors import OrchError, UsageError
from jobs.spec import JobSpec
from jobs.state import QUEUED, RUNNING

from . import history, placement
from .dispatch import LOCAL, Contact
from .fleet import Fleet
from .places import Place
from .planning import Prepared
from .store import Index


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
    outcome:
        All that was worked out, or None where there is one host only.
    """

    specs: tuple[JobSpec, ...]
    placed: Mapping[str, str]
    lines: tuple[str, ...] = ()
    outcome: placement.Placed | None = None


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
    (first, *others) = places
    if not others and first == LOCAL:
        return Spread(tuple(due), {spec.id: first for spec in due})
    offers = _offers(index, places, prepared)
    outcome = placement.place(placement.blocks_of(due), offers)
    lines = tuple(placement.describe(outcome)) if due else ()
    return Spread(_made_for(prepared, due, outcome), outcome.hosts, lines, outcome)


def _offers(index: Index, places: Mapping[str, Place], prepared: Prepared) -> list[placement.Offer]:
    sweep = prepared.plan.sweep
    pace = history.seconds_per_job(index, sweep.name, sweep.kind, sweep.train.get("epochs"))
    ahead = Counter(row.host for row in index.jobs() if row.state in (QUEUED, RUNNING))
    offers = []
    for name, place in places.items():
        made, room = prepared.plans[name], place.capacity()
        wanted = made.specs[0].resources if made.specs else None
        needs = {"cpus": wanted.cpus, "gpus": wanted.gpus} if wanted else {}
        lanes = placement.lanes(needs, room.cpus, room.gpus, room.parallel)
        if lanes:
            offers.append(placement.Offer(name, place.kind, lanes, pace.get(name), ahead[name]))
    if not offers:
        raise UsageError(
            f"none of {', '.join(places)} can run these jobs: they ask for more than any of them has",
            "orch doctor --all shows what they have; resources: in the sweep says what is asked for",
        )
    return offers


def _made_for(prepared: Prepared, due: Sequence[JobSpec], outcome: placement.Placed) -> tuple[JobSpec, ...]:
    by_host = {host: {spec.id: spec for spec in made.specs} for host, made in prepared.plans.items()}
    return tuple(
        replace(
            by_host[outcome.hosts[spec.id]][spec.id],
            placement={"host": outcome.hosts[spec.id], "reason": outcome.reasons[spec.id]},
        )
        for spec in due
    )


def submit(
    fleet: Fleet,
    record: Mapping[str, Any],
    spread: Spread,
    again: set[str],
    parallel: int | None,
    floors: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Give each host all of its jobs in one exchange, side by side; return what each did with them.

    The record goes to one host of each orch home. A host that falls silent meanwhile keeps what it got: nothing is sent
    twice by running the same command again.

    Raises
    ------
    Unreachable
        No host answers any more.
    """
    homes = {contact.home_id: contact.name for contact in reversed(fleet.contacts.values())}
    jobs: dict[str, list[dict[str, Any]]] = {name: [] for name in fleet.contacts}
    for spec in spread.specs:
        jobs[spread.placed[spec.id]].append(spec.to_json())

    def give(contact: Contact) -> list[dict[str, Any]]:
        mine = jobs[contact.name]
        keeps_record = contact.name == homes[contact.home_id]
        if not mine and not keeps_record:
            return []
        ids = {job["id"] for job in mine}
        wanted, known = sorted(again & ids), {number: floors[number] for number in ids & floors.keys()}
        return contact.submit(record if keeps_record else None, mine, wanted, parallel if mine else None, known)

    answers = fleet.each(give)
    if not answers and fleet.silent:
        raise next(iter(fleet.silent.values()))
    return [{**answer, "host": name} for name, some in answers.items() for answer in some]


def refuse_unready(reasons: Mapping[str, OrchError]) -> OrchError:
    """Return the error that says why hosts cannot take part: one host's own, or all of them in one text."""
    if len(reasons) == 1:
        return next(iter(reasons.values()))
    listed = "\n".join(f"{name}: {error.message}" for name, error in reasons.items())
    hints = "; ".join(dict.fromkeys(error.hint for error in reasons.values() if error.hint))
    return OrchError(f"no host is ready:\n{listed}", hints)
