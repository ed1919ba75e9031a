"""`orch status`: what runs, waits, is done or failed; from the index at once, from the host on a terminal."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from jobs.errors import NoHome
from jobs.state import RUNNING, UNREACHABLE

from ..collect import fresh_index, known_index, watched_scores
from ..config import Settings
from ..progress import counts_text, duration, measure, reasons, shown_name, shown_value
from ..store import Index, JobRow
from .output import Output
from .parser import Parser
from .picking import address

EXAMPLES = """
orch status
orch status augmentations --jobs
orch status --watch
"""

WATCH_PAUSE = 2.0  # seconds between looks of --watch


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweep", nargs="?", help="only this sweep")
    parser.add_argument("--jobs", action="store_true", help="list every job")
    parser.add_argument("--watch", action="store_true", help="look again and again until everything has ended")
    parser.add_argument("--refresh", action="store_true", help="ask the host first (on a terminal this is done anyway)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Show the states."""
    if args.watch:
        return _watch(args, settings, out)
    try:
        path = None if args.refresh or out.terminal else known_index(settings)
        if path:
            with Index.open(path) as index:
                _show(index, args, out)
        else:
            with fresh_index(settings) as (_, index):
                _show(index, args, out)
    except NoHome:
        if args.sweep or settings.home.exists():
            raise
        out.json({"as_of": None, "sweeps": []})
        out.note("No sweep has run yet.")
        out.next("orch demo, or orch init DATA_FOLDER")
    return 0


def _show(index: Index, args: Namespace, out: Output) -> None:
    with index.snapshot():
        names = [index.sweep(args.sweep).name] if args.sweep else [row.name for row in index.sweeps()]
        found = [(name, index.sweep(name).record.get("metric"), index.jobs(name)) for name in names]
        seen = max(index.hosts_seen().values(), default=None)
    out.json({"as_of": seen, "sweeps": [_as_json(name, rows) for name, _, rows in found]})
    if out.json_mode:
        return
    if not found:
        out.note("No sweep has run yet.")
        out.next("orch demo, or orch init DATA_FOLDER")
    for name, metric, rows in found:
        _print(index, name, metric, rows, args.jobs, out)
    if seen is not None:
        out.note(f"as of {time.strftime('%H:%M:%S', time.localtime(seen))} ({duration(time.time() - seen)} ago)")


def _print(index: Index, name: str, metric: str | None, rows: list[JobRow], every: bool, out: Output) -> None:
    now = measure(rows, metric, {}, scores=watched_scores(index, name, metric))
    best = f"   best {shown_name(metric)} {now.best[0]:.3f} ({now.best[1]})" if now.best else ""
    out.result(f"{name}  {now.total} jobs: {counts_text(now.counts)}{best}")
    for line in reasons((*now.held, *now.waits)):
        out.result(f"  {line}")
    listed = [row for row in rows if row.position is not None] if every else [*now.running, *now.troubled]
    if listed:
        cells = [[row.label, row.state, row.attempts or None, _said(row, metric), row.host] for row in listed]
        out.table(["job", "state", "attempt", "what is known", "host"], cells)
    if now.troubled and not every:
        out.next(f"orch why {address(index, now.troubled[0])}")


def _said(row: JobRow, metric: str | None) -> str:
    value = shown_value(row.values, metric)
    step = f"step {row.step}" if row.step is not None else ""
    shown = f"{shown_name(metric)} {value:.3f}" if value is not None else ""
    reason = "" if row.state == RUNNING else row.reason
    last = f"last known: {row.known_state}" if row.state == UNREACHABLE else ""
    warning = f"warning: {row.warning}" if row.warning else ""
    return "  ".join(filter(None, (reason, last, step, shown, warning)))


def _as_json(name: str, rows: list[JobRow]) -> dict[str, Any]:
    current = [row for row in rows if row.position is not None]
    counts = dict(measure(rows, None, {}).counts)
    keys = ("id", "label", "names", "state", "attempts", "reason", "warning", "host", "step", "values")
    return {
        "name": name,
        "jobs": len(current),
        "counts": counts,
        "rows": [{key: getattr(row, key) for key in keys} for row in current],
    }


def _watch(args: Namespace, settings: Settings, out: Output) -> int:
    from ..collect import refresh
    from ..monitor import Monitor

    with fresh_index(settings, [args.sweep] if args.sweep else None) as (fleet, index):
        names = [index.sweep(args.sweep).name] if args.sweep else [row.name for row in index.sweeps()]
        active = [name for name in names if not measure(index.jobs(name), None, {}).over]
        for name in active:
            record = index.sweep(name).record
            Monitor(fleet, index, name, record.get("metric"), record.get("steps")).follow(out)
        refresh(fleet, index)
        _show(index, args, out)
    return 0
