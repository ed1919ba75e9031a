"""The inventory: which hosts there are and how each is reached. `local`, this machine, is always one of them.

site: pilcam2
hosts:
  nodal: {ssh: nodal, home: /data/group/orch}        # the name that your own `ssh` knows
  local: {python: /opt/envs/torch/bin/python}        # optional: the defaults fit
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Protocol

from jobs.errors import NotFound, SpecError
from jobs.folder import valid_name

LOCAL = "local"
Place = tuple[str | int, ...]


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
        Name by which the user's own `ssh` reaches it; None is this machine.
    home:
        Orch home on that host, absolute or from `~`; None is the user's setting, else `~/.orch`.
    python:
        Interpreter there that runs the trainer, absolute; None is the one that runs `orch`, or the one provisioned.
    """

    name: str
    ssh: str | None = None
    home: str | None = None
    python: str | None = None

    @property
    def is_local(self) -> bool:
        """It is this machine."""
        return self.ssh is None


_KEYS = tuple(item.name for item in fields(Host) if item.name != "name")
_EXAMPLE = "nodal: {ssh: nodal}"


@dataclass(frozen=True)
class Site:
    """The hosts of one lab, by name."""

    name: str = "here"
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({LOCAL: Host(LOCAL)}))

    @classmethod
    def of(cls, document: Document) -> Site:
        """Build the inventory from a file's content.

        Raises
        ------
        SpecError
            An unknown key (the nearest is named), a wrong type, or a name that cannot be a folder's.
        """
        value = document.value or {}
        if not isinstance(value, dict):
            raise document.error((), "a site file names its hosts", "hosts: {" + _EXAMPLE + "}")
        _refuse_unknown(document, (), value, ("site", "hosts"))
        listed = value.get("hosts") or {}
        if not isinstance(listed, dict):
            raise document.error(("hosts",), "must be a mapping", "hosts: {" + _EXAMPLE + "}")
        hosts = {LOCAL: Host(LOCAL)}
        hosts.update((name, _host(document, name, item)) for name, item in listed.items())
        return cls(str(value.get("site") or cls.name), MappingProxyType(hosts))

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


def _host(document: Document, name: str, value: Any) -> Host:
    place = ("hosts", name)
    if not valid_name(name):
        raise document.error(place, "cannot be a host's name", "use letters, digits and . _ + -")
    value = value or {}
    if not isinstance(value, dict):
        raise document.error(place, "must be a mapping", _EXAMPLE)
    _refuse_unknown(document, place, value, _KEYS)
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            raise document.error((*place, key), f"must be a text, not {item!r}", _EXAMPLE)
    if name == LOCAL and value.get("ssh"):
        raise document.error((*place, "ssh"), "`local` is this machine and needs no ssh", "give the host another name")
    if name != LOCAL and not value.get("ssh"):
        raise document.error(place, "does not say how it is reached", f"{name}: {{ssh: {name}}}")
    return Host(name, **value)


def _refuse_unknown(document: Document, place: Place, value: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in value:
        if key not in known:
            text = f"unknown key{_nearest(key, known)}"
            raise document.error((*place, key), text, f"keys are: {', '.join(known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f". Did you mean '{near[0]}'?" if near else ""
