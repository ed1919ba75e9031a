"""`orch note`: notes and tags outlive the index."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_notes_and_tags_come_back_after_a_rebuild(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "true", "{n: [1, 2]}")
    orch("sweep", "s")
    assert "the ducts" in orch("note", "n=1", "the ducts are dilated").out
    orch("note", "n=1", "--tag", "paper")
    orch("note", "s", "first run")
    assert orch("index", "rebuild").code == 0
    found = [(line["kind"], line["text"]) for line in json.loads(orch("note", "n=1", "--json").out)]
    assert found == [("note", "the ducts are dilated"), ("tag", "paper")]
    assert [line["text"] for line in json.loads(orch("note", "s", "--json").out)] == ["first run"]
    assert json.loads(orch("note", "n=2", "--json").out) == []
    assert orch("index", "check").code == 0


def test_one_of_the_two(orch: Orch, swept: Ground) -> None:
    assert orch("note", "fold=1,lr=0.001", "text", "--tag", "word").code == 2
    assert orch("note", "nothing", "text").code == 3
