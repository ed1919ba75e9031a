"""`orch run`: one command as a job, without a file: its output here, its exit code passed on."""

from __future__ import annotations

import shlex
import sys
from argparse import REMAINDER, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.errors import NameTaken, UsageError
from jobs.folder import valid_name
from jobs.spec import JobSpec, Resources

from .. import filelist, ownership, placement, provenance, single, snapshot
from ..collect import every_host, own_index, refresh
from ..config import Settings
from ..dispatch import LOCAL, Contact
from ..places import Place, places_of
from ..store import Index
from ..words import counted
from .choosing import AUTO, MOST_NAMES, open_places
from .output import Output
from .parser import Parser

EXAMPLES = """
orch run -- python3 train.py --epochs 5
orch run --host grace --gpus 1 -- python3 train.py
orch run --host auto --detach -- ./simulate.sh 7
orch run --stdin < commands.txt
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument(
        "--host", metavar="HOST", default=LOCAL, help="a host of the site file, or auto: the one free first"
    )
    parser.add_argument("--cpus", type=int, metavar="N", default=1, help="cores (default: 1)")
    parser.add_argument("--gpus", type=int, metavar="N", default=0, help="cards (default: none)")
    parser.add_argument("--memory", metavar="4G", help="memory that it needs")
    parser.add_argument("--log-limit", metavar="64M", help="what its log may hold (default: 64 MiB)")
    parser.add_argument("--name", metavar="SWEEP", default=single.SWEEP, help="stand in this sweep (default: runs)")
    parser.add_argument("--stdin", action="store_true", help="take one shell command from each line of stdin")
    parser.add_argument("--detach", action="store_true", help="return as soon as it is queued")
    parser.add_argument("command", nargs=REMAINDER, metavar="-- COMMAND", help="the command, after two dashes")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Queue, follow, and pass the exit code on (1 where several were run and one failed)."""
    commands = _commands(args)
    if not valid_name(args.name):
        raise UsageError(f"'{args.name}' cannot name a sweep", "use letters, digits and . _ + -")
    memory = single.megabytes(args.memory) if args.memory else None
    log_mb = single.megabytes(args.log_limit, "--log-limit 64M") if args.log_limit else None
    resources = Resources(args.cpus, args.gpus, memory, log_mb=log_mb)
    hosts = every_host(settings) if args.host == AUTO else [args.host]
    with own_index(settings) as index, open_places(settings, hosts, None) as fleet:
        places = places_of(fleet, settings, None)
        place = places[_choose(index, places, resources)]
        specs = [
            replace(one, placement=_placement(place, args)) for one in _specs(commands, args, place, resources, out)
        ]
        contact = fleet.contacts[place.host]
        specs, answers = _submit(contact, index, specs, place, args.name)
        refresh(fleet, index, [specs[0].sweep])
        _tell(specs, place, out)
        if args.detach or args.stdin:
            out.json({"sweep": specs[0].sweep, "title": args.name, "host": place.host, "jobs": answers})
            out.next("orch status --watch")
            return 0
        code = _follow(contact, specs[0], out)
        refresh(fleet, index, [specs[0].sweep])
        return code


def _submit(
    contact: Contact, index: Index, specs: Sequence[JobSpec], place: Place, title: str
) -> tuple[list[JobSpec], list[dict[str, Any]]]:
    """Queue commands in our own sweep of that title; of a name that is another's another one is made."""
    taken: list[str] = []
    while True:
        named = [replace(one, sweep=ownership.single(index, title, taken)) for one in specs]
        record = {**single.record(named, place.host, provenance.now()), "title": title, "project": None}
        try:
            return named, contact.submitted(contact.post_submit(record, [one.to_json() for one in named]))
        except NameTaken as error:
            if len(taken) == MOST_NAMES:
                raise
            taken.append(str(error.context.get("name")))


def _commands(args: Namespace) -> list[tuple[str, ...]]:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.stdin:
        if words:
            raise UsageError("give commands on stdin or one after --, not both", "orch run --stdin < commands.txt")
        found = single.lines_to_commands(sys.stdin.read())
        if not found:
            raise UsageError("stdin holds no command", "write one command on each line")
        return found
    return [tuple(words)]


def _choose(index: Index, places: dict[str, Place], resources: Resources) -> str:
    """The host on which a job of this size would begin first."""
    if len(places) == 1:
        return next(iter(places))
    ahead = [row.host for row in index.jobs() if row.state in ("queued", "running")]
    offers = []
    for name, place in places.items():
        lanes = placement.lanes(resources, place.capacity())
        if lanes:
            offers.append(placement.Offer(name, name, lanes, None, ahead.count(place.shown)))
    if not offers:
        raise UsageError(f"no host has {counted(resources.gpus, 'GPU')} for it", "orch hosts lists what they have")
    return next(iter(placement.place([placement.Block("", ("job",))], offers).hosts.values()))


def _placement(place: Place, args: Namespace) -> dict[str, Any]:
    why = "it is free first" if args.host == AUTO else place.reason
    return {**place.placement, "reason": why}


def _specs(
    commands: Sequence[tuple[str, ...]], args: Namespace, place: Place, resources: Resources, out: Output
) -> list[JobSpec]:
    """Here a command runs in the current folder; elsewhere in a copy of it, without what git ignores and images."""
    here = Path.cwd()
    cwd, code = str(here), None
    if place.host != LOCAL:
        found = snapshot.project_code(here)
        for line in filelist.describe(found.left_out):
            out.note(line)
        taken = place.take(found)
        cwd, code = taken.path, taken.hash
    git, patch = provenance.git(here, (".",))
    place.keep_patch(patch)
    known = {**provenance.caller(), "git": git, "code": code, "created": provenance.now()}
    return [single.spec(argv, cwd, resources, place.variables(), args.name, known) for argv in commands]


def _tell(specs: Sequence[JobSpec], place: Place, out: Output) -> None:
    where = "this machine" if place.name == LOCAL else place.name
    if len(specs) == 1:
        out.note(f"{specs[0].label} on {where}: {shlex.join(specs[0].argv)}")
    else:
        out.note(f"{counted(len(specs), 'job')} queued on {where}. You can close this window: they go on alone.")


def _follow(contact: Contact, spec: JobSpec, out: Output) -> int:
    number, follows = 1, True
    while follows:  # what was killed is tried again, and is no end of the command
        _print_log(contact, spec, number, out)
        shown = contact.show(spec.sweep, spec.id)
        last = shown["attempts"][-1]
        follows = bool(shown["queued"]) or last["spec"]["attempt"] > number
        if follows:
            number += 1
            out.note(f"{spec.label} is tried again (attempt {number}): orch why {spec.label}")
    ended, verdict = last["exit"] or {}, last["verdict"]
    status = ended.get("status")
    out.json({"id": spec.id, "label": spec.label, "state": verdict["state"], "status": status})
    if status != 0:
        out.note(f"{spec.label} {verdict['state']}: {verdict['reason']}")
        out.next(f"orch why {spec.label}")
    return int(status) if isinstance(status, int) else 1


def _print_log(contact: Contact, spec: JobSpec, number: int, out: Output) -> None:
    try:
        for text in contact.log(spec.sweep, spec.id, number, 0, follow=True):
            if out.json_mode:
                out.json({"text": text})
            else:
                out.output(text)
    except KeyboardInterrupt:
        out.note(f"\nIt goes on. Come back with: orch logs {spec.label} -f\n  end it with: orch stop {spec.label}")
        raise
