"""`orch doctor`: measured truths of each host, side by side, each with evidence and repair."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.errors import Findings, UsageError

from ..config import Settings
from ..inventory import chosen, connect
from ..snapshot import the_trainer
from ..words import counted
from .asking import agreed
from .output import Output
from .parser import Parser

if TYPE_CHECKING:
    from setup.examination import Examination
    from setup.rows import Row
    from setup.site import Host

OURS = "this orch"  # section of what concerns this machine's orch and no host

EXAMPLES = """
orch doctor
orch doctor --host grace
orch doctor --all --json
orch doctor --host grace --fix
orch doctor --all --report > hosts.md
orch doctor --parity
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("--host", action="append", default=[], metavar="H", help="a host of the site file; repeatable")
    parser.add_argument("--all", action="store_true", help="every host of the site file, side by side")
    parser.add_argument(
        "--fix", action="store_true", help="do the repairs that lose nothing (VS Code), then look again"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before a repair")
    parser.add_argument(
        "--parity", action="store_true", help="instead: do the hosts compute the same on one fixed batch?"
    )
    parser.add_argument("--report", action="store_true", help="print Markdown, for a mail to the administrator")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Examine, remember, show; the exit code is 6 when something was found."""
    if args.parity:
        return _parity(args, settings, out)
    hosts = chosen(settings, args.host, args.all)
    from setup import owners
    from setup.examination import examine_all
    from setup.known import remember

    found = examine_all(hosts, connect)
    if args.fix and _fix(found, hosts, args.yes, out):
        found = examine_all(hosts, connect)
    for examination in found:
        remember(settings.state, examination)
    ours = owners.rows()
    out.json({"orch": [row.to_json() for row in ours], "hosts": [examination.to_json() for examination in found]})
    _show({OURS: ours, **{examination.host: examination.rows for examination in found}}, args.report, out)
    _next(found, args, out)
    return _exit_code(ours, found)


def _next(found: Sequence[Examination], args: Namespace, out: Output) -> None:
    """Name the repair that most people want next: what was found first, else environments that are not there yet."""
    repairs = [row.repair for one in found for row in one.findings if row.repair.startswith("orch setup ")]
    lacking = [row.repair for one in found for row in one.rows if row.check == "environment" and row.repair]
    if repairs:
        out.next(repairs[0])
    elif lacking and not args.report:
        out.next("orch setup --all" if args.all and len(lacking) > 1 else lacking[0])


def _exit_code(ours: Sequence[Row], found: Sequence[Examination]) -> int:
    if len(found) == 1 and found[0].error:
        return found[0].error.exit_code
    wrong = any(row.state == "found" for row in ours) or any(examination.findings for examination in found)
    return Findings.exit_code if wrong else 0


def _parity(args: Namespace, settings: Settings, out: Output) -> int:
    """Let the hosts compute (all of the site unless some are named) and compare; 6 when they disagree."""
    if args.fix:
        raise UsageError("--parity compares, there is nothing that --fix could do", "leave one of the two out")
    hosts = chosen(settings, args.host, args.all or not args.host)
    from setup import parity
    from setup.environment import find

    python = settings.value("python")

    def here(host: Host) -> str:
        return find(str(python.value), python.origin, home=host.home).python

    answers = parity.ask_all(hosts, connect, the_trainer().packed(), here)
    rows = parity.judge(answers)
    out.json([{**answer.to_json(), "rows": [row.to_json() for row in rows[answer.host]]} for answer in answers])
    _show(rows, args.report, out)
    if len(answers) == 1 and answers[0].error:
        return answers[0].error.exit_code
    return Findings.exit_code if any(row.state == "found" for listed in rows.values() for row in listed) else 0


def _fix(found: Sequence[Examination], hosts: Sequence[Host], yes: bool, out: Output) -> bool:
    """Do what can be done without losing anything; tell whether anything was done."""
    from setup import vscode

    done = False
    for examination, host in zip(found, hosts, strict=True):
        if any(row.check == "vs code" for row in examination.findings):
            with connect(host) as wire:
                planned = vscode.check(wire)
                out.note(f"{host.name}: {planned.text}")
                if planned.moves and agreed("Go on?", yes, out):
                    done = vscode.reset(wire)["changed"] or done
    return done


def _show(sections: dict[str, list[Row]], report: bool, out: Output) -> None:
    if report:
        out.result(_markdown(sections))
    elif out.terminal:
        for name, rows in sections.items():
            out.result(f"{name}")
            out.table(["", "check", "evidence", "repair"], [_cells(row) for row in rows])
    else:
        columns = ["host", "state", "check", "evidence", "repair"]
        out.table(columns, [[name, *_cells(row)] for name, rows in sections.items() for row in rows])
    count = sum(row.state == "found" for rows in sections.values() for row in rows)
    out.note(f"{counted(count, 'finding')} on {counted(len(sections.keys() - {OURS}), 'host')}")


def _cells(row: Row) -> list[str]:
    return [row.state, row.check, row.evidence, row.repair]


def _markdown(sections: dict[str, list[Row]]) -> str:
    parts = [f"# Hosts, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}"]
    for name, rows in sections.items():
        lines = [f"| {' | '.join(map(_cell, _cells(row)))} |" for row in rows]
        parts.append(
            "\n".join([f"## {name}", "", "| state | check | evidence | repair |", "|---|---|---|---|", *lines])
        )
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
