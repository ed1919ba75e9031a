"""From the words of a command to a plan: finds the sweep, registers its data, pins the code, makes the split."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jobs import gpu, limits
from jobs.atomic import read_json
from jobs.errors import UsageError
from jobs.folder import Home, valid_name
from jobs.homes import open_home

from . import datasets, grid, provenance, snapshot
from .config import DataSource, Settings
from .guard import check_package
from .plan import Capacity, DataSet, Pins, Plan, Selection, check_folds, counts, plan, sweep_record
from .program import Program, Progress
from .sweep import TRAINER, SweepFile, find_sweep, load_sweep
from .words import counted


@dataclass(frozen=True)
class Prepared:
    """All that is known before anything is submitted.

    Attributes
    ----------
    plan, record:
        The jobs, and the sweep's record for the home.
    home, identity:
        The orch home and its `home.json`.
    code:
        The snapshot that the jobs run, or None.
    changed:
        Files of the code here that differ from the pinned code that the jobs run.
    """

    plan: Plan
    record: dict[str, Any]
    home: Home
    identity: Mapping[str, Any]
    code: snapshot.Snapshot | None
    changed: tuple[str, ...]


class _Place(NamedTuple):
    """Where a command stands: settings, home, and who is told about long reading."""

    settings: Settings
    home: Home
    identity: Mapping[str, Any]
    progress: Progress | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses a sweep and a part of it."""
    parser.add_argument("sweep", metavar="SWEEP", help="a file, or a name in ./sweeps, beside orch.yaml, or shipped")
    parser.add_argument("--data", metavar="NAME", help="data set to use instead of the file's")
    parser.add_argument("--strategies", metavar="A,B", help="only these strategies")
    parser.add_argument("--folds", metavar="0,2", help="only these folds; ranges such as 0..2 are allowed")
    parser.add_argument("--seeds", metavar="0,1", help="only these seeds")
    parser.add_argument("--name", metavar="NAME", help="record under this name instead of the file's")


def prepare(args: Namespace, settings: Settings, progress: Progress | None = None, rerun: str = "none") -> Prepared:
    """Return the plan of the sweep that the command line names.

    New data is registered, a missing split made, the code copied to the home: all of it is kept and used again.

    Parameters
    ----------
    args:
        See `add_arguments`.
    progress:
        Gets lines while volumes are read.
    rerun:
        `none`: go on with the code that an earlier run of the sweep pinned. `changed`, `all`: take the code as it is.

    Raises
    ------
    OrchError
        Any of the tree: each names its repair.
    """
    sweep = _sweep(args, settings)
    home, identity = open_home(str(settings.home))
    code, changed = _code(home, sweep, rerun)
    if sweep.kind == TRAINER and code:
        made = _trainer_plan(args, sweep, _Place(settings, home, identity, progress), code)
    else:
        tracked = provenance.git(home, Path(sweep.base), sweep.code or (".",))
        pins = _pins(settings.python, code, {"git": tracked})
        made = plan(sweep, None, None, pins, selection_of(args), _capacity(settings))
    return Prepared(made, sweep_record(made), home, identity, code, changed)


def _trainer_plan(args: Namespace, sweep: SweepFile, place: _Place, code: snapshot.Snapshot) -> Plan:
    program, environment = trainer_program(place.settings, code)
    data, reasons = _data(args.data or sweep.data, place, program)
    check_folds(sweep, data)
    split = datasets.split(place.home, program, data, sweep.folds, sweep.inner)
    tracked = provenance.git(place.home, Path(__file__).parent.parent, ("trainer", "jobs"))
    pins = _pins(program.python, code, {"git": tracked, "environment": environment})
    told = replace(sweep, notes=(f"Python {program.python}: {environment['reason']}", *reasons, *sweep.notes))
    return plan(told, data, split, pins, selection_of(args), _capacity(place.settings))


def trainer_program(settings: Settings, code: snapshot.Snapshot) -> tuple[Program, dict[str, Any]]:
    """Return the trainer as a child program, and the facts of its environment.

    Raises
    ------
    OrchError
        The interpreter does not start, or lacks a library of the trainer.
    """
    check_package("setup")
    from setup.environment import find

    chosen = settings.value("python")
    found = find(str(chosen.value), chosen.origin, code.path, str(settings.home))
    return Program(found.python, code.path), found.to_json()


def _code(home: Home, sweep: SweepFile, rerun: str) -> tuple[snapshot.Snapshot | None, tuple[str, ...]]:
    """Return the code to run, and the files here that differ from it.

    The same sweep again goes on with the code it was pinned to, so that all cells stay comparable, unless the person
    asks to run again what changed.
    """
    if sweep.kind == TRAINER:
        here = snapshot.take_trainer(home)
    elif sweep.code:
        here = snapshot.take(home, snapshot.listed_code(Path(sweep.base), sweep.code))
    else:
        return None, ()
    known = (read_json(home.sweep(sweep.name)) or {}).get("code")
    if not known or known == here.hash or rerun != "none":
        return here, ()
    pinned = snapshot.recorded(home, known)
    return pinned, tuple(snapshot.changed_files(pinned, here))


def _data(wanted: str | DataSource | None, place: _Place, program: Program) -> tuple[DataSet, list[str]]:
    """Return the data set, registered if need be, and why it is this one."""
    declared, reasons = place.settings.data, []
    if wanted is None:
        known = sorted({*declared, *datasets.names(place.home)})
        if len(known) != 1:
            listed = f"known are: {', '.join(known)}" if known else "orch data add NAME IMAGES LABELS registers one"
            raise UsageError("the sweep names no data", f"add a line `data: NAME`, or pass --data NAME; {listed}")
        wanted = known[0]
        reasons.append(f"data {wanted}: the only data set known here")
    name = wanted if isinstance(wanted, str) else datasets.derived_name(wanted)
    source = declared.get(name) if isinstance(wanted, str) else wanted
    if source is None:
        return datasets.lookup(place.home, name, declared), reasons
    data, new = datasets.ensure(place.home, place.identity, program, name, source, place.progress)
    if new:
        reasons.append(
            f"data {name} registered: {counted(data.cases, 'volume')} of {counted(data.patients, 'patient')}"
        )
    return data, reasons


def _pins(python: str, code: snapshot.Snapshot | None, facts: Mapping[str, Any]) -> Pins:
    known = {**provenance.caller(), **facts}
    return Pins(python, code.hash if code else None, code.path if code else None, provenance.now(), known)


def _capacity(settings: Settings) -> Capacity:
    return Capacity(limits.cpus().value or 1, len(gpu.look().cards), settings.parallel)


def _sweep(args: Namespace, settings: Settings) -> SweepFile:
    sweep = load_sweep(find_sweep(args.sweep, Path.cwd(), settings.project_file), settings.project_file)
    if not args.name:
        return sweep
    if not valid_name(args.name):
        raise UsageError(f"'{args.name}' cannot name a sweep", "use letters, digits and . _ + -")
    return replace(sweep, name=args.name)


def selection_of(args: Namespace) -> Selection:
    """Return which part of the sweep the options ask for.

    Raises
    ------
    UsageError
        A fold or seed is not a number.
    """
    strategies = tuple(word.strip() for word in args.strategies.split(",")) if args.strategies else None
    return Selection(strategies, _numbers(args.folds, "folds"), _numbers(args.seeds, "seeds"))


def _numbers(text: str | None, flag: str) -> tuple[int, ...] | None:
    if not text:
        return None
    values = [value for word in text.split(",") for value in grid.values(word.strip())]
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise UsageError(f"--{flag}: '{text}' is no list of numbers", f"write --{flag} 0,1 or --{flag} 0..2") from None


def describe(prepared: Prepared) -> list[str]:
    """Return the plan in lines: jobs, data, split, code, and what was decided, each with its reason."""
    made = prepared.plan
    total, chosen = len(made.cells), len(made.specs)
    share = f"{chosen} of " if chosen != total else ""
    head = [f"{share}{counted(total, 'job')} = {' x '.join(counts(made)) or '1 command'}"]
    if made.data and made.split:
        head.append(f"data {made.data.name} ({counted(made.data.patients, 'patient')}, split {made.split.hash[:4]}…)")
    head.append(
        f"code {made.pins.code[:4]}… ({_git_state(made)})"
        if made.pins.code
        else f"code not pinned ({_git_state(made)})"
    )
    lines = [" · ".join(head), *(f"  {note}" for note in made.notes)]
    if prepared.changed:
        lines.append(f"  code pinned when the sweep began; changed here since: {', '.join(prepared.changed[:5])}")
        lines.append("  --rerun changed runs again what the change concerns")
    return lines


def _git_state(made: Plan) -> str:
    git = made.pins.provenance.get("git", {})
    if not git.get("commit"):
        return str(git.get("reason", "no git"))
    return f"git {git['commit'][:7]}, {'with uncommitted changes' if git['dirty'] else 'clean'}"
