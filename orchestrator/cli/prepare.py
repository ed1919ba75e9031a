"""`orch setup`: prepare hosts: a plan of steps with reasons, then the steps; run again it does nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.errors import UsageError

from ..config import Settings
from ..inventory import chosen, load_site
from .output import Output
from .parser import Parser

if TYPE_CHECKING:
    from setup.site import Host
    from setup.wheeltable import Row

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
    parser.add_argument("--all", action="store_true", help="every host of the site file, side by side")
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
    """Prepare hosts side by side; one that fails does not stop the others."""
    hosts = chosen(settings, args.host, args.all)
    if args.explain:
        return _explain(hosts, settings, args, out)
    if args.show:
        from .showing import show

        return show(args.show, hosts, settings, out)
    from .preparing import prepare

    return prepare(hosts, args, settings, out)


def _explain(hosts: Sequence[Host], settings: Settings, args: Namespace, out: Output) -> int:
    """Print the table, and what it means for the hosts that are known; asks no host."""
    from setup.known import recall
    from setup.wheels import CPU, PYTHON, Wish, choose
    from setup.wheeltable import table

    if args.undo:
        raise UsageError("--explain only prints, --undo takes away", "leave one of the two out")
    known = {name: recall(settings.state, name) for name in load_site(settings).hosts}
    facts = {name: one.facts for name, one in known.items() if one and one.facts}
    answer: dict[str, Any] = {"rows": [row._asdict() for row in table().rows], "choice": None, "refused": []}
    columns = ["torch", "backend", "arch", "python", "driver", "code for sm_", "triton", "until", "source"]
    shown = [row for row in table().rows if (row.backend == CPU) == args.cpu]
    out.table(columns, [_cells(row) for row in shown])
    if not args.cpu:
        out.note("Builds for the processor alone: orch setup --explain --cpu")
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
    return [*head, " ".join(row.sass), "yes" if row.triton else "no", row.until, f"{row.seen}: {row.source}"]
