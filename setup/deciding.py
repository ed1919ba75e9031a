"""What the hosts of a site shall hold and why: one version of torch for all of them, chosen in one go.

looked at    hosts that are prepared now: facts, and the environments in their orch homes
neighbours   the other hosts of the site: they have a say in the version, as known or as asked
decided      a target for each host that was looked at, or the error that says why it can have none
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobs.atomic import digest
from jobs.envs import CHANGED, VERIFIED
from jobs.errors import OrchError, UsageError
from jobs.wire import Wire

from .facts import HostFacts
from .wheels import CPU, Choice, Wish, choose
from .wheeltable import Build, Wheel, table

REQUIREMENTS = ("nibabel>=5.2", "numpy>=1.26", "scipy>=1.12")  # the `trainer` extra of the distribution, without torch
SEEN = 7 * 86400.0  # seconds for which the cards that a job of Slurm saw are taken for those that are there
FOR_SCHEDULER = {"slurm": ("submitit>=1.5",)}  # by it jobs are handed over there
LEAST_FREE = {True: 2 << 30, False: 8 << 30}  # bytes for a build for the processor, and for one with CUDA


class Sources(NamedTuple):
    """Where things come from; None is the usual place.

    Attributes
    ----------
    wheels:
        Address of PyTorch's wheels; one index for each backend lies below it.
    channel:
        conda channel, the only one that is used.
    wheelhouse:
        Folder of wheels on the host, for when the index fails.
    miniforge:
        Address of the installer, `{arch}` in it stands for the architecture.
    """

    wheels: str | None = None
    channel: str | None = None
    wheelhouse: str | None = None
    miniforge: str | None = None


class Place(NamedTuple):
    """The orch home on the host, where things come from, the site's word for a home that hosts share, its scheduler.

    `orders` is what jobs there ask Slurm for (`setup.site.Host.orders`): a login node's cards are those of its nodes.
    """

    home: str
    sources: Sources = Sources()
    shared: str | None = None
    orders: tuple[Mapping[str, Any], ...] = ()
    scheduler: str = "none"

    def order(self, arch: str) -> dict[str, Any] | None:
        """Return what Slurm is asked for where the login node has this architecture: its own partition, else any."""
        fitting = [order for order in self.orders if order["arch"] in (None, arch)]
        return dict((fitting or list(self.orders))[0]) if self.orders else None

    @property
    def requirements(self) -> list[str]:
        """What its environments hold besides torch."""
        return [*REQUIREMENTS, *FOR_SCHEDULER.get(self.scheduler, ())]


class Look(NamedTuple):
    """What a host told that is to be prepared.

    Attributes
    ----------
    facts, machine:
        What it is, read and as it came (`jobs.probe.probe`).
    place:
        Where its environments lie and come from.
    environments:
        Those in its orch home by architecture.
    """

    facts: HostFacts
    machine: Mapping[str, Any]
    place: Place
    environments: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def own(self) -> Sequence[Mapping[str, Any]]:
        """The environments that it can run."""
        return self.environments[self.facts.architecture]


class Neighbour(NamedTuple):
    """Another host of the site; it has a say in the choice of the version."""

    facts: HostFacts
    shared: str | None = None


class Neighbours(NamedTuple):
    """The other hosts of the site, why some of them have no say, and what is to be said of the others."""

    known: Mapping[str, Neighbour] = {}
    silent: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


Ask = Callable[[bool], Neighbours]  # True: those that are not known are asked now
Survey = Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]]  # what `survey` told, of those that answered


@dataclass(frozen=True)
class Target:
    """What one host shall have.

    Attributes
    ----------
    host:
        Its name in the site.
    facts, choice, lock:
        What it is, the torch that was chosen, and what the environment shall hold.
    name:
        Folder of the environment.
    survey:
        What `survey` told, or None when nobody had to look.
    listing:
        The environments of its architecture that were there.
    notes:
        What people should know of this host: indexes that did not answer, a disk that may be too small.
    about_all:
        What people should know of the choice, which is the same for all hosts.
    """

    host: str
    facts: HostFacts
    choice: Choice
    lock: Mapping[str, Any]
    name: str
    place: Place
    survey: Mapping[str, Any] | None = None
    listing: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = field(default=())
    about_all: tuple[str, ...] = field(default=())

    @property
    def build(self) -> Build:
        """The torch for this host."""
        return self.choice.builds[self.host]

    @property
    def device(self) -> str:
        """Where it has to prove itself."""
        return "cpu" if self.build.backend == CPU else "cuda"


def look(
    wire: Wire,
    host: str,
    place: Place,
    arch: str | None = None,
    also: Iterable[str] = (),
    before: Mapping[str, Any] | None = None,
) -> Look:
    """Look at a host; nothing is changed.

    Parameters
    ----------
    arch:
        The architecture that the caller takes it for.
    also:
        Other architectures whose environments in its home are listed: those of hosts that share it.
    before:
        What it told last (`Look.machine`): Slurm is not asked for a card at each look.

    Raises
    ------
    UsageError
        `arch` is not what the host can run.
    OrchError
        It is a login node without a card, and Slurm gives none to look at.
    """
    machine = wire.call("probe")
    facts = HostFacts.from_json(machine)
    if place.orders and not facts.cards:
        machine = _with_cards(wire, machine, place.order(facts.architecture), (before or {}).get("cards_of_jobs"))
        facts = HostFacts.from_json(machine)
    if arch and arch != facts.architecture:
        text = f"{host} is {facts.architecture} and cannot run an environment for {arch}"
        raise UsageError(text, "leave --arch out: the host's own is taken")
    archs = sorted({facts.architecture, *also})
    listed = {one: wire.call("environments", arch=one, home=place.home)["environments"] for one in archs}
    return Look(facts, machine, place, listed)


def _with_cards(wire: Wire, machine: Mapping[str, Any], order: Any, seen: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a login node's facts with the cards that its jobs find, as kept from a look before or seen now."""
    if seen is None or seen["asked"] != order or not 0 <= time.time() - seen["at"] < SEEN:
        seen = {**wire.call("cards_of_jobs", asked=order), "asked": order, "at": time.time()}
    reasons = {**machine["reasons"], "gpus": seen["reason"]}
    return {**machine, "gpus": seen["gpus"], "reasons": reasons, "cards_of_jobs": seen}


def decide(
    looks: Mapping[str, Look], wish: Wish, neighbours: Ask, survey: Survey
) -> tuple[dict[str, Target], dict[str, OrchError]]:
    """Choose for all hosts in one go.

    Indexes and neighbours that are not known are asked only when some host has no verified environment that fits, so
    that hosts which are ready are told so at once.

    Returns
    -------
    tuple
        What each host shall have, and why others can have nothing.
    """
    council = _Council(looks, wish, neighbours(False))
    choice = council.choice(None)
    lacking = [name for name in looks if not council.is_served(name, choice)]
    surveys: Mapping[str, Mapping[str, Any]] = {}
    if lacking:
        council = _Council(looks, wish, neighbours(True))
        surveys = survey(lacking)
        choice = council.choice(_offers(surveys.values()))
    targets, errors = {}, {}
    for name in looks:
        if choice and name in choice.builds:
            targets[name] = council.target(name, choice, surveys.get(name))
        elif name in surveys:  # whoever fell silent in between has an error already
            errors[name] = council.refusal(name, _offers([surveys[name]]))
    return targets, errors


class _Council:
    """All hosts that have a say, and what is installed on them."""

    def __init__(self, looks: Mapping[str, Look], wish: Wish, neighbours: Neighbours) -> None:
        self.looks, self.wish, self.neighbours = looks, wish, neighbours
        others = {name: other for name, other in neighbours.known.items() if name not in looks}
        self.hosts = {name: one.facts for name, one in looks.items()} | {
            name: one.facts for name, one in others.items()
        }
        self.installed = self._installed({**{name: one.own for name, one in looks.items()}, **self._seen(others)})

    def _seen(self, others: Mapping[str, Neighbour]) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Environments of hosts that were not looked at, as far as a shared home shows them."""
        found = {}
        for name, other in others.items():
            same = [one for one in self.looks.values() if other.shared and one.place.shared == other.shared]
            found[name] = same[0].environments.get(other.facts.architecture, ()) if same else ()
        return found

    def _installed(self, listings: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Build]:
        """The newest verified build of each host that is of the wished kind."""
        found: dict[str, Build] = {}
        for name, envs in listings.items():
            for env in envs:
                lock = (env["record"] or {}).get("lock", {})
                torch, _, backend = str(lock.get("torch", "")).partition("+")
                fits = lock.get("python") == self.wish.python and self._suffice(name, lock.get("requirements"))
                if env["state"] == VERIFIED and fits and (backend == CPU) == self.wish.cpu:
                    found.setdefault(name, Build(torch, backend))
        return found

    def _suffice(self, name: str, requirements: object) -> bool:
        """Tell whether an environment holds what it shall; of hosts that are not prepared now any of ours counts."""
        if name in self.looks:
            return requirements == self.looks[name].place.requirements
        return any(requirements == Place("", scheduler=each).requirements for each in ("none", *FOR_SCHEDULER))

    def choice(self, offers: Mapping[str, list[Wheel]] | None) -> Choice | None:
        """The builds for all; None when none fits any host."""
        try:
            return choose(self.hosts, table(), self.wish, offers, self.installed, [])
        except OrchError:
            return None

    def is_served(self, name: str, choice: Choice | None) -> bool:
        """Tell whether a host has the build that was chosen for it."""
        return choice is not None and name in choice.builds and choice.builds[name] == self.installed.get(name)

    def refusal(self, name: str, offers: Mapping[str, list[Wheel]]) -> OrchError:
        """Why one host can have nothing."""
        try:
            choose({name: self.hosts[name]}, table(), self.wish, offers, {}, [name])
        except OrchError as error:
            return error
        return OrchError(f"{name}: no build that its neighbours' indexes offer fits", "orch setup --explain")

    def target(self, name: str, choice: Choice, survey: Mapping[str, Any] | None) -> Target:
        """What one host shall have."""
        one = self.looks[name]
        lock = lock_of(one.facts, self.wish, choice.builds[name], one.place.requirements)
        folder = _name(lock, one.own)
        notes = (*(survey["problems"] if survey else ()), *_tight(one.facts, self.wish, folder, one.own))
        left_out = [f"{host} has no say: {why}" for host, why in {**choice.left_out, **self.neighbours.silent}.items()]
        about_all = (*choice.warnings, *self.neighbours.notes, *left_out)
        return Target(name, one.facts, choice, lock, folder, one.place, survey, one.own, notes, about_all)


def lock_of(facts: HostFacts, wish: Wish, build: Build, requirements: Sequence[str]) -> dict[str, Any]:
    """Return what an environment shall hold: all that its name hangs on."""
    about = {"arch": facts.architecture, "python": wish.python, "torch": str(build)}
    return {**about, "requirements": list(requirements)}


def indexes(sources: Sources, cpu: bool) -> dict[str, str]:
    """Return the address of each backend's index."""
    base = (sources.wheels or table().base).rstrip("/")
    backends = {row.backend for row in table().rows if (row.backend == CPU) == cpu}
    return {backend: f"{base}/{backend}" for backend in sorted(backends)}


def _offers(surveys: Iterable[Mapping[str, Any]]) -> dict[str, list[Wheel]]:
    """All that the indexes and wheelhouses of these hosts hold: one index is seen alike by all."""
    found: dict[str, list[Wheel]] = {}
    for survey in surveys:
        for backend, wheels in survey["offers"].items():
            read = [Wheel(*(wheel[key] for key in Wheel._fields)) for wheel in wheels]
            found[backend] = list(dict.fromkeys([*found.get(backend, ()), *read]))
    return found


def _name(lock: Mapping[str, Any], envs: Iterable[Mapping[str, Any]]) -> str:
    """The lock's hash; with a number when somebody has changed the environment of that name: it is left as it is."""
    changed = {env["lock"] for env in envs if env["state"] == CHANGED}
    first = digest(lock, 12)
    names = (first, *(f"{first}-{number}" for number in range(2, len(changed) + 3)))
    return next(name for name in names if name not in changed)


def _tight(facts: HostFacts, wish: Wish, name: str, envs: Iterable[Mapping[str, Any]]) -> list[str]:
    free, needed = facts.home.free_bytes, LEAST_FREE[wish.cpu]
    if free is None or free >= needed or any(env["lock"] == name and env["state"] == VERIFIED for env in envs):
        return []
    return [f"{facts.home.path} has {free / 1e9:.1f} GB free, an environment needs about {needed / 1e9:.0f}"]
