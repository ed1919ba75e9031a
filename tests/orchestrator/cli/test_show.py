"""`orch show`: all that is recorded."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_identity_attempts_files_and_result(orch: Orch, swept: Ground) -> None:
    said = orch("show", "fold=1,lr=0.001")
    assert said.code == 0
    for text in ("  sweep       rates", "  program     command", "attempt 1   done", "events.jsonl (", "dice"):
        assert text in said.out
    assert str(swept.folders("rates")["fold=1,lr=0.001"][0].path) in said.out


def test_the_document(orch: Orch, swept: Ground) -> None:
    document = json.loads(orch("show", "fold=1,lr=0.001", "--json").out)
    assert document["scores"] == {"dice": 0.6, "epochs": 3}
    (attempt,) = document["attempts"]
    assert attempt["spec"]["provenance"]["user"]
    assert attempt["spec"]["provenance"]["git"]["reason"] == "no git checkout"
    assert set(attempt["files"]) == {"job.json", "exit.json", "events.jsonl", "log.txt", "result.json"}


def test_a_job_that_waits_shows_its_specification(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done", "{n: 1..2}")
    orch("sweep", "s", "--detach", "--parallel", "1")
    said = orch("show", "n=2")
    assert "queued" in said.out
    assert "sh -c while" in said.out
