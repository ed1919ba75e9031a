"""`orch report`: the comparison table and the curves, as files to read, mail and paste."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import Findings, UsageError
from jobs.folder import valid_name

from .. import versions
from ..collect import fresh_index
from ..config import Settings
from ..naming import Names
from ..project import is_project
from ..store import SweepRow
from .output import Output
from .parser import Parser
from .picking import told_missing

if TYPE_CHECKING:
    from ..report import Summary

EXAMPLES = """
orch report augmentations
orch report augmentations --out ~/thesis/figures
orch report augmentations --version 1
orch report
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweep", nargs="?", help="the sweep (default: this project's newest)")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the files (default: report/SWEEP in its project)")
    parser.add_argument(
        "--version", type=int, metavar="N", help="as the sweep was before its file changed (default: as it is now)"
    )


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Write the report; exit 6 when cells are missing from it."""
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        title, number = versions.split_version(args.sweep or "")
        sweep = names.find(title) if args.sweep else _newest(names)
        wanted = args.version or number
        record = index.sweep(sweep.name).record
        versions.at(record, wanted, names.word(sweep))  # unknown names are told before anything heavy is imported
        told_missing(fleet, index, index.jobs(sweep.name), out)
        from ..report import build, write

        report = build(index, sweep.name, wanted)
    shown = report.summary
    identity = {"sweep": sweep.name, "title": sweep.title, "project": sweep.project.get("id")}
    identity = {**identity, "owner": sweep.login or None, "version": shown.version}
    folder = Path(args.out).expanduser().absolute() if args.out else _folder(names, sweep, shown, identity)
    written = write(report, folder, identity)
    table = report.table
    heads = [column.name for column in table.columns]
    files = [str(path) for path in written.paths]
    out.json({**identity, "headline": report.headline, "columns": heads, "rows": table.rows, "files": files})
    out.result(report.headline)
    out.table(heads, table.texts())
    for warning in report.warnings:
        out.warning(warning)
    out.result(f"report: {written.paths[0]}")
    return Findings.exit_code if shown.holes else 0


def _folder(names: Names, sweep: SweepRow, shown: Summary, identity: Mapping[str, Any]) -> Path:
    """Where a report goes: into the sweep's own project if that lies here, and never over another's."""
    from ..report import holds_another

    base = Path.cwd()
    if names.is_here(sweep) and names.project:
        base = Path(names.project.folder)
    elif sweep.mine:
        known = (str(folder) for folder in sweep.project.get("folders", ()))
        base = next((Path(folder) for folder in known if is_project(folder, sweep.project["id"])), base)
    old = "" if shown.version == shown.newest else f"-version-{shown.version}"
    of_another = bool(sweep.project) and base == Path.cwd() and not names.is_here(sweep)
    plain, full = base / "report" / f"{sweep.title}{old}", base / "report" / f"{_full(sweep)}{old}"
    return full if of_another or holds_another(plain, identity) else plain


def _full(sweep: SweepRow) -> str:
    """A name that tells a sweep from those of other projects and people."""
    parts = (sweep.title, sweep.project.get("id"), "" if sweep.mine else sweep.login)
    return "+".join(str(part) for part in parts if part and valid_name(str(part)))


def _newest(names: Names) -> SweepRow:
    found = names.newest()
    if found is None:
        raise UsageError("no sweep has run yet: there is nothing to report", "orch demo, or orch sweep NAME")
    return found
