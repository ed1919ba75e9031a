"""Sweeps as they are found in an index: a comparison of three strategies with one hole, and a grid of any program."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Index

CLASSES = ("anterior", "posterior")
LEVEL = {"identity": 0.842, "rotate": 0.861, "rotate+noise": 0.855}
TRAIN = {"width": 64, "depth": 4, "batch_size": 16, "epochs": 40, "lr": 1e-4, "patience": 10, "loss": {"dice": 0.5}}
Report = dict[str, Any]


def _uid(strategy: str, fold: int, seed: int) -> str:
    return f"{sorted(LEVEL).index(strategy):04x}{fold:06x}{seed:06x}"


def _events(chance: random.Random, level: float, epochs: int) -> list[Report]:
    start: Report = {"device": "cpu", "precision": "fp32", "versions": {"torch": "2.6.0", "python": "3.12.4"}}
    start |= {"batch": 16, "micro_batch": 16}
    events: list[Report] = [{"seq": 0, "t": 1e9, "kind": "start", "resumed_from": None} | start]
    for epoch in range(1, epochs + 1):
        risen = 1 - math.exp(-epoch / 6)
        train, inner = risen * (level + 0.06), risen * level + chance.gauss(0, 0.008)
        values = {"train_loss": 1 - train, "val_loss": 1.02 - inner, "train_dice": train, "val_dice": inner, "lr": 1e-4}
        events.append({"seq": epoch, "t": 1e9 + 6 * epoch, "kind": "metrics", "step": epoch, "values": values})
    return events


def _cases(chance: random.Random, fold: int, level: float) -> list[Report]:
    rows = []
    for patient in range(8):
        skill = random.Random(f"{fold}-{patient}").gauss(0, 0.04)
        for cls, shift in zip(CLASSES, (0.01, -0.01), strict=True):
            dice = min(0.97, level + shift + skill + chance.gauss(0, 0.012))
            row: Report = {
                "case": f"c-{fold}{patient}cafe",
                "group": f"p-{fold}{patient}beef",
                "class": cls,
                "status": "ok",
            }
            volumes = {"volume_ref_ml": 2.5, "volume_pred_ml": 2.5 + skill}
            rows.append({**row, "dice": dice, "slice_dice": min(1.0, dice + 0.08), "tp": 900, **volumes})
    return rows


def _spec(strategy: str, fold: int, seed: int) -> Report:
    git = {"commit": "4e2f9a1" + "0" * 33, "dirty": False}
    data = {"name": "hippocampus", "hash": "9a31c07de2b14f55"}
    train = {**TRAIN, "axis": 2, "size": [48, 64]}
    return {
        "label": f"{strategy}/{fold}",
        "names": {"strategy": strategy, "fold": fold, "seed": seed},
        "cell": {"program": "trainer", "parameters": {"augment": [], "train": train}, "fold": fold, "seed": seed},
        "provenance": {
            "code": "71c0aa",
            "git": git,
            "data": data,
            "split": "9a31",
            "environment": {"fingerprint": "e5"},
        },
    }


def done(strategy: str, fold: int, seed: int = 0, **more: Any) -> Report:
    """A finished cell, as its host reports it."""
    chance = random.Random(f"{strategy}{fold}{seed}")
    level, epochs = LEVEL[strategy] + chance.gauss(0, 0.006), 30 + chance.randrange(10)
    rows = _cases(chance, fold, level)
    mean = sum(row["dice"] for row in rows) / len(rows)
    numbers = {
        "dice": mean,
        "slice_dice": mean + 0.08,
        "epochs": epochs,
        "seconds": 6.1 * epochs,
        "seconds_per_epoch": 6.1,
    }
    return {
        "host": "local",
        "sweep": "augmentations",
        "job": _uid(strategy, fold, seed),
        "attempt": 1,
        "spec": _spec(strategy, fold, seed),
        "verdict": {"state": "done", "reason": "result handed in", "warning": ""},
        "exit": {"status": 0, "host": "local", "started": 1e9, "ended": 1e9 + 6.1 * epochs, "files": {}},
        "result": {"contract": 1, "values": numbers},
        "cases": rows,
        "events": _events(chance, level, epochs),
        "offset": 10_000,
        **more,
    }


def record(seeds: tuple[int, ...] = (0,)) -> Report:
    """The record of the sweep of all strategies."""
    cells = [
        {"id": _uid(name, fold, seed), **{key: _spec(name, fold, seed)[key] for key in ("label", "names")}}
        for name in LEVEL
        for fold in range(5)
        for seed in seeds
    ]
    common = {"contract": 1, "name": "augmentations", "created": "2026-01-01T00:00:00Z", "kind": "trainer"}
    return {**common, "columns": ["strategy", "fold", "seed"], "baseline": "identity", "metric": "dice", "cells": cells}


@pytest.fixture
def finished() -> Callable[..., Report]:
    """Make a finished cell's report: `finished("rotate", fold, seed)`."""
    return done


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index.db") as opened:
        yield opened


@pytest.fixture
def whole(index: Index) -> Index:
    """All 15 cells are done."""
    index.record_sweep(record())
    index.ingest(done(name, fold) for name in LEVEL for fold in range(5))
    return index


@pytest.fixture
def holed(index: Index) -> Index:
    """One cell failed, one runs with fewer epochs, the other 13 are done; one of them with a warning."""
    index.record_sweep(record())
    cells = {(name, fold): done(name, fold) for name in LEVEL for fold in range(5)}
    failed = cells["rotate+noise", 3]
    failed.update(verdict={"state": "failed", "reason": "out of memory (line 812 of log.txt)", "warning": ""})
    failed.update(result=None, cases=None, events=failed["events"][:12])
    cells["rotate", 1]["verdict"]["warning"] = "result.json was changed after the end"
    index.ingest(cells.values())
    return index


@pytest.fixture
def grid(index: Index) -> Index:
    """A sweep of any program: two learning rates, three folds, one cell still planned."""
    points = [{"lr": lr, "fold": fold} for lr in (1e-3, 1e-4) for fold in range(3)]
    cells = [{"id": f"{n:016x}", "label": f"lr={p['lr']},fold={p['fold']}", "names": p} for n, p in enumerate(points)]
    base = {"contract": 1, "name": "grid", "kind": "command", "columns": ["lr", "fold"], "metric": "accuracy"}
    index.record_sweep({**base, "cells": cells})
    for number, cell in enumerate(cells[:5]):
        curve = [{"seq": n, "t": n, "kind": "metrics", "step": n, "values": {"cost": 1 / (n + 1)}} for n in range(9)]
        result = {"values": {"seconds": 3.0, "accuracy": 0.5 + number / 10}}
        verdict = {"state": "done", "reason": "result handed in", "warning": ""}
        common = {"host": "local", "sweep": "grid", "attempt": 1, "verdict": verdict, "exit": {"status": 0}}
        index.ingest([{**common, "job": cell["id"], "spec": cell, "events": curve, "offset": 9, "result": result}])
    return index
