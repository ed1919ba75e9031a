"""The hosts of a site that a command is not for: what is known of them, or what they answer when they are asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .cli.output import Output
from .config import Settings
from .inventory import connect, load_site
from .progress import duration

if TYPE_CHECKING:
    from setup.deciding import Ask
    from setup.known import Known
    from setup.site import Host
    from setup.visits import Visits


def neighbours_of(visits: Visits, settings: Settings, out: Output, nobody: bool) -> Ask:
    """Return a function that tells of the hosts of the site that are not visited.

    Parameters
    ----------
    nobody:
        None of them has a say (a build for the processor runs anywhere).
    """
    from setup.deciding import Neighbour, Neighbours

    def tell(ask: bool) -> Neighbours:
        visited = {visit.name for visit in visits.alive}
        others = [host for host in load_site(settings).hosts.values() if not host.is_local and host.name not in visited]
        if nobody or not others:
            return Neighbours()
        silent = {name: error.message for name, error in visits.errors.items()}
        if ask:
            strangers = [host for host in others if host.name not in silent and not _seen(host, settings)]
            silent |= _ask_facts(strangers, settings, out)
        known: dict[str, Neighbour] = {}
        notes = []
        for host in others:
            seen = _seen(host, settings)
            if seen and seen.facts:
                known[host.name] = Neighbour(seen.facts, host.shared_home)
                if silent.pop(host.name, ""):
                    notes.append(f"{host.name} counts in the choice of the version as it was {_ago(seen.asked)}")
        return Neighbours(known, silent, tuple(notes))

    return tell


def _seen(host: Host, settings: Settings) -> Known | None:
    from setup.known import recall

    known = recall(settings.state, host.name)
    return known if known and known.facts else None


def _ago(then: float) -> str:
    return f"{duration(max(0.0, time.time() - then))} ago"


def _ask_facts(hosts: Sequence[Host], settings: Settings, out: Output) -> dict[str, str]:
    """Ask hosts what they are, and remember it; return why others did not say."""
    if not hosts:
        return {}
    from setup.known import remember_facts
    from setup.visits import Visits

    out.note(f"asks {', '.join(host.name for host in hosts)} too: one version of torch shall fit all hosts of the site")
    with Visits(hosts, connect) as asked:
        for name, machine in asked.each(lambda visit: visit.wire.call("probe")).items():
            remember_facts(settings.state, name, machine)
        return {name: error.message for name, error in asked.errors.items()}
