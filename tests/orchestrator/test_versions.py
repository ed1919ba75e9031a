"""What labels meant before a sweep file changed, and what changed, in words."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.errors import NotFound
from orchestrator import versions


def record(*cells: str, **more: Any) -> dict[str, Any]:
    return {"cells": [{"id": one, "label": one[0], "names": {}} for one in cells], "text": "", **more}


def run(*steps: tuple[str, ...]) -> dict[str, Any]:
    """A sweep that was run with these cells, one after the other."""
    known: dict[str, Any] = {}
    for cells in steps:
        known = versions.continued(record(*cells, text=f"n: {'-'.join(cells)}"), known)
    return known


def test_cells_that_only_come_add_no_version() -> None:
    known = run(("a1",), ("a1", "b1"), ("a1", "b1", "c1"))
    assert (versions.number(known), known["versions"]) == (1, [])


def test_each_time_cells_leave_the_former_ones_get_a_number() -> None:
    known = run(("a1", "b1"), ("a2", "b2"), ("a2",), ("a3",))
    assert versions.number(known) == 4
    assert [(one["n"], one["cells"]) for one in known["versions"]] == [
        (1, ["a1", "b1"]),
        (2, ["a2", "b2"]),
        (3, ["a2"]),
    ]
    assert versions.of_cell(known, "b1") == 1 and versions.of_cell(known, "a2") == 3
    assert versions.of_cell(known, "a3") is None and versions.of_cell(known, "zz") is None
    then = versions.at(known, 2, "s")
    assert (versions.ids(then), then["text"], then["version"]) == (["a2", "b2"], "n: a2-b2", 2)
    assert versions.at(known, None, "s") is known is versions.at(known, 4, "s")
    with pytest.raises(NotFound, match="s has no version 9"):
        versions.at(known, 9, "s")


def test_a_file_that_is_changed_back_is_that_version_again_and_numbers_are_never_used_twice() -> None:
    known = run(("a1",), ("a2",), ("a1",))
    assert versions.number(known) == 1 and [one["n"] for one in known["versions"]] == [2]
    known = versions.continued(record("a3"), known)
    assert versions.number(known) == 3 and [one["n"] for one in known["versions"]] == [2, 1]


def test_the_oldest_versions_are_left_out_one_day() -> None:
    known = run(*[(f"a{number}",) for number in range(40)])
    assert versions.number(known) == 40
    assert [one["n"] for one in known["versions"]] == list(range(20, 40))


@pytest.mark.parametrize("told", [None, 7, "x", [3], [{"n": "1", "cells": []}], [{"n": 1}], [{"n": 1, "cells": 5}]])
def test_a_record_that_tells_nonsense_has_no_versions(told: Any) -> None:
    known = record("a1", version=told, versions=told)
    assert versions.earlier(known) == [] and versions.of_cell(known, "a1") is None
    assert versions.number(known) == (7 if told == 7 else 1)
    assert versions.number(versions.continued(record("a2"), known)) > 1


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("train: {epochs: 3}", "train: {epochs: 2}", "train.epochs 3 -> 2"),
        ("folds: 5", "folds: 3\nseeds: [0, 1]", "folds 5 -> 3, seeds (not there) -> [0, 1]"),
        ("grid: {n: [1, 2]}", "grid: {n: [1, 2, 3]}", "grid.n [1, 2] -> [1, 2, 3]"),
        (
            "strategies: {r: [{rotate: {degrees: 15}}, {flip: {}}]}",
            "strategies: {r: [{rotate: {degrees: 20}}, {flip: {}}]}",
            "strategies.r[0].rotate.degrees 15 -> 20",
        ),
        ("a: 1", "a: 1", "the options of the command"),
        ("a: [", "a: 1", "a (not there) -> 1"),
        ("x" * 9 + ": " + "y" * 99, "z: 1", f"xxxxxxxxx {'y' * 39}… -> (not there), z (not there) -> 1"),
    ],
)
def test_what_changed_in_words(before: str, now: str, said: str) -> None:
    assert versions.changes({"text": before}, {"text": now}) == said


@pytest.mark.parametrize(
    ("word", "parts"),
    [("a@1", ("a", 1)), ("n=1@12", ("n=1", 12)), ("a", ("a", None)), ("a@", ("a@", None)), ("@1", ("@1", None))],
)
def test_the_number_behind_a_name(word: str, parts: tuple[str, int | None]) -> None:
    assert versions.split_version(word) == parts
