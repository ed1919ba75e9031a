from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from orchestrator.report import build
from orchestrator.report.csv import render
from orchestrator.store import Index


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_full_precision_and_empty_fields(holed: Index) -> None:
    report = build(holed, "augmentations")
    table = read(render(report)["comparison.csv"])
    assert table["Dice mean"][0] == report.summary.strategies[0].dice.mean
    assert list(table["fold 3"].isna()) == [False, False, True]
    assert table["patients"].dtype.kind == "i"


def test_one_row_for_each_case_and_class(holed: Index) -> None:
    table = read(render(build(holed, "augmentations"))["patients.csv"])
    assert len(table) == 14 * 8 * 2
    assert {"strategy", "fold", "seed", "patient", "case", "class", "status", "dice", "tp"} <= set(table.columns)


def test_one_row_for_each_step(holed: Index) -> None:
    report = build(holed, "augmentations")
    table = read(render(report)["curves.csv"])
    assert len(table) == sum(len(one.curves["val_dice"].steps) for one in report.learning)
    assert list(table.columns[:6]) == ["job", "strategy", "fold", "seed", "attempt", "step"]
    first = report.learning[0].curves["val_dice"].values[0]
    assert table["val_dice"][0] == pytest.approx(first, abs=0)


def test_no_formula_reaches_a_spreadsheet(index: Index, finished: Callable[..., dict[str, Any]]) -> None:
    report = finished("rotate", 0)
    report["spec"] |= {"names": {"strategy": "=cmd()", "fold": 0}}
    index.ingest([report])
    assert "\n'=cmd()," in render(build(index, "augmentations"))["comparison.csv"]


def test_nothing_gives_empty_files(index: Index) -> None:
    index.record_sweep({"name": "new", "kind": "trainer", "cells": []})
    files = render(build(index, "new"))
    assert files["patients.csv"] == files["curves.csv"] == ""
