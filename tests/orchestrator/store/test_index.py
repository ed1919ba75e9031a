from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import NotFound, UsageError
from orchestrator.store import Index, compare, discard

A = "a" * 16


def test_a_job_is_found_by_id_label_and_beginning(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    assert {index.job("demo", text).id for text in (A, "rotate/0", "aa")} == {A}
    assert index.job(None, "rotate/1").id == "b" * 16


def test_no_such_job_names_the_nearest(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    with pytest.raises(NotFound, match="Did you mean 'rotate/"):
        index.job("demo", "rotat/1")
    with pytest.raises(NotFound):
        index.job("demo", "")


def test_a_name_that_fits_several_jobs(index: Index, report: Callable[..., dict[str, Any]]) -> None:
    index.ingest([report("ab" * 8), report("ac" * 8, label="rotate/1")])
    with pytest.raises(UsageError, match="fits 2 jobs"):
        index.job("demo", "a")


def test_no_such_sweep_names_the_nearest(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    assert index.sweep("demo").record == {}
    with pytest.raises(NotFound, match="Did you mean 'demo'"):
        index.sweep("dmo")


def test_a_path_as_bad_as_they_come(hostile_path: Path, reports: list[dict[str, Any]]) -> None:
    path = hostile_path / "a?b#c.db"
    with Index.open(path) as index:
        index.ingest(reports)
    with Index.open(path) as index:
        assert len(index.jobs("demo")) == 4
    assert path.exists()


def test_a_rebuild_from_the_same_reports_is_equal(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    path = tmp_path / "index.db"
    with Index.open(path) as index:
        for piece in reports:
            index.ingest([piece])
        index.seen("local", 5.0)
        before = index.content()
    parked = discard(path)
    assert parked.exists() and not path.exists()
    with Index.open(path) as index:
        assert index.ingest(reports) > 0
        assert compare(before, index.content()) == []


def test_who_has_it_open_goes_on_with_the_new_one(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    path = tmp_path / "index.db"
    with Index.open(path) as long_lived:
        long_lived.ingest(reports)
        discard(path)
        with Index.open(path) as rebuilt:
            rebuilt.ingest(reports[:1])
        long_lived.ingest(reports[3:])
        assert [job.id[0] for job in long_lived.jobs("demo")] == ["a", "c", "d"]


def test_a_snapshot_sees_one_moment(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    path = tmp_path / "index.db"
    with Index.open(path) as reader, Index.open(path) as other:
        with reader.snapshot():
            assert reader.jobs() == []
            other.ingest(reports)
            assert reader.jobs() == [] and reader.attempts() == []
        assert len(reader.jobs()) == 4
