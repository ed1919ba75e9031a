"""The inventory: which hosts there are and how each is reached. `local`, this machine, is always one of them.

site: pilcam2
hosts:
  nodal: {ssh: nodal, home: /data/group/orch}        # the name that your own `ssh` knows
  grace: {address: grace.lab.example, user: alice, jump: nodal}
  local: {python: /opt/envs/torch/bin/python}        # optional: the defaults fit

A lab whose hosts are shipped (`setup/sites/`) writes two lines; what is said of a host beside them wins:

extends: pilcam2
user: alice
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from jobs import slurm_options
from jobs.courtesy import Wishes, fits
from jobs.errors import NotFound, SpecError
from jobs.folder import valid_name

LOCAL = "local"
SHIPPED = Path(__file__).parent / "sites"
Place = tuple[str | int, ...]
Words = Mapping[str, str]  # a text by language: `en`, `fr`


class Document(Protocol):
    """A file that was read, and an error that names its lines: what the caller's YAML loader returns."""

    @property
    def value(self) -> Any:
        """Plain mappings, lists, texts and numbers."""

    def error(self, place: Place, text: str, hint: str = "") -> SpecError:
        """Return the error that names file, line and place."""


@dataclass(frozen=True)
class Host:
    """One machine that runs jobs.

    Attributes
    ----------
    name:
        What people call it; part of folder names.
    ssh:
        Name by which the user's own `ssh` reaches it.
    home:
        Orch home on that host, absolute or from `~`; None is the user's setting, else `~/.orch`.
    python:
        Interpreter there that runs the trainer, absolute, or one for each architecture of a cluster's partitions; None
        is the one that runs `orch`, or the one provisioned.
    address, port, user, jump:
        In place of an alias: DNS name or IP address, and what else `ssh` is told. A host with neither is this machine.
    way:
        `ssh` (the user's own program), `paramiko` (in this process), `fake` (`address` is a folder that plays the
        host) or `local`.
    scheduler:
        `none` or `slurm`: its jobs are then handed to Slurm from this host, a login node.
    slurm:
        What jobs there ask Slurm for besides their resources: `partition` (a text, or one for each architecture:
        `{x86_64: gpu, aarch64: gh}`), `account`, `qos`, `constraint`, `exclude`, `arch` (of the partition, where Slurm
        does not tell it rightly; texts), `time` (minutes), `gpu_type` (the kind of card, as Slurm names it) and
        `options`, a mapping of other long options of sbatch (`jobs.slurm_options` tells which are refused).
    shared_home:
        Hosts that name the same word here have one home.
    scratch:
        Folder on a disk of its own, absolute.
    quota:
        Size of the home that one user may fill, as `200 GB`.
    expect:
        What `orch doctor` shall find: `architecture`, `gpu`, `driver`, `os` ... each a text.
    family:
        Hosts that name the same word here are alike: one access protocol describes them all.
    fingerprint:
        Of its host key, `SHA256:...`, as the administrator gave it.
    shared_with:
        Who else computes there.
    courtesy:
        How its cards are shared with other people (`jobs.courtesy.Wishes`); None: nothing is said.
    trust:
        Users of the group's home there whose environments may run as you.
    """

    name: str
    ssh: str | None = None
    home: str | None = None
    python: str | Mapping[str, str] | None = None
    address: str | None = None
    port: int | None = None
    user: str | None = None
    jump: str | None = None
    way: str = ""
    scheduler: str = "none"
    slurm: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    shared_home: str | None = None
    scratch: str | None = None
    quota: str | None = None
    expect: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    family: str | None = None
    fingerprint: str | None = None
    shared_with: Words | None = None
    courtesy: Mapping[str, Any] | None = None
    trust: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Choose the way when none is named."""
        if not self.way:
            object.__setattr__(self, "way", "ssh" if self.ssh or self.address else "local")

    @property
    def is_local(self) -> bool:
        """It is this machine."""
        return self.way == "local"

    def python_of(self, arch: str | None) -> str | None:
        """Return the interpreter that is named for an architecture, or None."""
        return self.python if self.python is None or isinstance(self.python, str) else self.python.get(arch or "")

    @property
    def orders(self) -> tuple[dict[str, Any], ...]:
        """What Slurm is asked for, once for each architecture; empty: there is no scheduler.

        Keys of `slurm`, with one `partition` (None: Slurm's default), `arch` (None: as Slurm tells it) and `python`.
        """
        if self.scheduler != "slurm":
            return ()
        partition = self.slurm.get("partition")
        one_each = partition if isinstance(partition, Mapping) else {self.slurm.get("arch"): partition}
        python = self.python if self.python is None or isinstance(self.python, str) else dict(self.python)
        return tuple(
            {**self.slurm, "partition": name, "arch": arch, "python": python} for arch, name in one_each.items()
        )


_KEYS = tuple(item.name for item in fields(Host) if item.name != "name")
_EXAMPLE = "nodal: {ssh: nodal}"
_CHOICES = {"way": ("ssh", "paramiko", "fake"), "scheduler": ("none", "slurm")}
_SLURM = ("partition", "account", "qos", "constraint", "exclude", "arch", "time", "gpu_type", "options")
_ARCHS = ("x86_64", "aarch64")
_WORDS = ("ssh", "address", "user", "jump")  # they stand on a command line of ours
_WORD = re.compile(r"[A-Za-z0-9_.:%@,\[\]/+][A-Za-z0-9_.:%@,\[\]/+-]*")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_COURTESY = "courtesy: {foreign_mb: 500, free_mb: 8000, prefer: [1, 0], quiet_hours: mon-fri 08:00-19:00}"
_QUOTA = re.compile(r"[0-9]+(\.[0-9]+)? ?[kMGT]i?B")


@dataclass(frozen=True)
class Site:
    """The hosts of one lab.

    Attributes
    ----------
    name:
        What people call the lab's machines.
    hosts:
        By name.
    contact, network:
        For the access protocols: whom to ask for an account, and from where the hosts can be reached.
    """

    name: str = "here"
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({LOCAL: Host(LOCAL)}))
    contact: Words | None = None
    network: Words | None = None

    @classmethod
    def of(cls, document: Document, base: Site | None = None) -> Site:
        """Build the inventory from a file's content.

        Parameters
        ----------
        base:
            The site that the file extends.

        Raises
        ------
        SpecError
            An unknown key (the nearest is named), a wrong type, or a name that cannot be a folder's.
        """
        value = document.value or {}
        if not isinstance(value, dict):
            raise document.error((), "a site file names its hosts", "hosts: {" + _EXAMPLE + "}")
        _refuse_unknown(document, (), value, ("site", "extends", "user", "contact", "network", "hosts"))
        base = base or cls()
        words = {key: _words(document, (key,), value[key]) for key in ("contact", "network") if value.get(key)}
        hosts = MappingProxyType(_hosts(document, value, base.hosts))
        return replace(base, name=str(value.get("site") or base.name), hosts=hosts, **words)

    def host(self, name: str) -> Host:
        """Return a host.

        Raises
        ------
        NotFound
            No host has that name; the nearest one is named.
        """
        try:
            return self.hosts[name]
        except KeyError:
            hint = "hosts are: " + ", ".join(self.hosts)
            raise NotFound(f"no host '{name}'{_nearest(name, self.hosts)}", hint) from None


def shipped(name: str) -> Path:
    """Return the file of a site that comes with `orch`.

    Raises
    ------
    NotFound
        There is none of that name; the nearest one is named.
    """
    known = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    if name not in known:
        raise NotFound(f"no site '{name}' comes with orch{_nearest(name, known)}", f"there are: {', '.join(known)}")
    return known[name]


def _hosts(document: Document, value: Mapping[str, Any], known: Mapping[str, Host]) -> dict[str, Host]:
    listed, user = value.get("hosts") or {}, value.get("user")
    if not isinstance(listed, dict):
        raise document.error(("hosts",), "must be a mapping", "hosts: {" + _EXAMPLE + "}")
    if user is not None:
        _check(document, ("user",), "user", user, {})
    hosts = {**known, **{name: _host(document, name, item, known.get(name)) for name, item in listed.items()}}
    if user is None:
        return hosts
    return {name: host if host.is_local or host.user else replace(host, user=user) for name, host in hosts.items()}


def _words(document: Document, place: Place, value: Any) -> Words:
    """A text for both languages, or one for each."""
    if isinstance(value, str):
        return MappingProxyType({"en": value, "fr": value})
    if not isinstance(value, dict) or set(value) != {"en", "fr"} or not all(isinstance(v, str) for v in value.values()):
        raise document.error(place, "must be a text, or one in each language", "{en: ..., fr: ...}")
    return MappingProxyType(dict(value))


def _host(document: Document, name: str, value: Any, known: Host | None = None) -> Host:
    place = ("hosts", name)
    if not valid_name(name):
        raise document.error(place, "cannot be a host's name", "use letters, digits and . _ + -")
    value = value or {}
    if not isinstance(value, dict):
        raise document.error(place, "must be a mapping", _EXAMPLE)
    _refuse_unknown(document, place, value, _KEYS)
    given = {key: item for key, item in value.items() if item is not None}
    for key, item in given.items():
        _check(document, (*place, key), key, item, given)
    if name == LOCAL and {"ssh", "address", "way"} & given.keys():
        key = next(key for key in given if key in ("ssh", "address", "way"))
        raise document.error((*place, key), f"`local` is this machine and needs no {key}", "give the host another name")
    if name != LOCAL and not (known or given.get("ssh") or given.get("address")):
        raise document.error(place, "does not say how it is reached", f"{name}: {{ssh: {name}}}")
    if "expect" in given:
        given["expect"] = MappingProxyType({key: str(item) for key, item in given["expect"].items()})
    if "slurm" in given:
        given["slurm"] = MappingProxyType(given["slurm"])
    if isinstance(given.get("courtesy", {}).get("quiet_hours"), str):
        given["courtesy"] = {**given["courtesy"], "quiet_hours": [given["courtesy"]["quiet_hours"]]}
    if "trust" in given:
        given["trust"] = tuple(given["trust"])
    if "shared_with" in given:
        given["shared_with"] = _words(document, (*place, "shared_with"), given["shared_with"])
    return replace(known, **given) if known else Host(name, **given)


def _check(document: Document, place: Place, key: str, item: Any, host: Mapping[str, Any]) -> None:
    """Refuse a value of the wrong kind."""
    if key == "port":
        if isinstance(item, bool) or not isinstance(item, int) or not 0 < item < 65536:
            raise document.error(place, f"must be a port number, not {item!r}", "port: 22")
    elif key == "expect":
        if not isinstance(item, dict) or any(isinstance(one, dict | list) for one in item.values()):
            raise document.error(place, "must be a mapping of texts", "expect: {architecture: aarch64}")
    elif key == "slurm":
        _check_slurm(document, place, item)
    elif key == "python" and isinstance(item, dict):
        _check_archs(document, place, item, "python: {x86_64: /opt/x86/bin/python, aarch64: /opt/arm/bin/python}")
    elif key == "shared_with":
        _words(document, place, item)
    elif key == "courtesy":
        _check_courtesy(document, place, item)
    elif key == "trust":
        if not isinstance(item, list) or not all(isinstance(one, str) for one in item):
            raise document.error(place, f"must be a list of user names, not {item!r}", "trust: [ana, ben]")
    elif not isinstance(item, str):
        raise document.error(place, f"must be a text, not {item!r}", _EXAMPLE)
    elif key in _CHOICES and item not in _CHOICES[key]:
        raise document.error(place, f"'{item}' is none{_nearest(item, _CHOICES[key])}", " or ".join(_CHOICES[key]))
    elif key in _WORDS and host.get("way") != "fake" and not _WORD.fullmatch(item):
        raise document.error(place, f"cannot be part of a connection: {item!r}", f"{key}: a name without blanks")
    elif key == "fingerprint" and not _FINGERPRINT.fullmatch(item):
        raise document.error(place, f"must be a fingerprint, not {item!r}", "fingerprint: SHA256:... of ssh-keygen -l")
    elif key == "quota" and not _QUOTA.fullmatch(item):
        raise document.error(place, f"must be a size, not {item!r}", "quota: 200 GB")


def _check_courtesy(document: Document, place: Place, value: Any) -> None:
    if not isinstance(value, dict):
        raise document.error(place, f"must be a mapping, not {value!r}", _COURTESY)
    _refuse_unknown(document, place, value, Wishes._fields)
    for key, item in value.items():
        if not fits(key, [item] if key == "quiet_hours" and isinstance(item, str) else item):
            raise document.error((*place, key), f"does not fit: {item!r}", _COURTESY)


def _check_slurm(document: Document, place: Place, item: Any) -> None:
    example = "slurm: {partition: gpu, time: 240, options: {reservation: ours}}"
    if not isinstance(item, dict):
        raise document.error(place, "must be a mapping", example)
    _refuse_unknown(document, place, item, _SLURM)
    for key, value in item.items():
        if key == "arch" and isinstance(item.get("partition"), dict):
            raise document.error((*place, key), "is said by `partition` already", "leave it out")
        if key == "arch" and value not in _ARCHS:
            text = f"'{value}' is none{_nearest(str(value), _ARCHS)}"
            raise document.error((*place, key), text, " or ".join(_ARCHS))
        if key == "partition" and isinstance(value, dict):
            _check_archs(document, (*place, key), value, "partition: {x86_64: gpu, aarch64: gh}")
            continue
        kind: type = {"time": int, "options": dict}.get(key, str)
        if not isinstance(value, kind) or isinstance(value, bool):
            words = {int: "minutes, a whole number", dict: "a mapping", str: "a text"}[kind]
            raise document.error((*place, key), f"must be {words}, not {value!r}", example)
        if key == "gpu_type" and not slurm_options.is_type(value):
            raise document.error((*place, key), f"cannot be a kind of card: {value!r}", "gpu_type: a100")
    for trouble in slurm_options.troubles(item):
        raise document.error((*place, "options", trouble.key), trouble.text, trouble.hint)


def _check_archs(document: Document, place: Place, item: Mapping[str, Any], example: str) -> None:
    """Refuse what is no text for each of some architectures."""
    _refuse_unknown(document, place, item, _ARCHS)
    if not item or not all(isinstance(value, str) and value for value in item.values()):
        raise document.error(place, "must be a text, or one for each architecture", example)


def _refuse_unknown(document: Document, place: Place, value: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in value:
        if key not in known:
            text = f"unknown key{_nearest(key, known)}"
            raise document.error((*place, key), text, f"keys are: {', '.join(known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f". Did you mean '{near[0]}'?" if near else ""
