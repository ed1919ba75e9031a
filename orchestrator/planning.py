"""From the words of a command to a plan: finds the sweep, registers its data, pins the code, makes the split."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.errors import NotFound, OrchError, UsageError
from jobs.folder import valid_name
from jobs.notebookrun import NEEDS

from . import datasets, grid, provenance, snapshot
from .config import DataSource, Settings
from .dispatch import LOCAL
from .filelist import LeftOut
from .filelist import describe as describe_left_out
from .places import Place
from .plan import DataSet, Pins, Plan, Selection, check_folds, counts, plan, sweep_record
from .store import Index
from .sweep import NOTEBOOK, SHIPPED, TRAINER, SweepFile, find_sweep, load_sweep
from .words import counted


@dataclass(frozen=True)
class Prepared:
    """All that is known before anything is submitted.

    Attributes
    ----------
    plans:
        By host, the jobs as they would run there: the same cells with that host's paths and slots.
    record:
        The sweep's record for the homes.
    code:
        The snapshot that the jobs run, as the first host has it, or None.
    changed:
        Files of the code here that differ from the pinned code that the jobs run.
    left_out:
        What lies beside the code here and does not travel.
    """

    plans: Mapping[str, Plan]
    record: dict[str, Any]
    code: snapshot.Snapshot | None
    changed: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def plan(self) -> Plan:
        """The plan of the first host."""
        return next(iter(self.plans.values()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses a sweep and a part of it."""
    parser.add_argument("sweep", metavar="SWEEP", help="a file, or a name in ./sweeps, beside orch.yaml, or shipped")
    parser.add_argument("--data", metavar="NAME", help="data set to use instead of the file's")
    parser.add_argument("--strategies", metavar="A,B", help="only these strategies")
    parser.add_argument("--folds", metavar="0,2", help="only these folds; ranges such as 0..2 are allowed")
    parser.add_argument("--seeds", metavar="0,1", help="only these seeds")
    parser.add_argument("--name", metavar="NAME", help="record under this name instead of the file's")


def prepare(
    args: Namespace, settings: Settings, sweep: SweepFile, places: Sequence[Place], rerun: str = "none"
) -> Prepared:
    """Return the plan of a sweep for each place where its jobs may run.

    New data is registered, a missing split made, the code copied to the home: all of it is kept and used again.

    Parameters
    ----------
    args:
        See `add_arguments`.
    places:
        At least one; the first one's home says what code an earlier run has pinned.
    rerun:
        `none`: go on with the code that an earlier run of the sweep pinned. `changed`, `all`: take the code as it is.

    Raises
    ------
    OrchError
        Any of the tree: each names its repair.
    """
    here, tracked = _code_here(sweep, places), _git(sweep)
    plans: dict[str, Plan] = {}
    first: snapshot.Snapshot | None = None
    changed: tuple[str, ...] = ()
    for place in places:
        code, differing = _code_at(place, sweep, here, rerun, first)
        if first is None:
            first, changed = code, differing
        place.keep_patch(tracked[1])
        if sweep.kind == TRAINER and code:
            plans[place.name] = _trainer_plan(args, settings, sweep, place, code, tracked[0])
        else:
            plans[place.name] = _command_plan(args, settings, sweep, place, code, tracked[0])
    _refuse_different_cells(plans)
    made = Prepared(plans, {}, first, changed, here.left_out if here else ())
    return replace(made, record={**sweep_record(made.plan), "hosts": [place.name for place in places]})


def _code_here(sweep: SweepFile, places: Sequence[Place]) -> snapshot.Code | None:
    """The code as it is now: the trainer, what the sweep lists, or for other machines the whole project."""
    if sweep.kind == TRAINER:
        return snapshot.the_trainer()
    base = Path(sweep.base)
    if sweep.kind == NOTEBOOK:
        return snapshot.notebook_code(base, sweep.notebook, sweep.code)
    if sweep.code:
        found = snapshot.listed_code(base, sweep.code)
        return snapshot.Code.of(found.files, left_out=found.left_out)
    if all(place.host == LOCAL for place in places):
        return None
    return snapshot.project_code(base)


def _git(sweep: SweepFile) -> tuple[dict[str, Any], provenance.Patch | None]:
    if sweep.kind == TRAINER:
        return provenance.git(Path(__file__).parent.parent, ("trainer", "jobs"))
    files = (*sweep.code, sweep.notebook) if sweep.kind == NOTEBOOK else sweep.code
    return provenance.git(Path(sweep.base), files or (".",))


def _code_at(
    place: Place, sweep: SweepFile, here: snapshot.Code | None, rerun: str, first: snapshot.Snapshot | None
) -> tuple[snapshot.Snapshot | None, tuple[str, ...]]:
    """Return the code to run at a place, and the files here that differ from it.

    The same sweep again goes on with the code it was pinned to, so that all cells stay comparable, unless the person
    asks to run again what changed. All hosts run the code of the first one.
    """
    if here is None:
        return None, ()
    pinned = _pinned(place, sweep.name, here) if rerun == "none" else None
    if first is not None and first.hash != here.hash:
        if pinned is None or pinned.hash != first.hash:
            text = f"{place.name} lacks the code {first.hash} to which {sweep.name} is pinned"
            raise OrchError(text, f"orch sweep {sweep.name} --rerun changed takes the code as it is here, on all hosts")
        return pinned, ()
    if pinned is None or pinned.hash == here.hash or first is not None:
        return place.take(here), ()
    return pinned, tuple(snapshot.changed_files(pinned, snapshot.Snapshot(here.hash, "", here.hashes)))


def _pinned(place: Place, sweep: str, here: snapshot.Code) -> snapshot.Snapshot | None:
    """The code to which a sweep is pinned; None where it is gone, but is what stands here: then it is sent anew."""
    try:
        return place.pinned(sweep)
    except OrchError as error:
        if error.context.get("lacks") != here.hash:
            raise
    return None


def _trainer_plan(
    args: Namespace,
    settings: Settings,
    sweep: SweepFile,
    place: Place,
    code: snapshot.Snapshot,
    tracked: Mapping[str, Any],
) -> Plan:
    python, environment = place.python(code)
    data, reasons = _data(args.data or sweep.data, settings, place, code, _file(sweep))
    check_folds(sweep, data)
    split = place.split(data, sweep.folds, sweep.inner, code)
    pins = _pins(place, python, code, {"git": tracked, "environment": environment})
    told = replace(sweep, notes=(f"Python {python}: {environment['reason']}", *reasons, *sweep.notes))
    return plan(told, data, split, pins, selection_of(args), place.capacity())


def _command_plan(
    args: Namespace,
    settings: Settings,
    sweep: SweepFile,
    place: Place,
    code: snapshot.Snapshot | None,
    tracked: Mapping[str, Any],
) -> Plan:
    ours = sweep.kind != NOTEBOOK or place.host == LOCAL or code is None
    python = settings.python if ours or code is None else place.python(code)[0]
    if sweep.kind == NOTEBOOK and place.host == LOCAL:
        _refuse_without_papermill(python)
    pins = _pins(place, python, code, {"git": tracked})
    there = replace(sweep, env={**place.variables(), **sweep.env})
    return plan(there, None, None, pins, selection_of(args), place.capacity())


def _refuse_without_papermill(python: str) -> None:
    """Look whether the interpreter here can run notebooks, before a job of each cell says that it cannot."""
    words = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('papermill', 'ipykernel'))))"
    try:
        lacking = subprocess.run([python, "-I", "-c", words], check=False, capture_output=True).returncode != 0
    except OSError as error:
        text = f"{python} cannot be started: {error.strerror or error}"
        raise OrchError(text, "name another: orch config python /path/to/python") from error
    if lacking:
        hint = f"{NEEDS.format(python)}; or name an environment that has them: orch config python /path/to/python"
        raise OrchError(f"notebooks run by papermill and ipykernel, which {python} lacks", hint)


def _refuse_different_cells(plans: Mapping[str, Plan]) -> None:
    """Refuse hosts on which one data set's name stands for different contents."""
    hashes = {name: made.data.hash if made.data else "" for name, made in plans.items()}
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{name}: {number}" for name, number in hashes.items())
        name = next(made.data.name for made in plans.values() if made.data)
        raise UsageError(
            f"the data set {name} is not the same on all hosts ({listed})",
            f"orch data check {name}, then orch data copy {name} --host HOST --replace",
        )


def _file(sweep: SweepFile) -> str:
    """Which file a sweep is; in a folder without one of that name it is the one that comes with orch."""
    if Path(sweep.path).parent == SHIPPED:
        return f"the sweep {sweep.shown} that comes with orch ({sweep.path}), taken as there is none of that name here,"
    return f"the sweep file {sweep.path}"


def _data(
    wanted: str | DataSource | None, settings: Settings, place: Place, code: snapshot.Snapshot, origin: str
) -> tuple[DataSet, list[str]]:
    """Return the data set, registered if need be, and why it is this one."""
    declared, reasons = settings.data, []
    if wanted is None:
        known = sorted({*declared, *place.data_names()})
        if len(known) != 1:
            listed = f"known are: {', '.join(known)}" if known else "orch data add NAME IMAGES LABELS registers one"
            text = f"{origin} names no data"
            raise UsageError(text, f"add a line `data: NAME`, or pass --data NAME; {listed}")
        wanted = known[0]
        reasons.append(f"data {wanted}: the only data set known here")
    name = wanted if isinstance(wanted, str) else datasets.derived_name(wanted)
    source = declared.get(name) if isinstance(wanted, str) else wanted
    data, new = place.data(name, source, code)
    if new:
        reasons.append(
            f"data {name} registered: {counted(data.cases, 'volume')} of {counted(data.patients, 'patient')}"
        )
    return data, reasons


def _pins(place: Place, python: str, code: snapshot.Snapshot | None, facts: Mapping[str, Any]) -> Pins:
    known = {**provenance.caller(), **facts}
    pinned = (code.hash if code else None, code.path if code else None)
    return Pins(python, *pinned, provenance.now(), known, place.placement)


def sweep_of(args: Namespace, settings: Settings, index: Index | None = None) -> SweepFile:
    """Return the sweep that the command line names.

    Parameters
    ----------
    index:
        Where a sweep of that name was run, for whoever stands in another folder.

    Raises
    ------
    NotFound, SpecError
        There is no such file, or it cannot be understood.
    UsageError
        `--name` cannot name a sweep.
    """
    try:
        path = find_sweep(args.sweep, Path.cwd(), settings.project_file)
    except NotFound as error:
        raise _run_elsewhere(args.sweep, index, error) from error
    sweep = load_sweep(path, settings.project_file)
    if not args.name:
        return sweep
    if not valid_name(args.name):
        raise UsageError(f"'{args.name}' cannot name a sweep", "use letters, digits and . _ + -")
    return replace(sweep, name=args.name)


def _run_elsewhere(word: str, index: Index | None, error: NotFound) -> NotFound:
    """Name the folders from which a sweep of that name was run."""
    rows = index.sweeps() if index else []
    folders = [str(row.project["folders"][0]) for row in rows if row.title == word and row.mine and row.project]
    if not folders:
        return error
    text = f"{error.message}; it was run from {', '.join(folders)}"
    return NotFound(text, f"go there (cd {shlex.quote(folders[-1])}); {error.hint}")


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
    return [*lines, *(f"  {line}" for line in describe_left_out(prepared.left_out))]


def _git_state(made: Plan) -> str:
    git = made.pins.provenance.get("git", {})
    if not git.get("commit"):
        return str(git.get("reason", "no git"))
    return f"git {git['commit'][:7]}, {'with uncommitted changes' if git['dirty'] else 'clean'}"
