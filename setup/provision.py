"""The environment of one host: what it shall hold and why, and the steps towards it (`jobs.provision` does them)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobs.atomic import digest
from jobs.envs import CHANGED, VERIFIED
from jobs.errors import OrchError, UsageError
from jobs.wire import Wire

from .facts import HostFacts
from .steps import Removal, State, Step, Tell
from .wheels import CPU, Choice, Wish, choose
from .wheeltable import Build, Wheel, table

REQUIREMENTS = ("nibabel>=5.2", "numpy>=1.26", "scipy>=1.12")  # the `trainer` extra of the distribution, without torch
CHANNEL = "conda-forge"
STAGES = ("python", "torch", "rest")
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
    """The orch home on the host, and where things come from."""

    home: str
    sources: Sources = Sources()


class Neighbour(NamedTuple):
    """Another host of the site, as last known; it has a say in the choice of the version."""

    facts: HostFacts
    shares_home: bool = True


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
        What people should know besides the choice: indexes that did not answer, a disk that may be too small.
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

    @property
    def build(self) -> Build:
        """The torch for this host."""
        return self.choice.builds[self.host]

    @property
    def device(self) -> str:
        """Where it has to prove itself."""
        return "cpu" if self.build.backend == CPU else "cuda"


def target(
    wire: Wire,
    host: str,
    wish: Wish,
    place: Place,
    neighbours: Mapping[str, Neighbour] | None = None,
    arch: str | None = None,
) -> Target:
    """Look at a host and decide what it shall have; nothing is changed.

    The index is asked only when no verified environment fits, so that a host that is ready answers at once.

    Raises
    ------
    UsageError
        `arch` is not what the host can run.
    OrchError
        No build of torch fits.
    """
    facts = HostFacts.from_json(wire.call("probe"))
    if arch and arch != facts.architecture:
        text = f"{host} is {facts.architecture} and cannot run an environment for {arch}"
        raise UsageError(text, "leave --arch out: the host's own is taken")
    others = {name: other for name, other in (neighbours or {}).items() if name != host}
    hosts = {host: facts, **{name: other.facts for name, other in others.items()}}
    listings = _listings(wire, place.home, facts, others)
    installed = _installed(hosts, listings, others, wish)
    survey = None
    choice = _try_choice(hosts, wish, None, installed, host) if host in installed else None
    if choice is None or choice.builds[host] != installed.get(host):
        told = {"indexes": _indexes(place.sources, wish), "wheelhouse": place.sources.wheelhouse}
        survey = wire.call("survey", **told, home=place.home)
        choice = choose(hosts, table(), wish, _offers(survey), installed, [host])
    lock = lock_of(facts, wish, choice.builds[host])
    name = _name(lock, listings[facts.architecture])
    notes = [*(survey["problems"] if survey else ()), *_tight(facts, wish, name, listings[facts.architecture])]
    here = listings[facts.architecture]
    return Target(host, facts, choice, lock, name, place, survey, here, tuple(notes))


def lock_of(facts: HostFacts, wish: Wish, build: Build) -> dict[str, Any]:
    """Return what an environment shall hold: all that its name hangs on."""
    about = {"arch": facts.architecture, "python": wish.python, "torch": str(build)}
    return {**about, "requirements": list(REQUIREMENTS)}


def _listings(
    wire: Wire, home: str, facts: HostFacts, others: Mapping[str, Neighbour]
) -> dict[str, list[dict[str, Any]]]:
    """Environments in this orch home by architecture; a shared home holds those of the others too."""
    archs = {facts.architecture, *(other.facts.architecture for other in others.values())}
    return {arch: wire.call("environments", arch=arch, home=home)["environments"] for arch in sorted(archs)}


def _installed(
    hosts: Mapping[str, HostFacts],
    listings: Mapping[str, list[dict[str, Any]]],
    others: Mapping[str, Neighbour],
    wish: Wish,
) -> dict[str, Build]:
    """The newest verified build of each host that is of the wished kind."""
    found: dict[str, Build] = {}
    for name, facts in hosts.items():
        shares = name not in others or others[name].shares_home
        for env in listings[facts.architecture] if shares else ():
            lock = (env["record"] or {}).get("lock", {})
            torch, _, backend = str(lock.get("torch", "")).partition("+")
            fits = lock.get("python") == wish.python and lock.get("requirements") == list(REQUIREMENTS)
            if env["state"] == VERIFIED and fits and (backend == CPU) == wish.cpu:
                found.setdefault(name, Build(torch, backend))
    return found


def _try_choice(
    hosts: Mapping[str, HostFacts], wish: Wish, offers: Any, installed: Mapping[str, Build], host: str
) -> Choice | None:
    try:
        return choose(hosts, table(), wish, offers, installed, [host])
    except OrchError:
        return None


def _indexes(sources: Sources, wish: Wish) -> dict[str, str]:
    base = (sources.wheels or table().base).rstrip("/")
    backends = {row.backend for row in table().rows if (row.backend == CPU) == wish.cpu}
    return {backend: f"{base}/{backend}" for backend in sorted(backends)}


def _offers(survey: Mapping[str, Any]) -> dict[str, list[Wheel]]:
    keys = Wheel._fields
    return {
        backend: [Wheel(*(wheel[key] for key in keys)) for wheel in wheels]
        for backend, wheels in survey["offers"].items()
    }


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


# --- Steps -----------------------------------------------------------------------------------------------------------


def steps(wire: Wire, wanted: Target) -> list[Step]:
    """Return the steps that make the environment of a host: conda, environment, verification."""
    work = _Work(wire, wanted)
    why = "; ".join([f"{wanted.build}: {wanted.choice.reason}", *wanted.choice.refused[:2]])
    device = "the processor, as asked" if wanted.device == "cpu" else wanted.facts.cards[0].name
    proof = f"a convolution forward and backward on {device}, by the environment's own Python"
    return [
        Step("conda", f"an environment for {wanted.facts.architecture} is made by a conda of that architecture",
             work.check_conda, work.do_conda, work.weigh_conda, work.undo_conda),
        Step("environment", why, work.check_environment, work.do_environment, work.weigh, work.undo),
        Step("verification", proof, work.check_verification, work.do_verification),
    ]  # fmt: skip


class _Work:
    """The checks and deeds of the steps, over one wire."""

    def __init__(self, wire: Wire, wanted: Target) -> None:
        self.wire, self.wanted = wire, wanted
        self._survey = wanted.survey
        self._listed: Sequence[Mapping[str, Any]] | None = wanted.listing

    def _env(self) -> Mapping[str, Any]:
        if self._listed is None:  # something was done since
            self._listed = self.wire.call("environments", home=self.wanted.place.home)["environments"]
        absent: dict[str, Any] = {"state": "absent", "stages": [], "begun": None, "here": None, "reason": ""}
        return next((env for env in self._listed if env["lock"] == self.wanted.name), absent)

    def _looked(self) -> Mapping[str, Any]:
        if self._survey is None:
            self._survey = self.wire.call("survey", indexes={}, home=self.wanted.place.home)
        return self._survey

    def check_conda(self) -> State:
        """conda is needed only while Python has to be installed."""
        env = self._env()
        if env["state"] == VERIFIED or ("python" in env["stages"] and not env["begun"]):
            return State(True, "not needed: Python is installed")
        found = self._looked()["conda"]
        if found:
            return State(True, "{kind} {version} at {path}".format(**found))
        refused = self._looked()["refused"]
        why = f" ({'; '.join(refused[:2])})" if refused else ""
        return State(False, f"will install Miniforge for {self.wanted.facts.architecture} in the orch home{why}")

    def do_conda(self, tell: Tell) -> str:
        """Install Miniforge."""
        told = self._follow("install_conda", tell, url=self.wanted.place.sources.miniforge)
        self._survey = {**self._looked(), **told}
        return "installed {path}".format(**told["conda"])

    def weigh_conda(self) -> Removal | None:
        """Only a Miniforge of ours is taken away."""
        ours = self.wire.call("survey", indexes={}, home=self.wanted.place.home)["ours"]
        return Removal(f"the Miniforge that orch installed ({ours['url']})") if ours else None

    def undo_conda(self, tell: Tell) -> str:
        """Take our Miniforge away."""
        return "removed {removed}".format(**self._follow("remove_conda", tell))

    def check_environment(self) -> State:
        """All stages are done, or it is verified."""
        env = self._env()
        if env["state"] == VERIFIED or (not env["begun"] and set(STAGES) <= set(env["stages"])):
            return State(True, env.get("prefix", ""))
        done = f", goes on after {', '.join(env['stages'])}" if env["stages"] and not env["begun"] else ""
        return State(False, f"will create envs/{self.wanted.lock['arch']}/{self.wanted.name}{done}")

    def do_environment(self, tell: Tell) -> str:
        """Make it, or go on with it."""
        given = self.wanted.place.sources
        index = _indexes(given, Wish(cpu=self.wanted.device == "cpu"))[self.wanted.build.backend]
        sources = {"conda": self._looked()["conda"], "channel": given.channel or CHANNEL, "index": index}
        sources["wheelhouse"] = given.wheelhouse
        told = self._follow("provision", tell, lock=self.wanted.lock, name=self.wanted.name, sources=sources)
        return f"made {told['prefix']}"

    def weigh(self) -> Removal | None:
        """Return path and bytes of the environment, if there is one."""
        env = self._env()
        if env["state"] == "absent":
            return None
        told = self.wire.call("weigh_environment", name=self.wanted.name)
        users = f", in use by {', '.join(told['users'])}" if told["users"] else ""
        return Removal(f"{told['prefix']}{users}", int(told["bytes"]))

    def undo(self, tell: Tell) -> str:
        """Take it away."""
        return "removed {removed}".format(**self._follow("remove_environment", tell, name=self.wanted.name))

    def check_verification(self) -> State:
        """It has proved itself on this very host, on the device that it is meant for."""
        env = self._env()
        if env["state"] == VERIFIED and env["here"] and env["here"]["device"] == self.wanted.device:
            return State(True, f"fingerprint {env['record']['fingerprint']}")
        return State(False, "will run")

    def do_verification(self, tell: Tell) -> str:
        """Let it prove itself."""
        told = self._follow("verify_environment", tell, name=self.wanted.name, device=self.wanted.device)
        return f"{len(told['here']['checks'])} checks passed"

    def _follow(self, verb: str, tell: Tell, **arguments: Any) -> dict[str, Any]:
        self._listed = None
        stream: Generator[Any, None, dict[str, Any]] = self.wire.stream(verb, **arguments)
        while True:
            try:
                chunk = next(stream)
            except StopIteration as stop:
                return dict(stop.value)
            tell(chunk["stage"], chunk["line"])
