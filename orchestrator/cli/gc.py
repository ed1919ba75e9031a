"""`orch gc`: free space in the orch homes of hosts; what may go is listed, parked, and deleted only later."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jobs.clearing import HALF_MADE, KINDS, NONE, RULES, SUPERSEDED
from jobs.errors import NotFound, OrchError, Unreachable, UsageError

from ..collect import every_host
from ..config import Settings
from ..dispatch import Contact, user
from ..fleet import Fleet
from ..policies import seconds
from ..price import size
from ..progress import duration
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch gc
orch gc --host grace --checkpoints best --yes
orch gc --empty-parked --older-than 14d --yes
orch gc --restore code-20261125-120000-1 --host grace
"""

PARK_AFTER, EMPTY_AFTER = "7d", "14d"  # ages from which things may be parked, and parked things deleted
Told = dict[str, dict[str, Any]]  # what each host said, by its name


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("--host", action="append", default=[], metavar="H", help="a host; repeatable (default: all)")
    parser.add_argument(
        "--checkpoints",
        choices=RULES,
        default=SUPERSEDED,
        help="which may go: superseded (a later result counts; default), best (all but each job's best), none",
    )
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        help=f"not used for this long (default: {PARK_AFTER}, at least 1h); with --empty-parked: parked for this long "
        f"(default: {EMPTY_AFTER})",
    )
    parser.add_argument("--yes", action="store_true", help="do it; without it only the list is shown")
    parser.add_argument("--dry-run", action="store_true", help="only the list, also with --yes")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--parked", action="store_true", help="list what is parked")
    what.add_argument("--empty-parked", action="store_true", help="delete for good what was parked long ago")
    what.add_argument("--restore", metavar="NAME", help="bring a parked item back to its place")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Ask each host once, side by side."""
    age = _age(args)
    with Fleet.open(settings, list(dict.fromkeys(args.host)) or every_host(settings), create=False) as fleet:
        act = _restore if args.restore else _parked if args.parked or args.empty_parked else _clear
        code = act(args, age, fleet, out)
        for name, error in fleet.silent.items():
            out.warning(f"{name} does not answer: {error.message}")
    return code


def _age(args: Namespace) -> float:
    given = args.older_than or (EMPTY_AFTER if args.empty_parked else "0s" if args.parked else PARK_AFTER)
    age = 0.0 if given in ("0", "0s") else seconds(given)
    if age is None:
        raise UsageError(f"'{given}' is no time", "--older-than 14d; units are s, m, h, d")
    return age


def _clear(args: Namespace, age: float, fleet: Fleet, out: Output) -> int:
    """List what may go; with `--yes` park it."""
    do = args.yes and not args.dry_run
    first = _first_of_homes(fleet)
    verb, more = ("gc_park", {"by": user()}) if do else ("gc_look", {})

    def ask(contact: Contact) -> dict[str, Any]:
        kinds = KINDS if contact.name in first else (HALF_MADE,)  # each host proves the death of its own processes only
        rule = args.checkpoints if contact.name in first else NONE
        return contact.wire.call(verb, older=age, rule=rule, kinds=kinds, **more)

    told, failed = _each(fleet, ask)
    rows = [(host, item) for host, said in told.items() for item in said["parked" if do else "items"]]
    left = [(host, item) for host, said in told.items() for item in said.get("left", ())]
    _list(rows, out)
    for host, item in left:
        out.note(f"{host}: {item['name']} stays: {item['reason']}")
    out.json({"hosts": told, "parked" if do else "would_park": _totals(item for _, item in rows), **failed})
    _sum_up(rows, do, out)
    if not do:
        _tell_parked({host: said for host, said in told.items() if host in first}, out)
    return _code(failed, out)


def _list(rows: list[tuple[str, Mapping[str, Any]]], out: Output) -> None:
    if not rows:
        return
    cells = [
        [
            host,
            item["kind"],
            item.get("what", item["name"]),
            size(item["bytes"]),
            item["files"],
            _old(item),
            item["why"],
        ]
        for host, item in rows
    ]
    out.table(["host", "kind", "what", "size", "files", "unused for", "why it is safe"], cells)


def _old(item: Mapping[str, Any]) -> str:
    days = item["age_s"] / 86400
    return f"{days:.0f} d" if days >= 2 else duration(item["age_s"])


def _totals(items: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    totals: dict[str, dict[str, int]] = {}
    for item in items:
        for kind in (item["kind"], "all"):
            sums = totals.setdefault(kind, {"items": 0, "bytes": 0, "files": 0})
            sums["items"] += 1
            sums["bytes"] += item["bytes"]
            sums["files"] += item["files"]
    return totals


def _sum_up(rows: list[tuple[str, Mapping[str, Any]]], done: bool, out: Output) -> None:
    totals = _totals(item for _, item in rows)
    everything = totals.pop("all", None)
    if everything is None:
        out.result("nothing was parked" if done else "nothing may go")
        return
    for kind, sums in totals.items():
        out.note(f"  {kind}: {counted(sums['items'], 'item')}, {size(sums['bytes'])}, {counted(sums['files'], 'file')}")
    amount = f"{counted(everything['items'], 'item')}, {size(everything['bytes'])}"
    if done:
        out.result(f"{amount} parked: they take their space until orch gc --empty-parked --yes")
        out.next("orch gc --parked lists them; orch gc --restore NAME brings one back")
    else:
        out.result(f"{amount} may go; nothing was changed")
        out.next("the same with --yes parks them: they can be brought back")


def _tell_parked(told: Told, out: Output) -> None:
    parked = [item for said in told.values() for item in said["parked"]]
    if parked:
        out.note(f"parked: {counted(len(parked), 'item')}, {size(sum(item['bytes'] for item in parked))}")


def _parked(args: Namespace, age: float, fleet: Fleet, out: Output) -> int:
    """List what is parked; with `--empty-parked --yes` delete what was parked long ago."""
    do = args.empty_parked and args.yes and not args.dry_run
    first = _first_of_homes(fleet)

    def ask(contact: Contact) -> dict[str, Any]:
        if contact.name not in first:
            return {"parked": [], "deleted": []}
        return contact.wire.call("gc_empty" if do else "gc_parked", older=age)

    told, failed = _each(fleet, ask)
    rows = [(host, item) for host, said in told.items() for item in said["deleted" if do else "parked"]]
    out.json({"hosts": told, "deleted" if do else "parked": _totals(item for _, item in rows), **failed})
    cells = [
        [host, item["name"], item["what"], size(item["bytes"]), item["files"], item["by"], item["why"]]
        for host, item in rows
    ]
    if cells:
        out.table(["host", "name", "what", "size", "files", "parked by", "why"], cells)
    amount = f"{counted(len(rows), 'item')}, {size(sum(item['bytes'] for _, item in rows))}"
    out.result(f"{amount} {'deleted' if do else 'parked'}" if rows else "nothing is parked for that long")
    if rows and args.empty_parked and not do:
        out.next("the same with --yes deletes them for good")
    return _code(failed, out)


def _restore(args: Namespace, age: float, fleet: Fleet, out: Output) -> int:
    """Bring one item back, on the one host that has it."""
    first = _first_of_homes(fleet)
    having = [
        contact
        for contact in fleet.contacts.values()
        if contact.name in first
        and any(item["name"] == args.restore for item in contact.wire.call("gc_parked")["parked"])
    ]
    if not having:
        raise NotFound(f"nothing is parked as {args.restore}", "orch gc --parked lists what is")
    if len(having) > 1:
        names = ", ".join(contact.name for contact in having)
        raise UsageError(f"{args.restore} is parked on {names}", "name one: --host H")
    item = having[0].wire.call("gc_restore", name=args.restore)["restored"]
    out.json({"host": having[0].name, "restored": item})
    out.result(f"{having[0].name}: {item['what']} is back ({size(item['bytes'])})")
    return 0


def _first_of_homes(fleet: Fleet) -> set[str]:
    """One host for each orch home: it speaks for what they share."""
    return set({contact.home_id: name for name, contact in reversed(fleet.contacts.items())}.values())


def _each(fleet: Fleet, ask: Callable[[Contact], dict[str, Any]]) -> tuple[Told, dict[str, Any]]:
    """Ask all; one that refuses does not stop the others. The second is `{"failed": {host: error}}`, or empty."""

    def guarded(contact: Contact) -> dict[str, Any] | OrchError:
        try:
            return ask(contact)
        except Unreachable:
            raise
        except OrchError as error:
            return error

    several = len(fleet.contacts) > 1
    answers = fleet.each(guarded if several else ask)
    failed = {name: said.to_json() for name, said in answers.items() if isinstance(said, OrchError)}
    told = {name: said for name, said in answers.items() if name not in failed}
    return told, {"failed": failed} if failed else {}


def _code(failed: Mapping[str, Any], out: Output) -> int:
    for name, error in failed.get("failed", {}).items():
        out.warning(f"{name}: {error['message']} ({error['hint']})")
    return 1 if failed else 0
