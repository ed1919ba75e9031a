from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ContractError
from orchestrator.store import Index, compare

A, B = "a" * 16, "b" * 16
Make = Callable[..., dict[str, Any]]


def values(index: Index, name: str, job: str = A, attempt: int = 1) -> dict[int, float]:
    curve = index.metrics("demo", job)[job, attempt][name]
    return dict(zip(curve.steps, curve.values, strict=True))


def test_a_report_seen_twice_changes_nothing(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    before = index.content()
    index.ingest(reports)
    assert compare(before, index.content()) == []


def test_reports_in_any_order_give_the_same_content(tmp_path: Path, reports: list[dict[str, Any]]) -> None:
    found = []
    for number, order in enumerate(itertools.permutations(reports[:4])):
        with Index.open(tmp_path / f"{number}.db") as index:
            index.ingest(order)
            found.append(index.content())
    assert all(compare(found[0], other) == [] for other in found)


def test_events_in_pieces_equal_events_at_once(tmp_path: Path, report: Make, metrics: Make) -> None:
    events = [metrics(n, n + 1, loss=1.0 / (n + 1), dice=n / 10) for n in range(10)]
    with Index.open(tmp_path / "pieces.db") as pieces, Index.open(tmp_path / "whole.db") as whole:
        for n in range(10):
            pieces.ingest([report(events=events[n : n + 1], offset=n + 1)])
        pieces.ingest([report(state="done", offset=10)])
        whole.ingest([report(state="done", events=events, offset=10)])
        assert compare(pieces.content(), whole.content()) == []
        assert values(pieces, "loss") == {n + 1: 1.0 / (n + 1) for n in range(10)}


def test_an_older_report_neither_adds_nor_takes_away(index: Index, report: Make, metrics: Make) -> None:
    events = [metrics(0, 1, loss=0.5), metrics(1, 2, loss=0.4)]
    index.ingest([report(events=events, offset=2)])
    index.ingest([report(state="queued", events=events[:1], offset=1)])
    assert values(index, "loss") == {1: 0.5, 2: 0.4}
    assert index.jobs("demo")[0].state == "running"
    assert index.offsets()["demo", A, 1].offset == 2


def test_an_ended_attempt_never_goes_back(index: Index, report: Make) -> None:
    index.ingest([report(state="failed", exit={"status": 1})])
    index.ingest([report(state="running", offset=7), report(state="unreachable", offset=7)])
    assert index.jobs("demo")[0].state == "failed"
    assert index.offsets()["demo", A, 1].final


def test_stopped_before_it_began_may_still_begin(index: Index, report: Make) -> None:
    index.ingest([report(state="stopped")])
    assert not index.offsets()["demo", A, 1].final
    index.ingest([report(state="running", offset=3)])
    assert index.jobs("demo")[0].state == "running"


def test_the_last_known_state_stays_beside_unreachable(index: Index, report: Make) -> None:
    index.ingest([report(state="running"), report(state="unreachable")])
    job = index.jobs("demo")[0]
    assert (job.state, job.known_state) == ("unreachable", "running")


def test_the_first_done_attempt_counts_and_only_that(index: Index, report: Make) -> None:
    for number, dice in ((3, 0.3), (2, 0.2), (1, None)):
        result = {"values": {"dice": dice}} if dice else None
        index.ingest([report(attempt=number, state="done" if dice else "failed", result=result, exit={"status": 0})])
    assert index.jobs("demo")[0].counted == 2
    assert index.scores("demo") == {A: {"dice": 0.2}}


@pytest.mark.parametrize("order", ["fence first", "result first"])
def test_a_late_result_of_a_fenced_attempt_does_not_count(index: Index, report: Make, order: str) -> None:
    late = report(attempt=1, state="done", result={"values": {"dice": 0.1}}, exit={"status": 0})
    retry = report(attempt=2, state="done", result={"values": {"dice": 0.2}}, exit={"status": 0})
    fence = {"seq": 0, "t": 5.0, "sweep": "demo", "job": A, "kind": "fence", "text": "host declared dead", "attempt": 1}
    if order == "fence first":
        index.ingest_journal([fence], 10)
        index.ingest([late, retry])
    else:
        index.ingest([late, retry])
        index.ingest_journal([fence], 10)
    assert index.scores("demo") == {A: {"dice": 0.2}}
    assert [row.fenced for row in index.attempts("demo")] == [True, False]


def test_a_fenced_result_counts_for_nothing_while_the_retry_runs(index: Index, report: Make) -> None:
    index.ingest_journal([{"seq": 0, "sweep": "demo", "job": A, "kind": "fence", "attempt": 1}], 1)
    index.ingest([report(attempt=1, state="done", result={"values": {"dice": 1}}), report(attempt=2)])
    job = index.jobs("demo")[0]
    assert (job.state, job.counted, job.attempts) == ("running", 0, 2)
    assert index.scores("demo") == {}


def test_more_events_after_the_end_are_added(index: Index, report: Make, metrics: Make) -> None:
    index.ingest([report(state="done", events=[metrics(0, 1, loss=0.5)], offset=1)])
    index.ingest([report(state="done", events=[metrics(0, 1, loss=0.5), metrics(1, 2, loss=0.25)], offset=2)])
    assert values(index, "loss") == {1: 0.5, 2: 0.25}


def test_steps_may_leap_repeat_and_fall(index: Index, report: Make, metrics: Make) -> None:
    events = [metrics(n, step, loss=float(n)) for n, step in enumerate((5, 10, 10, 3, -2))]
    for state in ("running", "done"):
        index.ingest([report(state=state, events=events, offset=5)])
        assert values(index, "loss") == {-2: 4.0, 3: 3.0, 5: 0.0, 10: 2.0}


def test_what_is_no_number_is_left_out_and_null_is_undefined(index: Index, report: Make, metrics: Make) -> None:
    odd = metrics(0, 1, loss=None, word="x", flag=True, whole=3)
    broken = [{**odd, "step": "1"}, {**odd, "values": [1]}, {**odd, "step": 2**70}, {**odd, "step": 2.0}]
    index.ingest([report(events=[odd, *broken], offset=1)])
    found = index.metrics("demo")[A, 1]
    assert set(found) == {"loss", "flag", "whole"}
    assert all(math.isnan(value) for value in found["loss"].values)
    assert list(found["whole"].steps) == [1, 2]


def test_a_result_keeps_numbers_and_undefined_ones(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    assert index.scores("demo")[A] == {"dice": 0.9, "dice/duct": 0.9, "slice_dice": None}
    assert index.scores("demo", "dice") == {A: {"dice": 0.9}}


def test_case_rows_keep_all_numbers(index: Index, reports: list[dict[str, Any]]) -> None:
    index.ingest(reports)
    whole, empty = index.cases("demo")
    assert (whole.case, whole.group, whole.cls, whole.dice, whole.slice_dice) == ("c-1", "p-1", "duct", 0.9, 0.95)
    assert dict(whole.numbers) == {"tp": 10}
    assert (empty.status, empty.dice) == ("undefined_empty_ref", None)


def test_unreadable_case_rows_are_said_and_harm_nothing(index: Index, report: Make) -> None:
    index.ingest([report(state="done", cases=[{"case": "c-1"}, "edited", {"dice": 1}], exit={"status": 0})])
    assert len(index.cases("demo")) == 1
    assert index.jobs("demo")[0].warning == "2 unreadable rows in cases.json"


@pytest.mark.parametrize("lacks", ["sweep", "job", "attempt", "verdict"])
def test_a_report_that_says_too_little_is_refused_whole(index: Index, report: Make, lacks: str) -> None:
    bad = report(B)
    del bad[lacks]
    with pytest.raises(ContractError):
        index.ingest([report(A), bad])
    assert index.jobs() == []


def test_what_waits_no_more_and_never_began_is_forgotten(index: Index, report: Make) -> None:
    """Its host says so: another host or home cannot, and what has begun stays."""
    index.ingest([report(state="queued"), report(B, state="running")])
    gone = {"state": "gone", "reason": "", "warning": ""}
    index.ingest([report(host="grace", verdict=gone)])
    assert index.job("demo", A).state == "queued"
    index.ingest([report(attempt=2, state="running"), report(verdict=gone), report(B, verdict=gone)])
    assert [(row.attempts, row.state) for row in index.jobs()] == [(2, "running"), (1, "running")]
    assert {(key[2], key[3]) for key in index.content() if key[0] == "attempt"} == {(A, 2), (B, 1)}


def test_a_report_that_the_tables_refuse_hides_no_other(index: Index, report: Make) -> None:
    """Injected: between two good reports, one whose event has a number of 70 bits. Lost: none; it is damaged."""
    odd = report(B, 1, "running", events=[{"seq": 1 << 70, "t": 1.0, "kind": "note", "text": "x"}], offset=9)
    index.ingest([report(A, 1, "done", offset=1), odd, report("c" * 16, 1, "done", offset=1)])
    rows = {row.id: row for row in index.jobs()}
    assert {key: row.state for key, row in rows.items()} == {A: "done", B: "unreachable", "c" * 16: "done"}
    assert "damaged run folder" in rows[B].warning and "cannot be understood" in rows[B].reason


def test_values_without_end_are_cut_and_told(index: Index, report: Make) -> None:
    """Injected: a result of 100,000 values, once. Kept: the first 1,000; the other attempt's are as they were."""
    many = {"values": {f"v{number}": 1.0 for number in range(100_000)}}
    index.ingest([report(A, 1, "done", result=many), report("b" * 16, 1, "done", result={"values": {"dice": 0.9}})])
    scores = index.scores("demo")
    assert list(scores[A]) == [f"v{number}" for number in range(1000)] and scores["b" * 16] == {"dice": 0.9}
    warned = {row.id: row.warning for row in index.jobs("demo")}
    assert warned == {A: "100,000 values in result.json, of which 1,000 are kept", "b" * 16: ""}


def test_names_without_end_are_cut_and_told(index: Index, report: Make, metrics: Make) -> None:
    """Injected: 30,000 names of metrics in three pieces. Kept: 1,000; one that was kept goes on."""
    for piece in range(3):
        fresh = {f"m{piece}_{number}": 1.0 for number in range(10_000)}
        index.ingest([report(events=[metrics(piece, piece, loss=0.5, **fresh)], offset=piece + 1)])
    assert len(values(index, "loss")) == 3
    assert "more than 1,000 names of metrics in events.jsonl" in index.jobs("demo")[0].warning
    assert len(index.metrics("demo", A)[A, 1]) == 1000
