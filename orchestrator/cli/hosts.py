"""`orch hosts`: the hosts of the site file with the facts of the last examination; asks nobody."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..inventory import load_site, site_file
from ..progress import duration
from .output import Output
from .parser import Parser

if TYPE_CHECKING:
    from setup.known import Known
    from setup.site import Host

EXAMPLES = """
orch hosts
orch hosts --json
"""


def add_arguments(parser: Parser) -> None:
    """Declare nothing: all hosts are listed."""


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """List them."""
    site, path = load_site(settings), site_file(settings)
    from setup.known import recall

    found = [(host, recall(settings.state, host.name)) for host in site.hosts.values()]
    out.json([_as_json(host, known) for host, known in found])
    out.table(["host", "reached by", "what is known", "seen", "findings"], [_row(*pair) for pair in found])
    out.note(f"from {path}" if path else f"there is no site file; yours would be {settings.user_file.parent}/site.yaml")
    if any(not (known and known.rows) for host, known in found if not (path and host.is_local)):
        out.next("orch doctor --all" if path else "orch doctor")
    return 0


def way_of(host: Host) -> str:
    """Return how a host is reached, in a few words: `ssh grace`, `paramiko alice@10.0.0.7:2222 via nodal`."""
    if host.is_local:
        return "this machine"
    place = host.ssh or host.address or ""
    place = f"{host.user}@{place}" if host.user else place
    port = f":{host.port}" if host.port else ""
    return f"{host.way} {place}{port}" + (f" via {host.jump}" if host.jump else "")


def _row(host: Host, known: Known | None) -> list[Any]:
    if known is None:
        return [host.name, way_of(host), "nothing yet", None, None]
    facts = known.facts.describe() if known.facts else "not measured"
    seen = f"{duration(time.time() - known.asked)} ago"
    if known.silent_since:
        seen += f"; silent since: {known.error}"
    findings = sum(row.state == "found" for row in known.rows) if known.rows else None
    return [host.name, way_of(host), facts, seen, findings]


def _as_json(host: Host, known: Known | None) -> dict[str, Any]:
    about: dict[str, Any] = {"name": host.name, "way": host.way, "reached": way_of(host), "home": host.home}
    if known is None:
        return {**about, "seen": None, "facts": None, "findings": None}
    rows = [row.to_json() for row in known.rows if row.state == "found"] if known.rows else None
    silence = {"silent_since": known.silent_since, "error": known.error}
    facts = known.facts.describe() if known.facts else None
    return {**about, "seen": known.asked, "facts": facts, "findings": rows, **silence}
