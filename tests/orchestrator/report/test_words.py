from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.report import build, summarise, words
from orchestrator.report.markdown import render
from orchestrator.store import Index

Make = Callable[..., dict[str, Any]]


def test_one_seed_is_a_hypothesis(whole: Index) -> None:
    text = words.headline(summarise(whole, "augmentations"))
    assert text.startswith("rotate has the highest mean Dice, 0.8")
    assert "the baseline identity has 0.8" in text and "hypothesis" in text


def test_a_strategy_with_a_hole_is_not_ranked(holed: Index, finished: Make) -> None:
    better = finished("rotate+noise", 0)
    assert "Not ranked, because cells are missing: rotate+noise (4 of 5)" in words.headline(
        summarise(holed, "augmentations")
    )
    assert better["sweep"] == "augmentations"


def test_nothing_yet(index: Index) -> None:
    cells = [{"id": "a" * 16, "label": "rotate/0", "names": {"strategy": "rotate", "fold": 0}}]
    index.record_sweep({"name": "new", "kind": "trainer", "cells": cells})
    report = build(index, "new")
    assert report.headline == "No result yet: 1 cell, 1 planned."
    assert report.methods == "" and report.warnings == ("1 cell of 1 without a result (planned: rotate/0).",)


def test_warnings_name_every_trouble(holed: Index, finished: Make) -> None:
    other = finished("identity", 0, attempt=1)
    other["events"][0] |= {"precision": "bf16", "micro_batch": 4}
    holed.ingest([{**other, "offset": 20_000, "host": "grace"}])
    found = "\n".join(build(holed, "augmentations").warnings)
    assert "failed: rotate+noise/3" in found
    assert "different patients (identity 40, rotate 40, rotate+noise 32)" in found
    assert "rotate/1, attempt 1: result.json was changed after the end." in found
    assert "share the same precision (bf16: identity/0; fp32: " in found
    assert "share the same micro-batch (4 of 16 slices: identity/0; the whole batch: " in found
    assert "share the same host (grace: identity/0; local: " in found


def test_a_fenced_result_is_named(whole: Index) -> None:
    job = whole.job("augmentations", "rotate/2")
    fence = {"seq": 0, "sweep": "augmentations", "job": job.id, "kind": "fence", "attempt": 1}
    whole.ingest_journal([fence, {**fence, "seq": 1, "kind": "note", "text": "bad coil"}], 9)
    report = build(whole, "augmentations")
    assert "rotate/2, attempt 1: its result came after it was given up and does not count." in report.warnings
    assert report.notes == ("rotate/2: bad coil",)


def test_the_methods_can_be_pasted(whole: Index) -> None:
    text = build(whole, "augmentations").methods
    assert "64 channels" in text and "48 × 64 pixels" in text and "5-fold cross-validation over 40 patients" in text
    assert words.EARLY_STOPPING in text


@pytest.mark.parametrize("sweep", ["whole", "holed"])
def test_no_word_of_tests_or_significance(sweep: str, request: pytest.FixtureRequest) -> None:
    page = render(build(request.getfixturevalue(sweep), "augmentations"))
    assert not re.search(r"signific|p-value|p =|\bp <|confidence|wilcoxon", page, re.IGNORECASE)
