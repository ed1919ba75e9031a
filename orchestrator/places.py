"""Where the jobs of a plan will run: this machine or another host, with its code, Python, data and slots.

A plan is made for each place. Its cells, and so its job ids, are the same everywhere; paths and slots differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jobs import briefing, gpu, host, limits, slurmparts
from jobs.atomic import read_json
from jobs.errors import DataError, NotFound, OrchError
from jobs.folder import Home

from . import copying, datasets, provenance, snapshot
from .config import DataSource, Settings
from .contents import HomeContents
from .dispatch import LOCAL, Contact
from .fleet import Fleet
from .inventory import load_site
from .known_homes import open_own
from .parts import kind_of, parts_of, proved_python, variables_of
from .plan import Capacity, DataSet, Split
from .program import Program, Progress, trainer_program
from .snapshot import Code, Snapshot

SPLIT_SEED = datasets.SPLIT_SEED


class Place(ABC):
    """One host as a plan sees it.

    Attributes
    ----------
    host:
        The host's name in the site file.
    name:
        The same, with the architecture behind it where the host has partitions of several.
    asked:
        What Slurm is asked for there, or None.
    """

    host: str
    name: str
    asked: Mapping[str, Any] | None = None

    @property
    def shown(self) -> str:
        """Its name in the index."""
        return self.host

    @abstractmethod
    def pinned(self, sweep: str) -> Snapshot | None:
        """Return the code that an earlier run of a sweep pinned here, or None.

        Raises
        ------
        OrchError
            It is pinned, but no longer there.
        """

    @abstractmethod
    def take(self, code: Code) -> Snapshot:
        """Keep code here, unless it is here already."""

    @abstractmethod
    def python(self, code: Snapshot) -> tuple[str, dict[str, Any]]:
        """Return the interpreter that runs the trainer, and the facts of its environment.

        Raises
        ------
        OrchError
            There is none that is fit.
        """

    @abstractmethod
    def data_names(self) -> list[str]:
        """Return the names of the data sets that are registered here."""

    @abstractmethod
    def data(self, name: str, source: DataSource | None, code: Snapshot) -> tuple[DataSet, bool]:
        """Return a data set, registered from its source when it is new; the flag tells whether it was."""

    @abstractmethod
    def split(self, data: DataSet, folds: int, inner: float, code: Snapshot) -> Split:
        """Return the split of a data set, made when it is not here yet."""

    @abstractmethod
    def capacity(self) -> Capacity:
        """Return what can run side by side."""

    @abstractmethod
    def room(self) -> tuple[str, Mapping[str, int | None]]:
        """Return the id of the orch home, and what may still be written there (`free_bytes`, `free_files`)."""

    @abstractmethod
    def keep_patch(self, patch: provenance.Patch | None) -> None:
        """Keep what was not committed beside the code."""

    def variables(self) -> dict[str, str]:
        """Return what a command's environment gets here."""
        return {}

    @property
    def placement(self) -> dict[str, Any]:
        """What a job records of its place."""
        return {"host": self.host, "reason": self.reason, **({"slurm": dict(self.asked)} if self.asked else {})}

    @property
    def reason(self) -> str:
        """Why jobs run here."""
        return "no other host was asked for"

    @property
    def kind(self) -> str:
        """What hosts that compute alike have in common: processor and card."""
        return ""


def _kinds(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Kinds of card of a Slurm's partition: it gives the one that is asked for."""
    return tuple(str(card["name"]) for card in told["cards"])


class LocalPlace(Place):
    """This machine.

    Parameters
    ----------
    home, identity:
        The orch home here.
    progress:
        Gets lines while volumes are read.
    name, asked, told:
        Of a partition of the Slurm here: see `parts_of`.
    """

    host = LOCAL

    def __init__(
        self,
        settings: Settings,
        home: Home,
        identity: Mapping[str, Any],
        progress: Progress | None = None,
        name: str = LOCAL,
        asked: Mapping[str, Any] | None = None,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings, self.home, self.identity, self.progress = settings, home, identity, progress
        self.name, self.asked, self._told = name, asked, told or {}
        self._foreign = bool(told) and self._told["arch"] != self._told["login_arch"]
        self._program: Program | None = None

    @property
    def shown(self) -> str:
        """See `Place`."""
        return host.name()

    def pinned(self, sweep: str) -> Snapshot | None:
        """See `Place`."""
        known = (read_json(self.home.sweep(sweep)) or {}).get("code")
        return snapshot.recorded(self.home, known) if known else None

    def take(self, code: Code) -> Snapshot:
        """See `Place`."""
        return snapshot.take(self.home, code)

    def python(self, code: Snapshot) -> tuple[str, dict[str, Any]]:
        """See `Place`."""
        if self._foreign and self.asked:
            return proved_python(self.name, LOCAL, self.asked["python"], self._told)
        self._program, environment = trainer_program(self.settings, code)
        return self._program.python, environment

    def data_names(self) -> list[str]:
        """See `Place`."""
        return datasets.names(self.home)

    def data(self, name: str, source: DataSource | None, code: Snapshot) -> tuple[DataSet, bool]:
        """See `Place`."""
        if source is None:
            return datasets.lookup(self.home, name, self.settings.data), False
        program = self._of(code)
        return datasets.ensure(self.home, self.identity, program, name, source, self.progress)

    def split(self, data: DataSet, folds: int, inner: float, code: Snapshot) -> Split:
        """See `Place`."""
        return datasets.split(self.home, self._of(code), data, folds, inner)

    def capacity(self) -> Capacity:
        """See `Place`."""
        if self.asked:
            cpus, gpus = map(int, self._told["slurm"])
            return Capacity(cpus, gpus, self.settings.parallel, None, _kinds(self._told))
        cards = gpu.look().cards
        cpus = limits.cpus().value or 1
        return Capacity(cpus, len(cards), self.settings.parallel, gpu.smallest_mb(cards), gpu.common_kind(cards))

    def room(self) -> tuple[str, Mapping[str, int | None]]:
        """See `Place`."""
        return str(self.identity["id"]), briefing.room(self.home.path)

    def keep_patch(self, patch: provenance.Patch | None) -> None:
        """See `Place`."""
        provenance.keep(self.home, patch)

    def variables(self) -> dict[str, str]:
        """See `Place`."""
        return variables_of(self.asked["python"], self._told) if self._foreign and self.asked else {}

    @property
    def kind(self) -> str:
        """See `Place`."""
        return kind_of(self._told) if self._told else ""

    def _of(self, code: Snapshot) -> Program:
        return self._program or trainer_program(self.settings, code)[0]


class HostPlace(Place):
    """Another host, over its connection: what it has was told in one answer (`jobs.briefing.brief`).

    Parameters
    ----------
    told:
        That answer, of a partition with what is told of it in place of the login node's; `login` is the answer itself.
    home:
        What its orch home holds, shared with the other hosts of that home.
    python:
        Interpreter that the site file names for the trainer there, or one for each architecture, or None.
    progress:
        Gets lines while volumes are read there.
    name, asked:
        Of a partition: see `parts_of`.
    """

    def __init__(
        self,
        contact: Contact,
        told: Mapping[str, Any],
        settings: Settings,
        home: HomeContents,
        python: str | Mapping[str, str] | None = None,
        progress: Progress | None = None,
        name: str | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        self.host, self.name, self.asked = contact.name, name or contact.name, asked
        self.contact, self.told = contact, told
        self._settings, self._python, self._progress = settings, python, progress
        self._home = home

    @property
    def reason(self) -> str:
        """See `Place`."""
        return "it was asked for"

    @property
    def kind(self) -> str:
        """See `Place`."""
        return kind_of(self.told)

    def pinned(self, sweep: str) -> Snapshot | None:
        """See `Place`."""
        known = (self.told["record"] or {}).get("code")
        if not known:
            return None
        if self.told["pinned"] is None or known not in self._home.codes:
            text = f"the code snapshot {known} is not in {self.contact.home} on {self.name}"
            raise OrchError(text, "run the sweep with --rerun changed", lacks=known)
        return Snapshot(known, f"{self.contact.home}/code/{known}", self.told["pinned"]["files"])

    def take(self, code: Code) -> Snapshot:
        """See `Place`."""
        if code.hash not in self._home.codes:
            sent = {"hash": code.hash, "files": dict(code.hashes), "pack": code.packed(), "programs": code.programs()}
            self.contact.wire.call("take_code", **sent)
            self._home.codes.add(code.hash)
        return Snapshot(code.hash, f"{self.contact.home}/code/{code.hash}", code.hashes)

    def python(self, code: Snapshot) -> tuple[str, dict[str, Any]]:
        """See `Place`."""
        return proved_python(self.name, self.host, self._python, self.told)

    def variables(self) -> dict[str, str]:
        """See `Place`."""
        return variables_of(self._python, self.told)

    def data_names(self) -> list[str]:
        """See `Place`."""
        return sorted(self._home.sets)

    def data(self, name: str, source: DataSource | None, code: Snapshot) -> tuple[DataSet, bool]:
        """See `Place`."""
        known = self._home.sets.get(name)
        if known is not None:
            return DataSet.told(known), False
        if source is None:
            raise copying.lacking(self._settings, self.host, name, self.data_names())
        try:
            self._home.sets[name] = self.register(name, source, code)
        except (DataError, NotFound) as error:  # where the folder of the project file is not there, a copy will do
            raise copying.lacking(self._settings, self.host, name, self.data_names(), error) from error
        return DataSet.told(self._home.sets[name]), True

    def register(self, name: str, source: DataSource, code: Snapshot, replace: bool = False) -> dict[str, Any]:
        """Have the host check all volumes and keep the manifest; return what may leave it.

        Raises
        ------
        DataError
            A volume or mask cannot be used.
        UsageError
            The name stands for other contents.
        """
        given = {"name": name, "source": datasets.plain(source), "replace": replace}
        return self._long("register_data", code, **given)

    def split(self, data: DataSet, folds: int, inner: float, code: Snapshot) -> Split:
        """See `Place`."""
        wanted = (data.hash, folds, inner, SPLIT_SEED)
        for known in self._home.splits.get(data.name, ()):
            if (known["data"], known["folds"], known["inner"], known["seed"]) == wanted:
                return Split(str(known["hash"]), str(known["path"]))
        asked = {"name": data.name, "folds": folds, "inner": inner, "seed": SPLIT_SEED}
        made = self._long("make_split", code, **asked)
        self._home.splits.setdefault(data.name, []).append(made)
        return Split(str(made["hash"]), str(made["path"]))

    def _long(self, verb: str, code: Snapshot, **asked: Any) -> dict[str, Any]:
        """Ask something that takes its time, showing what the host says meanwhile; the login node itself does it."""
        python, _ = proved_python(self.host, self.host, self._python, self.told["login"])
        stream = self.contact.wire.stream(verb, python=python, code=code.hash, **asked)
        while True:
            try:
                line = next(stream)
            except StopIteration as stop:
                return dict(stop.value)
            if self._progress and line:
                self._progress(line)

    def capacity(self) -> Capacity:
        """See `Place`."""
        if self.asked:
            cpus, gpus = map(int, self.told["slurm"])
            return Capacity(cpus, gpus, self._settings.parallel, None, _kinds(self.told))
        cards = [gpu.Card(**card) for card in self.told["cards"]]
        kinds = gpu.common_kind(cards)
        return Capacity(int(self.told["cpus"]), len(cards), self._settings.parallel, gpu.smallest_mb(cards), kinds)

    def room(self) -> tuple[str, Mapping[str, int | None]]:
        """See `Place`."""
        return self.contact.home_id, self.told["disk"]

    def keep_patch(self, patch: provenance.Patch | None) -> None:
        """See `Place`."""
        if patch:
            self.contact.wire.call("take_patch", name=patch.name, text=patch.text.decode("utf-8", "replace"))


def places_of(
    fleet: Fleet, settings: Settings, sweep: str | None, progress: Progress | None = None
) -> dict[str, Place]:
    """Return a place for each host of a fleet, or for each of its partitions; the hosts are asked side by side.

    Parameters
    ----------
    sweep:
        Whose record and pinned code is asked for; None: nobody's.
    """
    site = load_site(settings)
    others = Fleet({name: contact for name, contact in fleet.contacts.items() if name != LOCAL})
    briefs = others.each(lambda contact: contact.ask(*contact.brief(sweep))) if others.contacts else {}
    fleet.silent |= others.silent
    fleet.contacts = {name: one for name, one in fleet.contacts.items() if name not in others.silent}
    homes: dict[str, HomeContents] = {}
    found: dict[str, Place] = {}
    for name, contact in fleet.contacts.items():
        if name == LOCAL:
            home, identity = open_own(settings)
            parts = [slurmparts.part(home, order) for order in contact.orders]
            for place, asked, told in parts_of(contact, parts, fleet.parts):
                found[place] = LocalPlace(settings, home, identity, progress, place, asked, told)
            continue
        brief, python = briefs[name], site.host(name).python
        contents = homes.setdefault(contact.home_id, HomeContents.of(brief))
        for place, asked, told in parts_of(contact, brief["parts"], fleet.parts):
            told = {**brief, **told, "login": brief}
            found[place] = HostPlace(contact, told, settings, contents, python, progress, place, asked)
    return found
