"""Which hosts a command runs on: its words, the sweep file, the last time, or this machine; and which are ready."""

from __future__ import annotations

from argparse import Namespace

from jobs.errors import NotFound, OrchError, Unreachable

from ..collect import every_host
from ..config import Settings
from ..dispatch import LOCAL
from ..dispatching import refuse_unready
from ..fleet import Fleet
from ..inventory import load_site
from ..parts import host_of, place_names
from ..places import Place
from ..snapshot import Snapshot
from ..store import Index
from ..sweep import COMMAND, SweepFile
from .output import Output

AUTO = "auto"
MOST_NAMES = 4  # of a sweep that may turn out to be another's


def open_fleet(args: Namespace, settings: Settings, sweep: SweepFile, index: Index, out: Output) -> Fleet:
    """Open the hosts of a sweep; one that does not answer is told of, and the others go on.

    Raises
    ------
    NotFound
        A host is not in the site file.
    Unreachable
        None answers.
    """
    hosts, reason = hosts_of(args, settings, sweep, index)
    fleet = open_places(settings, hosts, sweep.name)
    if not fleet.contacts:
        raise refuse_unready(fleet.silent)
    if hosts != [LOCAL]:
        shown = [name for name in hosts if host_of(name) in fleet.contacts]
        out.note(f"hosts {', '.join(shown)}: {reason}")
    for name, error in fleet.silent.items():
        out.warning(f"{name} does not answer and takes no part now: {error.message}")
    out.warnings(fleet.warnings)
    return fleet


def open_places(settings: Settings, names: list[str], sweep: str | None) -> Fleet:
    """Open hosts, of which some are named with one of their partitions (`cluster:aarch64`).

    Raises
    ------
    NotFound
        A host, or its partition, is not in the site file.
    """
    site = load_site(settings)
    for name in names:
        site.host(host_of(name))
        if name not in place_names(site):
            raise NotFound(f"'{name}' is no partition of that host", f"there are: {', '.join(place_names(site))}")
    fleet = Fleet.open(settings, list(dict.fromkeys(map(host_of, names))), ahead=lambda contact: contact.brief(sweep))
    fleet.parts = frozenset(names)
    return fleet


def hosts_of(args: Namespace, settings: Settings, sweep: SweepFile, index: Index) -> tuple[list[str], str]:
    """Return the names of the hosts that a sweep shall run on, and why."""
    named = [word.strip() for word in args.hosts.split(",") if word.strip()] if args.hosts else list(sweep.hosts)
    if AUTO in named:
        return every_host(settings), "all of the site file that answer"
    if named:
        return list(dict.fromkeys(named)), "asked for by --hosts" if args.hosts else "the sweep file names them"
    record = next((row.record for row in index.sweeps() if row.name == sweep.name), {})
    before = [str(name) for name in record.get("hosts", ()) if name in place_names(load_site(settings))]
    return (before, "as the last time") if before else ([LOCAL], "no other was asked for")


def ready(places: dict[str, Place], args: Namespace, sweep: SweepFile, out: Output) -> dict[str, Place]:
    """Return the places that can run the sweep: for trainings and notebooks those with a proved environment.

    Raises
    ------
    OrchError
        A host that was asked for by name is not ready: with the command that makes it so. Or none of all is.
    """
    if not places:
        raise Unreachable("no host answers any more", "orch hosts, then run the same command again")
    if sweep.kind == COMMAND:
        return places
    unready: dict[str, OrchError] = {}
    for name, place in places.items():
        try:
            if place.host != LOCAL:
                place.python(Snapshot("", "", {}))
        except OrchError as error:
            unready[name] = error
    chosen_by_us = args.hosts == AUTO or (not args.hosts and sweep.hosts == (AUTO,))
    if unready and not (chosen_by_us and len(unready) < len(places)):
        raise refuse_unready(unready)
    for name, why in unready.items():
        out.warning(f"{name} takes no part: {why.message}; {why.hint}")
    return {name: place for name, place in places.items() if name not in unready}
