"""`orch setup`: prepare a host: a plan of steps with reasons, then the steps; run again it does nothing."""

from __future__ import annotations

import contextlib
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.errors import Findings, NotFound, OrchError, UsageError
from jobs.wire import Wire

from ..config import Settings
from ..inventory import chosen, connect, load_site
from ..words import counted
from .asking import agreed, may_ask
from .output import Output
from .parser import Parser
from .steplines import StepLines

if TYPE_CHECKING:
    from setup.provision import Neighbour, Target
    from setup.site import Host
    from setup.steps import Planned, Step
    from setup.wheeltable import Row

HOME = "~/.orch"  # orch home on a host for which the site file names none
EXAMPLES = """
orch setup --host grace --dry-run
orch setup --host grace
orch setup --all --yes
orch setup --host grace --only environment,verification
orch setup --host grace --undo
orch setup --explain
orch setup --host grace --purge 14
orch setup --host grace --only vscode-local
orch setup --host grace --show ssh
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("--host", action="append", default=[], metavar="H", help="a host of the site file; repeatable")
    parser.add_argument("--all", action="store_true", help="every host of the site file, one after the other")
    parser.add_argument("--dry-run", action="store_true", help="print the plan with its reasons, change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--only", metavar="STEP,STEP", help="these steps only")
    parser.add_argument("--undo", action="store_true", help="take away what the steps made, after a list with bytes")
    parser.add_argument("--explain", action="store_true", help="print the table of torch wheels and the choice")
    parser.add_argument("--arch", metavar="A", help="refuse a host that is not of this architecture")
    parser.add_argument("--cpu", action="store_true", help="a build for the processor alone; never chosen by itself")
    parser.add_argument("--torch", metavar="VERSION", help="this version of torch and no other")
    parser.add_argument("--python-version", metavar="X.Y", help="Python of the environment (default: 3.12)")
    parser.add_argument("--wheels", metavar="URL", help="mirror of PyTorch's wheels; one index a backend lies below it")
    parser.add_argument("--channel", metavar="URL", help="mirror of conda-forge")
    parser.add_argument(
        "--wheelhouse", metavar="FOLDER", help="folder of wheels on the host, used when the index fails"
    )
    parser.add_argument("--miniforge", metavar="URL", help="installer; {arch} in it stands for the architecture")
    parser.add_argument(
        "--reset-vscode", action="store_true", help="park VS Code's server even if it fits or may be alive elsewhere"
    )
    parser.add_argument(
        "--vscode-local", action="store_true", help="let VS Code's server lie on each host's own disk, once and for all"
    )
    parser.add_argument(
        "--show",
        choices=("vscode", "ssh"),
        help="print what belongs on the laptop: settings of VS Code; ssh configuration, keys and fingerprint",
    )
    parser.add_argument(
        "--purge",
        type=float,
        nargs="?",
        const=30.0,
        metavar="DAYS",
        help="delete VS Code servers parked that long ago (default: 30), after a list with bytes",
    )


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Prepare one or several hosts; one that fails does not stop the others."""
    hosts = chosen(settings, args.host, args.all)
    if args.explain:
        return _explain(hosts, settings, args, out)
    if args.show:
        from .showing import show

        return show(args.show, hosts, settings, out)
    answers, failed = [], []
    for host in hosts:
        try:
            answers.append(_one(host, args, settings, out))
        except OrchError as error:
            if len(hosts) == 1:
                raise
            failed.append(error)
            answers.append({"host": host.name, "error": error.to_json()})
            out.warning(f"{host.name}: {error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""))
    out.json(answers[0] if len(answers) == 1 else answers)
    if failed:
        return failed[0].exit_code
    return Findings.exit_code if any(answer.get("refused") for answer in answers) else 0


def _one(host: Host, args: Namespace, settings: Settings, out: Output) -> dict[str, Any]:
    from setup.steps import apply, due, plan, select

    began = time.monotonic()
    with connect(host) as wire:
        if args.purge is not None:
            return _purge(wire, host, args, out)
        wanted = _target(_open(wire, host, args), host, args, settings)
        steps = select(_steps(wire, wanted, host, args, settings, out), args.only)
        if args.undo:
            return _undo(wire, host, steps, args, out)
        planned = plan(steps)
        waiting = due(planned)
        refused = [item.step.name for item in planned if item.state.refusal]
        told: dict[str, Any] = {"host": host.name, "steps": [item.to_json() for item in planned], "refused": refused}
        told |= {"changed": False, "torch": str(wanted.build), "notes": _notes(wanted)}
        _show(host, wanted, planned, bool(waiting or args.dry_run), out)
        if not waiting:
            seconds = time.monotonic() - began
            out.result(f"{host.name}: nothing to do (checked {counted(len(planned), 'step')}, {seconds:.1f} s)")
            return told
        if args.dry_run:
            out.next(f"orch setup --host {host.name}")
            return told
        if not agreed("Go on?", args.yes, out):
            raise OrchError("nothing was changed", f"orch setup --host {host.name} --yes goes on without asking")
        with StepLines(out) as lines:
            after = apply(planned, lines.tell)
        seconds = time.monotonic() - began
        out.result(f"{host.name} is ready ({seconds:.0f} s). Undo: orch setup --host {host.name} --undo")
        there = "" if host.is_local else f"ssh {host.name}, then there: "
        out.next(f"{there}orch sweep augmentations")
        return {**told, "steps": [item.to_json() for item in after], "changed": True}


def _open(wire: Wire, host: Host, args: Namespace) -> Wire:
    """Open the orch home there; one that is only looked at is not made."""
    with contextlib.suppress(*([NotFound] if args.dry_run else [])):
        wire.call("open", home=host.home or HOME, create=not (args.dry_run or args.undo))
    return wire


def _target(wire: Wire, host: Host, args: Namespace, settings: Settings) -> Target:
    from setup.provision import Place, Sources, target
    from setup.wheels import PYTHON, Wish

    wish = Wish(args.python_version or PYTHON, args.cpu, args.torch)
    sources = Sources(args.wheels, args.channel, args.wheelhouse, args.miniforge)
    neighbours = {} if args.cpu else _neighbours(host, settings)
    return target(wire, host.name, wish, Place(host.home or HOME, sources), neighbours, args.arch)


def _neighbours(host: Host, settings: Settings) -> dict[str, Neighbour]:
    """The other hosts of the site as last known: one version shall fit all of them."""
    from setup.known import recall
    from setup.provision import Neighbour

    found = {}
    for name, other in load_site(settings).hosts.items():
        known = recall(settings.state, name) if name != host.name and not other.is_local else None
        if known and known.facts:
            shares = bool(other.shared_home) and other.shared_home == host.shared_home
            found[name] = Neighbour(known.facts, shares)
    return found


def _steps(wire: Wire, wanted: Target, host: Host, args: Namespace, settings: Settings, out: Output) -> list[Step]:
    from setup import provision, vscode, vscode_local

    base = vscode_local.base_of(host, load_site(settings).hosts.values())
    always = [*provision.steps(wire, wanted), vscode.step(wire, force=args.reset_vscode)]
    asked = args.vscode_local or vscode_local.NAME in (args.only or "").split(",")
    if asked or vscode_local.is_wanted(wire, base) or _accepts_link(host, args, out):
        return [*always, vscode_local.step(wire, base)]
    return always


def _accepts_link(host: Host, args: Namespace, out: Output) -> bool:
    """Offer the permanent cure where hosts share a home: only to a person at a terminal, never by `--yes`."""
    silent = args.yes or args.dry_run or args.undo or args.only or not host.shared_home
    if silent or not may_ask():
        return False
    return agreed(
        "Let VS Code's server lie on this host's own disk (--vscode-local)? It cures it for good.", False, out
    )


def _notes(wanted: Target) -> list[str]:
    left_out = [f"{name} has no say: {why}" for name, why in wanted.choice.left_out.items()]
    return [*wanted.choice.warnings, *wanted.notes, *left_out]


def _show(host: Host, wanted: Target, planned: Sequence[Planned], reasons: bool, out: Output) -> None:
    if not reasons:
        return
    out.note(f"{host.name}  {wanted.facts.describe()}")
    for number, (step, state) in enumerate(planned, 1):
        text = state.refusal and f"refused: {state.refusal}"
        out.note(f"  {number} {step.name:<13} {text or state.text}")
        if not state.done:
            out.note(f"    {'':<13} why: {step.reason}")
    for note in _notes(wanted):
        out.warning(note)


def _undo(wire: Wire, host: Host, steps: Sequence[Step], args: Namespace, out: Output) -> dict[str, Any]:
    from setup.steps import removals, undo

    found = removals(steps)
    for step, removal in found:
        size = f"  ({removal.bytes / 1e9:.2f} GB)" if removal.bytes else ""
        out.note(f"  {step.name:<13} {removal.text}{size}")
    listed = [{"step": step.name, **item._asdict()} for step, item in found]
    told: dict[str, Any] = {"host": host.name, "undone": [], "would_undo": listed}
    if not found:
        out.result(f"{host.name}: nothing to undo")
        return told
    if args.dry_run:
        return told
    if not agreed("Undo this?", args.yes, out):
        raise OrchError("nothing was changed", f"orch setup --host {host.name} --undo --yes goes on without asking")
    with StepLines(out) as lines:
        done = undo(found, lines.tell)
    out.result("\n".join(f"{host.name}: {text}" for text in done))
    return {**told, "undone": done}


def _purge(wire: Wire, host: Host, args: Namespace, out: Output) -> dict[str, Any]:
    """Delete what was parked of VS Code, after a list with bytes and a yes."""
    from setup import vscode

    seen: list[dict[str, Any]] = []

    def agree(rows: Sequence[Mapping[str, Any]]) -> bool:
        seen.extend(map(dict, rows))
        out.note(vscode.listed(rows))
        return not args.dry_run and agreed("Delete these?", args.yes, out)

    gone = vscode.purge(wire, args.purge, agree)
    out.result(f"{host.name}: {counted(len(gone['paths']), 'folder')} deleted, {gone['bytes']:,} bytes")
    return {"host": host.name, "would_purge": seen, "purged": gone["paths"], "bytes": gone["bytes"]}


def _explain(hosts: Sequence[Host], settings: Settings, args: Namespace, out: Output) -> int:
    """Print the table, and what it means for the hosts that are known; asks no host."""
    from setup.known import recall
    from setup.wheels import PYTHON, Wish, choose
    from setup.wheeltable import table

    if args.undo:
        raise UsageError("--explain only prints, --undo takes away", "leave one of the two out")
    known = {name: recall(settings.state, name) for name in load_site(settings).hosts}
    facts = {name: one.facts for name, one in known.items() if one and one.facts}
    answer: dict[str, Any] = {"rows": [row._asdict() for row in table().rows], "choice": None, "refused": []}
    columns = ["torch", "backend", "arch", "python", "driver", "code for sm_", "triton", "until", "seen", "source"]
    lines = [_cells(row) for row in table().rows]
    out.table(columns, lines)
    if facts:
        choice = choose(facts, table(), Wish(args.python_version or PYTHON, args.cpu, args.torch), wanted=[])
        answer["choice"] = {name: str(build) for name, build in choice.builds.items()}
        answer["refused"] = [*choice.refused, *(f"{name}: {why}" for name, why in choice.left_out.items())]
        for name, build in choice.builds.items():
            out.note(f"{name}: {build} ({choice.reason})")
        for text in (*answer["refused"], *choice.warnings):
            out.note(f"  {text}")
    else:
        out.note("No host is known yet: orch doctor --all measures them.")
    out.json(answer)
    return 0


def _cells(row: Row) -> list[str | None]:
    head = [row.torch, row.backend, row.arch, row.python, row.min_driver]
    return [*head, " ".join(row.sass), "yes" if row.triton else "no", row.until, row.seen, row.source]
