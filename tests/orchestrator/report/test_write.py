from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import DiskError
from orchestrator.report import build, write
from orchestrator.store import Index

NAMES = ["report.html", "report.md", "comparison.csv", "patients.csv", "curves.csv", "curves.png", "comparison.png"]


def test_all_files_in_a_folder_as_bad_as_they_come(holed: Index, hostile_path: Path) -> None:
    written = write(build(holed, "augmentations"), hostile_path / "report")
    assert [path.name for path in written.paths] == NAMES
    assert all(path.stat().st_size > 100 for path in written.paths)
    assert sorted(path.name for path in (hostile_path / "report").iterdir()) == sorted(NAMES)


def test_figures_of_an_earlier_report_do_not_stay(holed: Index, tmp_path: Path) -> None:
    write(build(holed, "augmentations"), tmp_path)
    holed.record_sweep({"name": "new", "kind": "trainer", "cells": []})
    written = write(build(holed, "new"), tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == set()
    assert len(written.paths) == 5


def test_a_folder_that_cannot_be_written(holed: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        write(build(holed, "augmentations"), tmp_path / "file" / "report")
