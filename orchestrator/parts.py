"""What a plan needs of one partition of a Slurm host, whose processor may be another than the login node's.

A host with partitions of several architectures is several places: `cluster:x86_64` and `cluster:aarch64`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobs.errors import OrchError

from .dispatch import Contact
from .guard import check_package

if TYPE_CHECKING:
    from setup.site import Site

_PATH = "/usr/local/bin:/usr/bin:/bin"  # what a plain user has on any host


def place_names(site: Site) -> list[str]:
    """Return what `--hosts` may name: hosts, and the partitions of those that have several."""
    several = [(host, order["arch"]) for host in site.hosts.values() if len(host.orders) > 1 for order in host.orders]
    return [*site.hosts, *(f"{host.name}:{arch}" for host, arch in several)]


def host_of(name: str) -> str:
    """Return the host of a place by the place's name."""
    return name.partition(":")[0]


def parts_of(
    contact: Contact, told: list[dict[str, Any]], wanted: Collection[str] = ()
) -> Iterator[tuple[str, dict[str, Any] | None, Mapping[str, Any]]]:
    """Yield for each place of a host its name, what Slurm is asked for there, and what its jobs find there.

    Parameters
    ----------
    told:
        What the host says of each partition (`jobs.slurmparts.part`); empty: it has no scheduler.
    wanted:
        Names of places, or of hosts with all of their places; empty: all.
    """
    for order, part in zip(contact.orders, told, strict=True):
        name = contact.name if len(told) == 1 else f"{contact.name}:{part['arch']}"
        if not wanted or {name, contact.name} & set(wanted):
            yield name, {**order, "arch": part["arch"], "interpreter": _interpreter(order, part)}, part
    if not told:
        yield contact.name, None, {}


def _interpreter(order: Mapping[str, Any], part: Mapping[str, Any]) -> str | None:
    """Name the Python that runs watchers where the login node's own cannot; None: it can."""
    return None if part["arch"] == part["login_arch"] else python_of(order["python"], part) or "python3"


def python_of(named: str | Mapping[str, str] | None, told: Mapping[str, Any]) -> str | None:
    """Return the Python for the jobs of a place: as the site file names it, else that of its newest environment."""
    found = named.get(told["arch"]) if isinstance(named, Mapping) else named
    made = told["environment"]
    return found or (str(made["python"]) if made else None)


def proved_python(
    name: str, host: str, named: str | Mapping[str, str] | None, told: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the Python that runs the trainer at a place, and the facts of its environment; nothing is started.

    Raises
    ------
    OrchError
        The site file names none, and no environment there is verified.
    """
    made, python = told["environment"], python_of(named, told)
    if python is None:
        listed = told["environments"]
        why = f": {listed[0]['prefix']}: {listed[0]['reason']}" if listed else ""
        hint = f"orch setup --host {host}"
        if told.get("login_arch", told["arch"]) != told["arch"]:  # which the login node cannot make
            named_so = f"python: {{{told['arch']}: /path/to/bin/python}}"
            hint = f"orch setup on a node of that processor, in the same home; or name one in the site file: {named_so}"
        raise OrchError(f"{name} has no environment that is verified{why}", hint, host=host)
    if made is None or python != made["python"]:
        return python, {"python": python, "reason": "the site file names it", "packages": {}}
    check_package("setup")
    from setup.environment import of_record

    return python, of_record(made).to_json()


def variables_of(named: str | Mapping[str, str] | None, told: Mapping[str, Any]) -> dict[str, str]:
    """Return what a command's environment gets at a place: `python` is that of its jobs, where there is one."""
    python = python_of(named, told)
    return {"PATH": f"{posixpath.dirname(python)}:{_PATH}"} if python else {}


def kind_of(told: Mapping[str, Any]) -> str:
    """Return what places that compute alike have in common: processor and kinds of cards."""
    return " ".join([told["arch"], *sorted({str(card["name"]) for card in told["cards"]})])
