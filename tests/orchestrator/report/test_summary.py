from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.errors import NotFound
from orchestrator.report import summarise
from orchestrator.store import Index

Make = Callable[..., dict[str, Any]]


def test_a_whole_sweep(whole: Index) -> None:
    summary = summarise(whole, "augmentations")
    assert [row.name for row in summary.strategies] == ["identity", "rotate", "rotate+noise"]
    assert all(row.complete and row.dice.n == 40 and row.common is None for row in summary.strategies)
    assert summary.holes == () and summary.folds == (0, 1, 2, 3, 4) and summary.seeds == (0,)
    first = summary.strategies[0]
    assert first.dice.mean == pytest.approx(sum(value or 0 for value in first.folds) / 5)  # equal folds
    assert first.dice.mean == pytest.approx(sum(one.mean or 0 for one in first.classes.values()) / 2)
    assert first.slice_dice == pytest.approx((first.dice.mean or 0) + 0.08)


def test_a_hole_is_never_averaged_away(holed: Index) -> None:
    summary = summarise(holed, "augmentations")
    row = summary.strategies[2]
    assert (row.done, row.cells, row.dice.n, row.complete) == (4, 5, 32, False)
    assert row.folds[3] is None and row.lacking == ("", "", "", "failed", "")
    assert [job.label for job in summary.holes] == ["rotate+noise/3"]
    assert {one.common.n for one in summary.strategies if one.common} == {32}
    whole = summary.strategies[0]
    assert whole.common is not None and whole.common.mean != whole.dice.mean


def test_seeds_are_averaged_within_patients(index: Index, finished: Make) -> None:
    index.ingest(finished("rotate", fold, seed) for fold in range(2) for seed in (0, 1, 2))
    summary = summarise(index, "augmentations")
    assert summary.seeds == (0, 1, 2)
    assert summary.strategies[0].dice.n == 16
    assert summary.strategies[0].cells == 6


def test_without_a_record_the_run_folders_speak(index: Index, finished: Make) -> None:
    index.ingest([finished("rotate", 0)])
    summary = summarise(index, "augmentations")
    assert summary.kind == "trainer" and summary.metric == "dice" and len(summary.jobs) == 1


def test_cells_that_left_the_sweep_are_left_out(holed: Index, finished: Make) -> None:
    strange = {**finished("rotate", 0), "job": "f" * 16}
    holed.ingest([strange])
    assert len(summarise(holed, "augmentations").jobs) == 15


def test_any_program_is_grouped_by_its_grid(grid: Index) -> None:
    summary = summarise(grid, "grid")
    assert summary.columns == ("lr",) and summary.names == ("accuracy", "seconds")
    assert [(group.key, group.done, group.cells) for group in summary.groups] == [((0.001,), 3, 3), ((0.0001,), 2, 3)]
    assert list(summary.groups[0].values) == pytest.approx([0.6, 3.0])


def test_no_such_sweep(index: Index) -> None:
    with pytest.raises(NotFound):
        summarise(index, "nothing")
