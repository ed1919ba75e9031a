"""`orch host`: what a person says of a host (it will not come back), and what can be said of us there (courtesy)."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from jobs import guestbook
from jobs.errors import NotFound, Unreachable, UsageError

from ..collect import every_host, own_index, refresh
from ..config import Settings
from ..dispatch import Contact, user
from ..fleet import Fleet
from ..progress import duration
from ..store import Index
from ..words import counted, did_you_mean
from .output import Output
from .parser import Parser

EXAMPLES = """
orch host declare-dead ada --dry-run
orch host declare-dead ada --yes
orch host courtesy nodal
"""

_WORDS = {
    guestbook.WAITS: "waits",
    guestbook.BEGINS: "begins",
    guestbook.ASKED: "steps aside",
    guestbook.LEFT: "has left the card",
}


def add_arguments(parser: Parser) -> None:
    """Declare the verb."""
    dead = parser.add_verb(
        "declare-dead",
        "End what a lost host has begun, take back what waits there; its results count no more",
        "orch host declare-dead ada --yes",
    )
    dead.add_argument("host", help="name of the site file, or the machine's own name")
    dead.add_argument("--yes", action="store_true", help="do it; without it only the list is shown")
    dead.add_argument("--dry-run", action="store_true", help="only show what it would concern")

    polite = parser.add_verb(
        "courtesy",
        "Show who is on a host's cards, and when our jobs waited or stepped aside: for a colleague to read",
        "orch host courtesy nodal --days 7",
    )
    polite.add_argument("host", help="name of the site file")
    polite.add_argument("--days", type=float, default=7.0, metavar="N", help="how far to look back (default: 7)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Do what the verb says."""
    return _courtesy(args, settings, out) if args.verb == "courtesy" else _declare_dead(args, settings, out)


def _courtesy(args: Namespace, settings: Settings, out: Output) -> int:
    with Contact(settings, create=False, host=args.host) as contact:
        told = contact.wire.call("courtesies", since=time.time() - args.days * 86400)
    out.json({"host": args.host, **told})
    out.result(f"{args.host}: {_wishes(told['wishes'])}")
    for item in told["now"]:
        out.result(f"  GPU {item['card']} now: {item['who']}")
    rows = [[time.strftime("%d %b %H:%M:%S", time.localtime(line["t"])), *_told(line)] for line in told["lines"]]
    out.table(["when", "what", "job", "for whom"], rows)
    if not rows:
        out.note(f"Nobody was in the way in the last {args.days:g} days.")
    return 0


def _wishes(wishes: Mapping[str, Any]) -> str:
    parts = [f"a card is ours while others hold at most {wishes['foreign_mb']:g} MB of it"]
    if wishes["free_mb"]:
        parts.append(f"{wishes['free_mb']:g} MB free before a job starts")
    if wishes["quiet_hours"]:
        parts.append(f"quiet hours {', '.join(wishes['quiet_hours'])}")
    return "; ".join([*parts, f"jobs look every {wishes['look_s']:g} s and have {wishes['grace_s']:g} s to leave"])


def _told(line: Mapping[str, Any]) -> list[str]:
    took = next((f" ({duration(line[key])})" for key in ("took_s", "waited_s") if line.get(key) is not None), "")
    return [_WORDS.get(line["what"], line["what"]) + took, str(line.get("job", "")), str(line.get("reason", ""))]


def _declare_dead(args: Namespace, settings: Settings, out: Output) -> int:
    """List what it concerns; with `--yes` do it."""
    with own_index(settings) as index, Fleet.open(settings, every_host(settings), create=False) as fleet:
        if args.host in fleet.contacts:
            raise UsageError(f"{args.host} answers: it is not dead", "orch stop ends its jobs: orch status --refresh")
        refresh(fleet, index)
        rows = [row for row in index.jobs() if row.host == args.host and row.state == "unreachable"]
        machines = _machines(index, fleet, args.host)
        labels = [f"{row.label} ({row.sweep}, last known: {row.known_state or 'nothing'})" for row in rows]
        out.note(f"{args.host}: {counted(len(rows), 'job')} of which no end is known")
        for label in labels:
            out.note(f"  {label}")
        if args.dry_run or not args.yes:
            return _only_shown(args, labels, out)
        done = [_declare(contact, machine) for machine, contact in machines]
        refresh(fleet, index)
    ended, taken = ([item for one in done for item in one[key]] for key in ("ended", "withdrawn"))
    out.json({"host": args.host, "ended": ended, "withdrawn": taken})
    out.result(
        f"{args.host} was declared dead: {counted(len(ended), 'job')} ended, {counted(len(taken), 'job')} taken back. "
        "Should it come back, their results do not count."
    )
    sweeps = sorted({row.sweep for row in rows})
    out.next(f"orch sweep {sweeps[0]}: the holes are filled on the other hosts" if sweeps else "orch status")
    return 0


def _only_shown(args: Namespace, labels: list[str], out: Output) -> int:
    out.json({"host": args.host, "jobs": labels})
    if args.dry_run:
        return 0
    raise UsageError(
        "declaring a host dead ends its jobs here, also those that still run there unseen", "add --yes if it is so"
    )


def _machines(index: Index, fleet: Fleet, host: str) -> list[tuple[str, Contact]]:
    """The machine's own name in each orch home that another host can reach, with that host."""
    known = index.machines()
    pairs = [(home, name) for (home, name), shown in known.items() if host in (shown, name)]
    if not pairs:
        names = sorted({*known.values()})
        raise NotFound(f"no host '{host}' ever ran a job{did_you_mean(host, names)}", f"known: {', '.join(names)}")
    found = [(name, contact) for home, name in pairs if (contact := fleet.of_home(home))]
    if not found:
        text = f"no other host has the orch home of {host}: nobody can write down that it is dead"
        raise Unreachable(text, "its jobs can be run elsewhere under another name: orch sweep NAME --name NAME-2")
    return found


def _declare(contact: Contact, machine: str) -> dict[str, Any]:
    return contact.wire.call("declare_dead", machine=machine, by=user())
