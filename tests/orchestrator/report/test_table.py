from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.report import comparison, summarise
from orchestrator.report.table import detail, duration, write
from orchestrator.store import Index

USE = """
import pathlib, sys
from orchestrator.report import comparison, summarise
from orchestrator.store import Index
with Index.open(pathlib.Path(sys.argv[1])) as index:
    comparison(summarise(index, sys.argv[2])).texts()
heavy = {"pandas", "numpy", "matplotlib", "jinja2", "sqlalchemy"} & set(sys.modules)
raise SystemExit(f"imported {heavy}" if heavy else 0)
"""


def test_the_table_for_a_terminal_imports_nothing_heavy(holed: Index) -> None:
    subprocess.run([sys.executable, "-c", USE, str(holed.path), "augmentations"], check=True)


def test_columns_and_texts(holed: Index) -> None:
    table = comparison(summarise(holed, "augmentations"))
    rows = [dict(zip([column.name for column in table.columns], texts, strict=True)) for texts in table.texts()]
    assert list(rows[0])[:7] == ["strategy", "cells", "patients", "Dice", "on common", "anterior", "posterior"]
    assert rows[2]["strategy"] == "rotate+noise" and rows[2]["cells"] == "4/5" and rows[2]["patients"] == "32"
    assert rows[2]["fold 3"] == "–"
    assert " ± " in rows[0]["Dice"] and rows[0]["time"].endswith(" s")


def test_details_stand_apart(holed: Index) -> None:
    summary = summarise(holed, "augmentations")
    names = [column.name for column in comparison(summary).main().columns]
    assert "Dice" in names and "fold 0" not in names and "time" not in names
    assert detail(summary).texts()[2][4] == "failed"


def test_a_fold_with_some_of_its_seeds_says_so(whole: Index) -> None:
    record = dict(whole.sweep("augmentations").record)
    extra = {"id": "e" * 16, "label": "identity/0/1", "names": {"strategy": "identity", "fold": 0, "seed": 1}}
    whole.record_sweep({**record, "cells": [*record["cells"], extra]})
    assert detail(summarise(whole, "augmentations")).texts()[0][1].endswith(" (planned)")


def test_a_sweep_without_any_result(index: Index) -> None:
    index.record_sweep({"name": "new", "kind": "trainer", "cells": []})
    assert comparison(summarise(index, "new")).rows == ()


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, "score", "–"),
        ((None, None), "spread", "–"),
        ((0.5, None), "spread", "0.500"),
        ((0.5, 0.1), "spread", "0.500 ± 0.100"),
        (0.00012345, "number", "0.0001234"),
        (7, "number", "7"),
        (33.84, "tenth", "33.8"),
    ],
)
def test_values_in_words(value: object, form: str, text: str) -> None:
    assert write(value, form) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.41, "0.4 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05"), (3600, "1 h 00")],
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_table_of_any_program(grid: Index, tmp_path: Path) -> None:
    table = comparison(summarise(grid, "grid"))
    assert [column.name for column in table.columns] == ["lr", "done", "accuracy", "seconds"]
    assert table.texts() == [["0.001", "3/3", "0.6", "3"], ["0.0001", "2/3", "0.85", "3"]]
