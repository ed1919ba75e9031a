from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Index, compare


def test_what_only_this_machine_knows_is_left_out(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    before = index.content()
    index.seen("local", 7.0)
    index.ingest_journal([], 9)
    assert index.content() == before


def test_a_boot_gives_another_proof_and_no_difference(
    tmp_path: Path, index: Index, report: Callable[..., dict[str, Any]]
) -> None:
    """Of an attempt without an exit record: first its lock is free, after a boot that is the proof."""
    verdict = {"state": "interrupted", "reason": "ended without a record (proof: the lock is free)", "warning": ""}
    index.ingest([report(verdict=verdict)])
    with Index.open(tmp_path / "rebuilt.db") as rebuilt:
        rebuilt.ingest([report(verdict={**verdict, "reason": "ended without a record (proof: booted since)"})])
        assert compare(index.content(), rebuilt.content()) == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE attempt SET state = 'done' WHERE number = 1", 'state is "done" in the index, "'),
        ("DELETE FROM score", "result dice: in the run folders, not in the index"),
        ("DELETE FROM series", "curve train_loss: in the run folders, not in the index"),
        ("UPDATE metric SET value = 7", "digest is"),
        ("UPDATE case_score SET dice = 0", "case c-1 duct: the index says"),
        ("DELETE FROM event", "event 0: in the run folders, not in the index"),
        ("UPDATE artifact SET sha256 = ''", "checksum of result.json: the index says"),
        ("UPDATE job SET counted_id = NULL", "counted attempt is 0 in the index, 2 in the run folders"),
        ("INSERT INTO sweep (name) VALUES ('ghost')", "sweep ghost: in the index, not in the run folders"),
        ("INSERT INTO journal VALUES (9, 9, 9, 'demo', '', 'note', 'x', 0)", "journal line 9 about demo"),
    ],
)
def test_every_difference_is_said_in_words(
    tmp_path: Path, index: Index, reports: list[dict[str, Any]], sql: str, words: str
) -> None:
    index.ingest(reports)
    with Index.open(tmp_path / "rebuilt.db") as rebuilt:
        rebuilt.ingest(reports)
        index._connection.execute(sql)
        found = compare(index.content(), rebuilt.content())
    assert found and any(words in text for text in found), found
