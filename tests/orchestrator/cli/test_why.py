"""`orch why`: each state with its proof and its repair."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_a_failure_comes_with_evidence_and_repair(orch: Orch, swept: Ground) -> None:
    said = orch("why", "fold=0,lr=0.1")
    assert said.code == 0
    assert "is failed" in said.out.splitlines()[0]
    assert "exit status 3" in said.out
    assert "evidence: ValueError: rate too high" in said.out
    assert "repair:   look at the log" in said.out
    assert "it is a hole" in said.out
    assert "its place: local, because no other host was asked for" in said.out
    assert "next: orch logs fold=0,lr=0.1, then orch retry fold=0,lr=0.1" in said.err


def test_the_document_holds_everything(orch: Orch, swept: Ground) -> None:
    document = json.loads(orch("why", "fold=0,lr=0.001", "--sweep", "rates", "--json").out)
    (attempt,) = document["attempts"]
    assert (document["state"], document["label"]) == ("done", "fold=0,lr=0.001")
    assert attempt["verdict"]["reason"] == "result handed in"
    assert attempt["exit"]["status"] == 0
    assert attempt["spec"]["claim"]["device"]["why"] == "no GPU asked for"


def test_jobs_that_wait_and_jobs_that_were_never_queued(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done", "{fold: 0..3}")
    orch("sweep", "s", "--detach", "--parallel", "1", "--folds", "0..2")
    said = orch("why", "fold=2")
    assert "it waits for a free slot; 1 jobs of this sweep are before it" in said.out
    assert "next: orch status --watch" in said.err
    said = orch("why", "fold=3")
    assert "it was never queued" in said.out
    assert "next: orch sweep s" in said.err
    assert "is running" in orch("why", "fold=0").out


def test_a_word_that_fits_nothing(orch: Orch, swept: Ground) -> None:
    said = orch("why", "fold=0,lr=0.2")
    assert (said.code, "Did you mean 'fold=0,lr=0." in said.err) == (3, True)
