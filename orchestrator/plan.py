"""From a checked sweep to its jobs: pure, values in, values out.

Jobs come in whole blocks, one fold with all strategies first, so that a first fair comparison is there early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from jobs import CONTRACT
from jobs.atomic import canonical
from jobs.errors import SpecError, UsageError
from jobs.spec import Cell, JobSpec, Resources

from . import grid
from .sweep import COMMAND, NOTEBOOK, TRAINER, SweepFile
from .words import counted, did_you_mean

_GPU_JOB_CORES = 4  # one feeds the card, the others read and augment ahead
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
_COUNTABLE = ("strategy", "fold", "seed")  # columns that are words of ours; others are the writer's
_LABEL_VALUE = 32  # characters of one value in a label


@dataclass(frozen=True)
class DataSet:
    """A registered data set.

    Attributes
    ----------
    name, hash, manifest:
        Its name, the hash of its contents, and the absolute path of its manifest.
    classes:
        Names of the label values 1..n.
    cases, patients:
        Numbers of volumes and of patients.
    sizes:
        `[rows, columns]` that hold every slice, by axis: `{"0": (H, W), ...}`.
    """

    name: str
    hash: str
    manifest: str
    classes: tuple[str, ...]
    cases: int
    patients: int
    sizes: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, manifest: Mapping[str, Any], path: str) -> DataSet:
        """Read the document that the trainer's `scan` wrote."""
        return cls(
            name=str(manifest["name"]),
            hash=str(manifest["hash"]),
            manifest=path,
            classes=tuple(manifest["classes"]),
            cases=len(manifest["cases"]),
            patients=len({case["group"] for case in manifest["cases"]}),
            sizes={axis: (int(size[0]), int(size[1])) for axis, size in manifest["sizes"].items()},
        )

    @classmethod
    def told(cls, summary: Mapping[str, Any]) -> DataSet:
        """Read what a host tells of a data set that is registered there (`jobs.briefing.summary`)."""
        sizes = {axis: (int(size[0]), int(size[1])) for axis, size in summary["sizes"].items()}
        about = (str(summary["name"]), str(summary["hash"]), str(summary["manifest"]), tuple(summary["classes"]))
        return cls(*about, int(summary["cases"]), int(summary["patients"]), sizes)


@dataclass(frozen=True)
class Split:
    """A split of a data set: its fingerprint and the absolute path of its file."""

    hash: str
    path: str


@dataclass(frozen=True)
class Pins:
    """What is the same for all jobs of a sweep and recorded with each.

    Attributes
    ----------
    python:
        Interpreter that runs the trainer.
    code, code_path:
        Hash and folder of the code snapshot; None when a command runs without one.
    created:
        Now, ISO 8601, UTC.
    provenance:
        What every `job.json` records: git, environment, user, host.
    placement:
        The host, and why.
    """

    python: str
    code: str | None
    code_path: str | None
    created: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)


class Capacity(NamedTuple):
    """What the host has: cores and cards, and how many jobs a person wants side by side (None: as many as fit).

    `card_mb` is the memory of the smallest card in MiB, or None where it is not known; `kinds` the kinds of card that
    a job can ask for there, or None: nobody asked.
    """

    cpus: int = 1
    gpus: int = 0
    parallel: int | None = None
    card_mb: int | None = None
    kinds: tuple[str, ...] | None = None


class Selection(NamedTuple):
    """Which part of the sweep to run; None is all."""

    strategies: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None


EVERYTHING = Selection()
ONE_CORE = Capacity()


@dataclass(frozen=True)
class Plan:
    """All jobs of a sweep, and which of them are asked for.

    Attributes
    ----------
    sweep, data, split, pins:
        What it was made of.
    specs:
        The jobs asked for, in run order.
    cells:
        All cells of the sweep, in the same order: `{"id", "label", "names"}`.
    columns:
        Keys of `names`, in order.
    notes:
        Decisions, each with its reason.
    """

    sweep: SweepFile
    data: DataSet | None
    split: Split | None
    pins: Pins
    specs: tuple[JobSpec, ...]
    cells: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


class _Draft(NamedTuple):
    """One job before it has its host's part."""

    id: str
    label: str
    names: dict[str, Any]
    cell: Cell
    argv: tuple[str, ...]


def plan(
    sweep: SweepFile,
    data: DataSet | None,
    split: Split | None,
    pins: Pins,
    selection: Selection = EVERYTHING,
    capacity: Capacity = ONE_CORE,
) -> Plan:
    """Return the plan of a sweep.

    Raises
    ------
    UsageError
        The selection names what the sweep does not have, two jobs would be the same, or a trainer's sweep lacks data.
    SpecError
        There are fewer patients than folds.
    """
    notes = list(sweep.notes)
    columns = columns_of(sweep)
    trainer = sweep.kind == TRAINER
    drafts = _trainer_drafts(sweep, data, split, pins, notes) if trainer else _command_drafts(sweep, pins)
    _refuse_same_jobs(drafts)
    chosen = _chosen(drafts, columns, selection)
    shared = _shared(sweep, data, split, pins, _resources(sweep, len(chosen), capacity, notes))
    specs = tuple(
        JobSpec(label=draft.label, names=draft.names, cell=draft.cell, argv=draft.argv, **shared) for draft in chosen
    )
    cells = tuple({"id": draft.id, "label": draft.label, "names": draft.names} for draft in drafts)
    return Plan(sweep, data, split, pins, specs, cells, columns, tuple(notes))


def columns_of(sweep: SweepFile) -> tuple[str, ...]:
    """Return the keys of every job's `names`, in order."""
    if sweep.kind == TRAINER:
        return ("strategy", "fold", "seed")
    return (*sweep.axes, *(["seed"] if sweep.seeds else []))


def _trainer_drafts(
    sweep: SweepFile, data: DataSet | None, split: Split | None, pins: Pins, notes: list[str]
) -> list[_Draft]:
    if data is None or split is None:
        raise UsageError(f"the sweep {sweep.shown} names no data", "add a line `data: NAME`, or pass --data NAME")
    check_folds(sweep, data)
    train = _sized(sweep, data, notes)
    argv = (pins.python, "-I", "-B", str(pins.code_path), "{run}")
    several = len(sweep.seeds) > 1
    drafts = []
    recipes = {name: {"augment": steps, "train": train} for name, steps in sweep.strategies.items()}
    texts = {name: canonical(parameters) for name, parameters in recipes.items()}
    for seed in sweep.seeds:
        for fold in range(sweep.folds):
            for name, parameters in recipes.items():
                cell = Cell(TRAINER, parameters, data.hash, split.hash, fold, seed)
                label = f"{name}/{fold}/{seed}" if several else f"{name}/{fold}"
                names = {"strategy": name, "fold": fold, "seed": seed}
                drafts.append(_Draft(cell.id_with(texts[name]), label, names, cell, argv))
    return drafts


def check_folds(sweep: SweepFile, data: DataSet) -> None:
    """Refuse more folds than patients.

    Raises
    ------
    SpecError
        With the number that would do.
    """
    if sweep.folds > data.patients:
        raise SpecError(
            f"{counted(sweep.folds, 'fold')} cannot be made of {counted(data.patients, 'patient')} ({data.name})",
            f"write folds: {data.patients} in {sweep.path}" if data.patients > 1 else "add patients to the data set",
        )


def _sized(sweep: SweepFile, data: DataSet, notes: list[str]) -> dict[str, Any]:
    """Return the training parameters with a concrete slice size."""
    train = dict(sweep.train)
    step, needed = 2 ** int(train["depth"]), data.sizes[str(train["axis"])]
    if train["size"] == "auto":
        train["size"] = [-(-side // step) * step for side in needed]
        rows, columns = train["size"]
        notes.append(
            f"slices {rows} x {columns}: the smallest multiples of {step} that hold every slice of {data.name}"
        )
    return train


def _command_drafts(sweep: SweepFile, pins: Pins) -> list[_Draft]:
    axes = {**sweep.axes, **({"seed": list(sweep.seeds)} if sweep.seeds else {})}
    drafts, taken = [], set()
    for point in grid.points(axes):
        if sweep.kind == NOTEBOOK:
            argv: tuple[str, ...] = (pins.python, "-I", "-B", str(pins.code_path), "{run}")
            parameters = _notebook_parameters(sweep, point)
        else:
            argv = tuple(grid.fill(word, point) for word in sweep.command)
            values = {name: point[name] for name in sweep.axes} if sweep.seeds else point
            parameters = {"argv": list(argv), "grid": values}
        cell = Cell(sweep.kind, parameters, seed=point.get("seed") if sweep.seeds else None)
        number = cell.id
        label = _label(point, sweep.shown)
        label = f"{label}~{number[:4]}" if label in taken else label
        taken.add(label)
        drafts.append(_Draft(number, label, point, cell, argv))
    return drafts


def _notebook_parameters(sweep: SweepFile, point: Mapping[str, Any]) -> dict[str, Any]:
    """The cell of a notebook: every value by the variable that gets it; where the notebook lies is part of it."""
    values = {**sweep.parameters, **{sweep.variables.get(axis, axis): value for axis, value in point.items()}}
    return {"notebook": sweep.notebook, "grid": values, "result": dict(sweep.result)}


def _label(point: Mapping[str, Any], name: str) -> str:
    parts = [f"{axis}={_UNFIT.sub('_', grid.plain(value))[:_LABEL_VALUE]}" for axis, value in point.items()]
    return ",".join(parts) or name


def _refuse_same_jobs(drafts: list[_Draft]) -> None:
    seen: dict[str, str] = {}
    for draft in drafts:
        first = seen.setdefault(draft.id, draft.label)
        if first != draft.label:
            raise UsageError(f"{first} and {draft.label} would be the same job", "keep one of the two")


def _chosen(drafts: list[_Draft], columns: tuple[str, ...], selection: Selection) -> list[_Draft]:
    for column, flag, wanted in zip(("strategy", "fold", "seed"), selection._fields, selection, strict=True):
        if wanted is None:
            continue
        if column not in columns:
            raise UsageError(f"--{flag}: this sweep has no {column}", f"its columns are: {', '.join(columns)}")
        known = list(dict.fromkeys(draft.names[column] for draft in drafts))
        for value in wanted:
            _refuse_unknown(value, known, flag)
        drafts = [draft for draft in drafts if draft.names[column] in wanted]
    return drafts


def _refuse_unknown(value: Any, known: list[Any], flag: str) -> None:
    if value not in known:
        names = [str(one) for one in known]
        hint = f"{flag} are: {', '.join(names)}" + ("; more stand in the sweep file" if flag == "seeds" else "")
        raise UsageError(f"--{flag}: the sweep has no {value}{did_you_mean(str(value), names)}", hint)


def _resources(sweep: SweepFile, jobs: int, capacity: Capacity, notes: list[str]) -> Resources:
    given: dict[str, Any] = dict(sweep.resources)
    gpus = int(given.get("gpus", 1 if sweep.kind != COMMAND and capacity.gpus else 0))
    if "cpus" in given:
        cpus, reason = int(given["cpus"]), "the sweep says so"
    elif sweep.kind == COMMAND:
        cpus, reason = 1, "the default for commands; resources: {cpus: N} changes it"
    elif gpus:
        cpus, reason = min(_GPU_JOB_CORES, max(1, capacity.cpus // capacity.gpus)), "the card does the work"
    else:
        side_by_side = max(1, min(capacity.parallel or capacity.cpus, jobs))
        cpus = max(1, capacity.cpus // side_by_side)
        reason = f"{counted(capacity.cpus, 'core')}, {counted(side_by_side, 'job')} side by side"
    notes.append(f"{counted(cpus, 'core')} for each job: {reason}")
    if gpus:
        notes.append(f"{counted(gpus, 'GPU')} for each job" + ("" if "gpus" in given else ": this host has GPUs"))
    if "time_limit_s" in given:
        notes.append(f"each job is asked to stop after {given['time_limit_s']:g} s: the sweep says so")
    if "log_mb" in given:
        notes.append(f"the log of each job holds at most {given['log_mb']} MiB: the sweep says so")
    if not gpus:
        given.pop("gpu_type", None)
    return Resources(**{**given, "cpus": cpus, "gpus": gpus})


def _shared(
    sweep: SweepFile, data: DataSet | None, split: Split | None, pins: Pins, resources: Resources
) -> dict[str, Any]:
    trainer = sweep.kind == TRAINER
    cwd = pins.code_path if pins.code_path and not trainer else sweep.base
    inputs: dict[str, Any] = {"manifest": data.manifest, "split": split.path} if trainer and data and split else {}
    if sweep.inputs:
        inputs = {"folder": str(PurePath(sweep.base, sweep.notebook).parent), "links": list(sweep.inputs)}
    provenance = {
        **pins.provenance,
        "created": pins.created,
        "code": pins.code,
        "data": {"name": data.name, "hash": data.hash} if data else None,
        "split": split.hash if split else None,
    }
    return {
        "sweep": sweep.name,
        "cwd": cwd,
        "env": sweep.env,
        "resources": resources,
        "tuning": sweep.tuning,
        "policy": sweep.policy,
        "result_required": trainer or bool(sweep.result),
        "inputs": inputs,
        "provenance": provenance,
        "placement": dict(pins.placement),
    }


def sweep_record(plan: Plan) -> dict[str, Any]:
    """Return the record of the sweep: what it is now, all cells in order (`docs/contract.md`)."""
    sweep = plan.sweep
    return {
        "contract": CONTRACT,
        "name": sweep.name,
        "source": sweep.path,
        "text": sweep.text,
        "created": plan.pins.created,
        "updated": plan.pins.created,
        "code": plan.pins.code,
        "kind": sweep.kind,
        "columns": list(plan.columns),
        "baseline": sweep.baseline,
        "metric": sweep.metric,
        "steps": sweep.train.get("epochs"),
        "strategies": list(sweep.strategies),
        "data": plan.data.name if plan.data else None,
        "cells": list(plan.cells),
    }


def counts(plan: Plan) -> Iterator[str]:
    """Yield the factors of the number of jobs: `7 strategies`, `5 folds`, `1 seed`."""
    for column in plan.columns:
        number = len({canonical(spec.names[column]) for spec in plan.specs})
        yield counted(number, column) if column in _COUNTABLE else f"{counted(number, 'value')} of {column}"
