"""`orch status`: what runs, waits, is done or failed; from the index at once, from the host on a terminal."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from jobs.errors import NoHome
from jobs.state import RUNNING, UNREACHABLE

from ..collect import fresh_index, known_index, watched_scores
from ..config import Settings
from ..naming import Names
from ..progress import ORDER, Progress, counts_text, duration, measure, reasons, shown_name, shown_value
from ..store import Index, JobRow, SweepRow
from ..versions import split_version
from ..words import counted, listed
from .output import Output
from .parser import Parser
from .picking import whole_sweep

EXAMPLES = """
orch status
orch status augmentations --jobs
orch status --all
orch status --watch
"""

MOST_OTHERS = 10  # sweeps of other projects that are listed


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweep", nargs="?", help="only this sweep (of another project: PROJECT/NAME)")
    parser.add_argument("--all", action="store_true", help="also other projects' and colleagues' sweeps in full")
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
                _show(index, Names.of(index, settings), args, out)
        else:
            with fresh_index(settings) as (fleet, index):
                out.warnings(fleet.warnings)
                _show(index, Names.of(index, settings), args, out)
    except NoHome:
        if args.sweep or settings.home.exists():
            raise
        out.json({"as_of": None, "sweeps": []})
        out.note("No sweep has run yet.")
        out.next("orch demo, or orch init DATA_FOLDER")
    return 0


def _show(index: Index, names: Names, args: Namespace, out: Output) -> None:
    with index.snapshot():
        title, number = split_version(args.sweep or "")
        asked = [names.find(title)] if args.sweep else list(names.rows)
        full = asked if args.sweep or args.all else names.nearest()
        rows = index.jobs_of(row.name for row in (asked if out.json_mode else full))
        if number is not None:
            jobs = whole_sweep(index, names, args.sweep)
            rows[asked[0].name] = [job._replace(position=place) for place, job in enumerate(jobs)]
        seen = max(index.hosts_seen().values(), default=None)
        metrics = {row.name: row.metric for row in full}
        scores = {} if out.json_mode else watched_scores(index, metrics)
    if out.json_mode:
        out.json({"as_of": seen, "sweeps": [_as_json(row, rows[row.name]) for row in asked]})
        return
    if not asked:
        out.note("No sweep has run yet.")
        out.next("orch demo, or orch init DATA_FOLDER")
    for row in full:
        now = measure(rows[row.name], metrics[row.name], {}, scores=scores.get(row.name))
        _print(names, row, rows[row.name], now, args.jobs, out)
    shown = {row.name for row in full}
    _others(index, names, [row for row in asked if row.name not in shown], out)
    if seen is not None:
        out.note(f"as of {time.strftime('%H:%M:%S', time.localtime(seen))} ({duration(time.time() - seen)} ago)")


def _print(names: Names, row: SweepRow, jobs: list[JobRow], now: Progress, every: bool, out: Output) -> None:
    metric = row.metric
    best = f"   best {shown_name(metric)} {now.best[0]:.3f} ({now.best[1]})" if now.best else ""
    whose = "" if row.mine else f" ({row.login}'s)"
    out.result(f"{names.word(row)}{whose}  {now.total} jobs: {counts_text(now.counts)}{best}")
    for line in reasons((*now.held, *now.waits)):
        out.result(f"  {line}")
    listed = [job for job in jobs if job.position is not None] if every else [*now.running, *now.troubled]
    if listed:
        cells = [[job.label, job.state, job.attempts or None, _said(job, metric), job.host] for job in listed]
        out.table(["job", "state", "attempt", "what is known", "host"], cells)
    if now.troubled and not every:
        several = "" if len(names.rows) == 1 else f" --sweep {names.word(row)}"
        out.next(f"orch why {now.troubled[0].label}{several}")


def _others(index: Index, names: Names, rows: list[SweepRow], out: Output) -> None:
    """One line for each sweep of ours in other projects; one for all of colleagues."""
    counts = index.counts() if rows else {}
    mine = [row for row in rows if row.mine]
    for row in mine[-MOST_OTHERS:]:
        found = counts.get(row.name, {})
        told = {state: found[state] for state in ORDER if found.get(state)}
        out.result(f"{names.word(row)}  {sum(told.values())} jobs: {counts_text(told)}")
    left = len(mine) - len(mine[-MOST_OTHERS:])
    theirs = sorted({row.login for row in rows if not row.mine})
    if left:
        out.note(f"{counted(left, 'sweep')} of other projects are not listed: orch status --all")
    if theirs:
        number = sum(not row.mine for row in rows)
        out.note(f"{counted(number, 'sweep')} of {listed(theirs)}: orch status --all")


def _said(row: JobRow, metric: str | None) -> str:
    value = shown_value(row.values, metric)
    step = f"step {row.step}" if row.step is not None else ""
    shown = f"{shown_name(metric)} {value:.3f}" if value is not None else ""
    reason = "" if row.state == RUNNING else row.reason
    last = f"last known: {row.known_state}" if row.state == UNREACHABLE else ""
    warning = f"warning: {row.warning}" if row.warning else ""
    return "  ".join(filter(None, (reason, last, step, shown, warning)))


def _as_json(sweep: SweepRow, rows: list[JobRow]) -> dict[str, Any]:
    current = [row for row in rows if row.position is not None]
    counts = dict(measure(rows, None, {}).counts)
    keys = ("id", "label", "names", "state", "attempts", "reason", "warning", "host", "step", "values")
    return {
        "name": sweep.name,
        "title": sweep.title,
        "project": sweep.project.get("id"),
        "owner": sweep.login or None,
        "jobs": len(current),
        "counts": counts,
        "rows": [{key: getattr(row, key) for key in keys} for row in current],
    }


def _watch(args: Namespace, settings: Settings, out: Output) -> int:
    from ..collect import refresh
    from ..monitor import Monitor

    with fresh_index(settings, [args.sweep] if args.sweep else None) as (fleet, index):
        names = Names.of(index, settings)
        title, _ = split_version(args.sweep or "")
        asked = [names.find(title)] if args.sweep else list(names.rows) if args.all else names.nearest()
        for row in asked:
            if not measure(index.jobs(row.name), None, {}).over:
                metric, steps = row.metric, row.record.get("steps")
                Monitor(fleet, index, row.name, metric, steps, shown=names.word(row)).follow(out)
        refresh(fleet, index)
        _show(index, names, args, out)
    return 0
