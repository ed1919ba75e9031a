"""Ranges, points and placeholders."""

from __future__ import annotations

import pytest

from orchestrator import grid


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("3..1", [3, 2, 1]),
        ("-2..1", [-2, -1, 0, 1]),
        ("7..7", [7]),
        ([0, "2..3", 9], [0, 2, 3, 9]),
        (["a..b", 1.5, None], ["a..b", 1.5, None]),
    ],
)
def test_ranges_hold_both_ends(written: object, values: list[object]) -> None:
    assert grid.values(written) == values
    assert grid.length(written) == len(values)


def test_the_last_axis_runs_fastest() -> None:
    assert list(grid.points({"a": [1, 2], "b": ["x", "y"]})) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert list(grid.points({})) == [{}]


def test_placeholders_are_filled_and_run_stays() -> None:
    point = {"fold": 2, "lr": 1e-3, "whole": 15.0, "on": True, "none": None}
    word = "--x={fold}/{lr}/{whole}/{on}/{none}/{run}/{{fold}}"
    assert grid.fill(word, point) == "--x=2/0.001/15/true//{run}/{fold}"
    assert grid.placeholders(word) == ["fold", "lr", "whole", "on", "none", "run"]
    assert grid.placeholders('{"json": 1} {}') == []
