"""`orch host`: a person's word that a host will not come back, and how our jobs share a host's cards."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.errors import NotFound, Unreachable, UsageError

from ..collect import every_host, own_index, refresh
from ..config import Settings
from ..dispatch import Contact, user
from ..fleet import Fleet
from ..store import Index
from ..words import counted, did_you_mean
from .output import Output
from .parser import Parser

EXAMPLES = """
orch host declare-dead ada --dry-run
orch host declare-dead ada --yes
orch host courtesy nodal --days 30
"""


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
    shared = parser.add_verb(
        "courtesy",
        "Who is on its cards, when our jobs waited or stepped aside: to show to a colleague",
        "orch host courtesy nodal",
    )
    shared.add_argument("host", help="name of the site file")
    shared.add_argument("--days", type=float, metavar="N", default=7.0, help="days to look back (default: 7)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Do what the verb says."""
    if args.verb == "courtesy":
        from .courtesies import show

        return show(args.host, args.days, settings, out)
    return _dead(args, settings, out)


def _dead(args: Namespace, settings: Settings, out: Output) -> int:
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
