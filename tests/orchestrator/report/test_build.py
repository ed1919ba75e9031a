from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from orchestrator.report import build
from orchestrator.report.facts import gather
from orchestrator.store import Index

Make = Callable[..., dict[str, Any]]


def test_a_resumed_attempt_goes_on_where_the_former_was_cut_off(index: Index, finished: Make) -> None:
    last = finished("rotate", 0)
    start, *epochs = last["events"]
    cut = {**last, "events": [start, *epochs[:12]], "result": None, "cases": None, "exit": None}
    cut["verdict"] = {"state": "interrupted", "reason": "reboot", "warning": ""}
    last |= {"attempt": 2, "events": [{**start, "resumed_from": 1}, *epochs[10:]]}  # epochs 11 and 12 are done again
    index.ingest([cut, last])
    (learning,) = build(index, "augmentations").learning
    steps = list(learning.curves["val_dice"].steps)
    assert steps == list(range(1, len(epochs) + 1))
    assert learning.attempt == 2 and learning.strategy == "rotate"


def test_an_unfinished_job_shows_its_newest_curve(holed: Index) -> None:
    lengths = {one.job.label: len(one.curves["val_dice"].steps) for one in build(holed, "augmentations").learning}
    assert lengths["rotate+noise/3"] == 11 and len(lengths) == 15


def test_the_worst_come_first(whole: Index) -> None:
    report = build(whole, "augmentations")
    scores = [row.dice or 0 for _, row in report.worst]
    assert all(a <= b for a, b in itertools.pairwise(scores))
    assert scores[0] == min(row.dice or 0 for _, row in report.cases)


def test_facts_come_from_what_counts(holed: Index) -> None:
    facts = {fact.name: fact for fact in build(holed, "augmentations").facts}
    assert sum(len(labels) for labels in facts["host"].values.values()) == 14
    assert list(facts["data"].values) == ["hippocampus (9a31c07de2b14f55)"]
    assert list(facts["git"].values) == ["4e2f9a100000"]
    assert {"split", "code", "environment", "torch", "precision", "device"} <= set(facts)


def test_without_anything_there_are_no_facts(index: Index) -> None:
    assert gather([], []) == ()
