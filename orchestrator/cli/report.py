"""`orch report`: the comparison table and the curves, as files to read, mail and paste."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from jobs.errors import Findings, UsageError
from jobs.state import DONE

from ..collect import fresh_index
from ..config import Settings
from ..store import Index
from .output import Output
from .parser import Parser

EXAMPLES = """
orch report augmentations
orch report augmentations --out ~/thesis/figures
orch report
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweep", nargs="?", help="the sweep (default: the only one, or the newest)")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the files (default: report/SWEEP)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Write the report; exit 6 when cells are missing from it."""
    with fresh_index(settings) as (_, index):
        name = args.sweep or _newest(index)
        index.sweep(name)  # unknown names are told before anything heavy is imported
        from ..report import build, write

        report = build(index, name)
        holes = [row.label for row in index.jobs(name) if row.position is not None and row.state != DONE]
    folder = Path(args.out).expanduser() if args.out else Path("report") / name
    written = write(report, folder.absolute())
    table = report.table
    heads = [column.name for column in table.columns]
    files = [str(path) for path in written.paths]
    out.json({"sweep": name, "headline": report.headline, "columns": heads, "rows": table.rows, "files": files})
    out.result(report.headline)
    out.table(heads, table.texts())
    for warning in report.warnings:
        out.warning(warning)
    out.result(f"report: {written.paths[0]}")
    return Findings.exit_code if holes else 0


def _newest(index: Index) -> str:
    names = [row.name for row in index.sweeps()]
    if not names:
        raise UsageError("no sweep has run yet: there is nothing to report", "orch demo, or orch sweep NAME")
    return names[-1]
