"""`orch handover`: a host's orch home is copied to group storage, verified, before its owner's account is deleted."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import UsageError

from ..collect import every_host
from ..config import Settings
from ..dispatch import LOCAL, Contact
from ..fleet import Fleet
from ..price import size
from ..words import counted, listed
from .output import Output
from .parser import Parser
from .steplines import StepLines

EXAMPLES = """
orch handover --to /data/group/orch --dry-run
orch handover --host grace --to /data/group/orch
orch handover --host grace --to /data/group/orch --as runs=runs-ana
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("--host", metavar="H", default=LOCAL, help="whose orch home (default: this machine's)")
    parser.add_argument(
        "--to", metavar="FOLDER", required=True, help="the group's orch home on that host; made if missing"
    )
    parser.add_argument(
        "--as",
        dest="named",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="give a sweep another name there; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be copied")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Plan, copy, verify; end with what may be deleted."""
    named = _names(args.named)
    with Fleet.open(settings, list(dict.fromkeys([args.host, *every_host(settings)])), create=False) as fleet:
        contact = fleet.of(args.host)
        asked = [one for one in fleet.contacts.values() if one.home_id == contact.home_id]
        ended = [row for one in asked for row in one.wire.call("handover_proofs")["ended"]]
        to = str(Path(args.to).expanduser().absolute()) if args.host == LOCAL else args.to
        wanted = {"to": to, "named": named, "ended": ended}
        plan = contact.wire.call("handover_look", **wanted)
        _tell(plan, contact, out)
        for name, error in fleet.silent.items() if plan["open"] else ():
            out.warning(f"{name} does not answer, and may know more: {error.message}")
        if args.dry_run:
            out.json(plan)
            _tell_obstacles(plan, out)
            out.result(f"{_amount(plan['copy'])} would be copied; nothing was changed")
            return 1 if plan["open"] or plan["conflicts"] else 0
        done = _copy(contact, wanted, out)
    out.json(done)
    return _tell_end(done, args.host, contact, out)


def _names(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    wrong = next((one for one, (old, _, new) in zip(given, pairs, strict=True) if not (old and new)), None)
    if wrong is not None:
        raise UsageError(f"'{wrong}' names no two sweeps", "--as OLD=NEW")
    return {old: new for old, _, new in pairs}


def _copy(contact: Contact, wanted: Mapping[str, Any], out: Output) -> dict[str, Any]:
    stream = contact.wire.stream("handover", **wanted)
    with StepLines(out, [contact.shown]) as lines:
        tell = lines.of(contact.shown)
        while True:
            try:
                done, total = next(stream)
            except StopIteration as stop:
                return dict(stop.value)
            tell("copying", f"Progress {done} of {total}")


def _tell(plan: Mapping[str, Any], contact: Contact, out: Output) -> None:
    kind = "new" if plan["new"] else "there already"
    out.note(f"{contact.shown}: {contact.home} -> {plan['to']} ({kind}; readable by the group {plan['group']})")
    names = [row["name"] if row["as"] == row["name"] else f"{row['name']} as {row['as']}" for row in plan["sweeps"]]
    attempts = sum(row["attempts"] for row in plan["sweeps"])
    out.note(f"  {counted(len(names), 'sweep')}, {counted(attempts, 'attempt')}: {listed(names)}")
    if plan["data"]:
        out.note(f"  {counted(len(plan['data']), 'data set')}: {listed(plan['data'])}")
    room = plan["room"]["free_bytes"]
    free = f"; {size(room)} free there" if room is not None else ""
    here = f", {_amount(plan['here'])} there already" if plan["here"]["files"] else ""
    out.note(f"  to copy: {_amount(plan['copy'])}, {counted(plan['notes'], 'note')}{here}{free}")
    for row in plan["outside"]:
        volumes = f"{counted(row['files'], 'volume')} of the data set {row['data']}"
        out.warning(f"{volumes} will go with the account ({row['folder']}): only its registration is copied")
    if plan["known"]:
        out.note(f"  registered there with the same contents: {listed(plan['known'])}; that registration counts")
    if plan["data"] and not plan["same_names"]:
        out.warning("patients have other pseudonyms there: results of before and after are not matched by patient")
    if plan["left_out"]:
        out.warning(f"links, special files and what cannot be read are left out: {listed(plan['left_out'])}")


def _tell_obstacles(plan: Mapping[str, Any], out: Output) -> None:
    for row in plan["open"]:
        out.warning(f"{row['sweep']} {row['job']} attempt {row['attempt']}: {row['why']}")
    for name in plan["conflicts"]:
        out.warning(f"{name}: other contents stand under this name in {plan['to']}")


def _tell_end(done: Mapping[str, Any], host: str, contact: Contact, out: Output) -> int:
    here = f"{_amount(done['here'])} were there already" if done["here"]["files"] else ""
    if done["copy"]["files"]:
        copied = f"{_amount(done['copy'])} copied to {done['to']}, each file verified by SHA-256"
        out.result("; ".join(filter(None, [copied, here])))
    else:
        out.result(f"nothing new to copy; {here}" if here else "there is nothing to copy")
    if done["added"]:
        out.warning("something was added meanwhile; the same command again brings it along")
        return 1
    gone = done["deletable"]
    out.note(f"may be deleted on {contact.shown} once the group has looked: {gone['path']} ({_amount(gone)})")
    if host == LOCAL:
        out.next(f"orch config home {shlex.quote(done['to'])}")
    else:
        out.next(f"in the site file, below {host}:  home: {done['to']}")
    return 0


def _amount(sums: Mapping[str, int]) -> str:
    return f"{size(sums['bytes'])} in {counted(sums['files'], 'file')}"
