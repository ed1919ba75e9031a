"""`orch sweep`: plan, say what will run and why, run what is missing, show the progress, end with the table."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from jobs.errors import NameTaken
from jobs.spec import JobSpec
from jobs.state import DONE, FAILED, HOLES, QUEUED, RUNNING

from .. import dispatching, planning, price, versions
from ..collect import own_index, refresh
from ..config import Settings
from ..fleet import Fleet
from ..monitor import Monitor
from ..moving import Mover
from ..naming import Names, owner_of
from ..ownership import Owned, owned
from ..places import Place, places_of
from ..plan import Plan
from ..progress import Progress, counts_text, reasons
from ..store import PLANNED, Index, JobRow
from ..sweep import TRAINER, SweepFile
from ..words import counted, listed
from .choosing import MOST_NAMES, open_fleet, ready
from .output import Output
from .parser import Parser
from .picking import address, told_missing
from .scanning import reader

EXAMPLES = """
orch sweep augmentations --dry-run
orch sweep augmentations
orch sweep augmentations --strategies identity,rotate --folds 0..2
orch sweep augmentations --hosts grace,ada
orch sweep sweeps/rates.yaml --detach
"""

RERUN = ("none", "changed", "all")
CHOICES = (
    "hosts",
    "data",
    "strategies",
    "folds",
    "seeds",
    "name",
    "parallel",
    "python",
    "rerun",
)  # options with a value
MOST_TROUBLES = 10  # jobs that are listed at the end


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    planning.add_arguments(parser)
    parser.add_argument(
        "--hosts",
        metavar="A,B",
        help="hosts of the site file that share the jobs, or auto: all that answer and are ready "
        "(default: the file's, else those of the last time, else this machine)",
    )
    parser.add_argument("--parallel", type=int, metavar="N", help="jobs side by side on each host (default: its cores)")
    parser.add_argument("--python", metavar="PATH", help="interpreter that runs the trainer")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, start nothing")
    parser.add_argument("--detach", action="store_true", help="return as soon as the jobs are queued")
    parser.add_argument(
        "--rerun",
        choices=RERUN,
        help="when the code has changed since the first run: none keeps the pinned code (default), changed runs again "
        "what other code has done, all runs everything again",
    )
    parser.add_argument("--keep-failed", action="store_true", help="leave failed jobs as they are")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Run a sweep; exit 1 when a job of it did not end well."""
    taken: list[str] = []
    while True:
        try:
            with own_index(settings) as index:
                file = planning.sweep_of(args, settings, index)
                return _run(args, settings, file, index, taken, out)
        except NameTaken as error:  # by somebody who began at the same moment
            if len(taken) == MOST_NAMES:
                raise
            taken.append(str(error.context.get("name")))


def _run(args: Namespace, settings: Settings, file: SweepFile, index: Index, taken: list[str], out: Output) -> int:
    rerun = args.rerun or "none"
    first = owned(index, settings, file, taken)
    with open_fleet(args, settings, first.sweep, index, out) as fleet:
        with reader(out, "reading volumes") as progress:
            about, places, prepared = planned(args, settings, file, fleet, index, taken, progress, out, rerun)
        sweep = about.sweep
        rows = {row.id: row for row in index.jobs(sweep.name)}
        again = _again(index, prepared.plan, rows, rerun)
        if rerun == "changed" and not prepared.plan.pins.code:
            out.warning("--rerun changed finds nothing: no code is pinned. Add `code: [FILE]`, or use --rerun all")
        due = [spec for spec in prepared.plan.specs if spec.id in again or is_due(rows.get(spec.id), args.keep_failed)]
        spread = dispatching.spread(index, places, prepared, due)
        word = Names.of(index, settings).title(about.project, sweep)
        _tell_plan(about, prepared, spread, rows, word, out)
        if args.dry_run:
            jobs = [_planned(spec, rows.get(spec.id), spread.placed) for spec in prepared.plan.specs]
            left_out = [one._asdict() for one in prepared.left_out]
            out.json({"sweep": sweep.name, "title": sweep.shown, "jobs": jobs, "left_out": left_out})
            out.next(_command(args))
            return 0
        dispatching.refuse_lacking(sweep.shown, price.lacking(*dispatching.cost(places, prepared, spread)))
        answers = _submit(fleet, index, about, prepared, spread, again, rows, settings.parallel, out)
        if args.detach:
            out.json({"sweep": sweep.name, "title": sweep.shown, "answers": answers})
            out.next("orch status --watch")
            return 0
        left = {job for job, row in rows.items() if row.state == FAILED and job not in spread.placed}
        return _attend(fleet, index, settings, prepared, spread, left, out)


def planned(
    args: Namespace,
    settings: Settings,
    file: SweepFile,
    fleet: Fleet,
    index: Index,
    taken: list[str],
    progress: Callable[[str], None] | None,
    out: Output,
    rerun: str = "none",
) -> tuple[Owned, dict[str, Place], planning.Prepared]:
    """Return a sweep under its name, where it can run, and its plan, once what the hosts know of that name is here."""
    about, join = owned(index, settings, file, taken), True
    while True:
        refresh(fleet, index, [about.sweep.name])
        told_missing(fleet, index, index.jobs(about.sweep.name), out)
        looked, about = about, owned(index, settings, file, taken, join)
        if about.sweep.name != looked.sweep.name:
            continue  # a host knew of a sweep that is another's, or ours
        places = ready(places_of(fleet, settings, about.sweep.name, progress), args, about.sweep, out)
        prepared = planning.prepare(args, settings, about.sweep, list(places.values()), rerun)
        if not about.joined or set(versions.ids(about.before)) == set(versions.ids(prepared.record)):
            return about, places, replace(prepared, record=about.record(prepared.record))
        join = False  # a colleague's record stays as it is: other cells are a sweep of our own
        about = owned(index, settings, file, taken, join)


def is_due(row: JobRow | None, keep_failed: bool) -> bool:
    """Tell whether a cell is a hole: never run, or ended without counting."""
    if row is None or row.state == PLANNED:
        return True
    return row.state in HOLES and not (keep_failed and row.state == FAILED)


def _again(index: Index, plan: Plan, rows: Mapping[str, JobRow], rerun: str) -> set[str]:
    """Ids of done jobs that shall run again."""
    done = {spec.id for spec in plan.specs if spec.id in rows and rows[spec.id].state == DONE}
    if rerun != "changed":
        return done if rerun == "all" else set()
    counting = [row for row in index.attempts(plan.sweep.name) if row.counts and row.job in done]
    return {row.job for row in counting if (row.spec or {}).get("provenance", {}).get("code") != plan.pins.code}


def _tell_plan(
    about: Owned,
    prepared: planning.Prepared,
    spread: dispatching.Spread,
    rows: Mapping[str, JobRow],
    word: str,
    out: Output,
) -> None:
    for line in planning.describe(prepared):
        out.note(line)
    if about.note:
        out.note(f"  {about.note}")
    if about.joined:
        out.note(f"  it is the sweep of {owner_of(about.before)}, who works in the same folder: its holes are filled")
    present = Counter(rows[spec.id].state for spec in prepared.plan.specs if spec.id in rows)
    known = {state: count for state, count in present.items() if state != PLANNED}
    if known:
        out.note(f"  already there: {counts_text(known)}; {counted(len(spread.specs), 'job')} to run")
    for line in _tell_changes(about, prepared, rows, word):
        out.note(f"  {line}")
    for line in spread.lines:
        out.note(f"  {line}")


def _tell_changes(about: Owned, prepared: planning.Prepared, rows: Mapping[str, JobRow], word: str) -> Iterator[str]:
    """What differs from the last time: which cells came, which left, and how those that left are reached."""
    before, record = about.before, prepared.record
    labels = {cell["id"]: cell["label"] for cell in record["cells"]}
    known = set(versions.ids(before))
    new = [label for job, label in labels.items() if job not in known]
    gone = [rows[job] for job in versions.ids(before) if job not in labels and job in rows]
    if not known or not (new or gone):
        return
    yield f"changed since the last time: {versions.changes(before, record)}"
    if new:
        yield f"new: {counted(len(new), 'cell')} ({listed(new)})"
    if gone:
        number = versions.number(before)
        yield (
            f"no longer in the sweep: {counted(len(gone), 'cell')} ({listed([row.label for row in gone])}); kept as "
            f"version {number}: {gone[0].label}@{number}, orch report {word} --version {number}"
        )
        yield f"to keep both side by side: another name, --name {about.sweep.shown}-2"
    alive = [f"{row.label}@{versions.number(before)}" for row in gone if row.state in (QUEUED, RUNNING)]
    if alive:
        yield f"of them {counted(len(alive), 'job')} not ended yet: orch stop {alive[0]} ends one ({listed(alive)})"


def _command(args: Namespace) -> str:
    """The same command without `--dry-run`: what was planned is what it runs."""
    given = vars(args)
    words = ["orch", "sweep", args.sweep, *(["--keep-failed"] if args.keep_failed else [])]
    for key in (*CHOICES, "home", "config"):
        if given.get(key) is not None:
            words += [f"--{key}", str(given[key])]
    return shlex.join(words)


def _planned(spec: JobSpec, row: JobRow | None, placed: Mapping[str, str]) -> dict[str, Any]:
    state = row.state if row else PLANNED
    told = {"id": spec.id, "label": spec.label, "names": dict(spec.names), "state": state, "runs": spec.id in placed}
    return {**told, "host": placed.get(spec.id) or (row.host if row else None) or None}


def _submit(
    fleet: Fleet,
    index: Index,
    about: Owned,
    prepared: planning.Prepared,
    spread: dispatching.Spread,
    again: set[str],
    rows: Mapping[str, JobRow],
    parallel: int | None,
    out: Output,
) -> list[dict[str, Any]]:
    began = time.monotonic()
    # Without a word the limit of an earlier sweep must not stay; but coming back to one that runs leaves its limit.
    limit = 0 if parallel is None and spread.specs else parallel
    floors = {spec.id: rows[spec.id].attempts for spec in spread.specs if spec.id in rows}
    record = None if about.joined else prepared.record
    if record and not about.before and len(fleet.contacts) > 1:
        dispatching.claim(fleet, record)
    name = about.sweep.name
    answers = dispatching.submit(fleet, record, spread, again, limit, floors, lambda: refresh(fleet, index, [name]))
    queued = sum(answer["action"] == "queued" for answer in answers)
    if queued:
        seconds = time.monotonic() - began
        out.note(f"{counted(queued, 'job')} queued in {seconds:.1f} s. You can close this window: they go on alone.")
    return answers


def _attend(
    fleet: Fleet,
    index: Index,
    settings: Settings,
    prepared: planning.Prepared,
    spread: dispatching.Spread,
    left: set[str],
    out: Output,
) -> int:
    """Watch until it is over, or until Ctrl-C: the jobs go on."""
    plan, sweep = prepared.plan, prepared.plan.sweep
    made = {host: {spec.id: spec for spec in one.specs} for host, one in prepared.plans.items()}
    several = len(spread.offers) + len(fleet.silent) > 1
    mover = Mover(fleet, index, sweep.name, made, spread.offers, left) if several else None
    names = Names.of(index, settings)
    word = names.word(index.sweep(sweep.name))
    monitor = Monitor(fleet, index, sweep.name, sweep.metric, sweep.train.get("epochs"), mover, shown=word)
    try:
        last = monitor.follow(out)
    except KeyboardInterrupt:
        out.note(f"\nThe jobs go on. Come back with: orch status --watch\n  end them with: orch stop {word}")
        raise
    return _finish(index, names, plan, last, out)


def _finish(index: Index, names: Names, plan: Plan, last: Progress, out: Output) -> int:
    from ..report.summary import summarise
    from ..report.table import comparison

    name = plan.sweep.name
    word = names.word(index.sweep(name))
    summary = summarise(index, name)
    table = comparison(summary)
    heads = [column.name for column in table.columns]
    out.json(
        {"sweep": name, "title": plan.sweep.shown, "counts": dict(last.counts), "columns": heads, "rows": table.rows}
    )
    if summary.kind == TRAINER or summary.names:  # a program that hands nothing in has nothing to compare
        out.table(heads, table.texts())
    out.note(f"{word}: {counts_text(last.counts)}")
    for row in last.troubled[:MOST_TROUBLES]:
        out.note(f"  {row.state}  {row.label}  {row.reason}")
    for line in reasons(last.held):
        out.note(f"  {line}")
    if last.held and not last.troubled:
        out.next(f"orch why {address(index, names, last.held[0])}")
        return 1
    if last.troubled:
        out.next(f"orch why {address(index, names, last.troubled[0])}; the same sweep again fills the holes")
        return 1
    out.next(f"orch report {word}")
    return 0
