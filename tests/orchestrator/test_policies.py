"""The keys `policy` and `time_limit` of a sweep: what they become, and what is said of a slip of the pen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SpecError
from orchestrator.plan import Pins, plan
from orchestrator.sweep import SweepFile, load_sweep

COMMAND = "command: [python3, train.py, '{batch_size}']\ngrid: {batch_size: [32]}\n"


def read(folder: Path, text: str) -> SweepFile:
    path = folder / "s.yaml"
    path.write_text(COMMAND + text, encoding="utf-8")
    return load_sweep(path)


def test_rules_and_time_travel_with_every_job_and_change_no_id(tmp_path: Path) -> None:
    pins = Pins("python3", None, None, "2026-01-01T00:00:00Z")
    rules = "policy: {out_of_memory_gpu: {action: retry_smaller, tries: 3.0}, killed: never}\n"
    text = rules + "resources: {time_limit: 2h}\ntuning: {micro_batch: 8}\n"
    (with_rules,) = plan(read(tmp_path, text), None, None, pins).specs
    (without,) = plan(read(tmp_path, ""), None, None, pins).specs
    assert with_rules.id == without.id
    job = with_rules.to_json()
    assert job["policy"] == {
        "out_of_memory_gpu": {"action": "retry_smaller", "tries": 3},
        "killed": {"action": "never"},
    }
    assert job["resources"]["time_limit_s"] == 7200
    assert job["tuning"] == {"micro_batch": 8}
    assert (without.policy, without.tuning, without.resources.time_limit_s) == ({}, {}, None)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("1.5h", 5400),
        ("2d", 172800),
        ("600", 600),
        ("0.5", 0.5),
    ],
)
def test_times_are_written_as_people_write_them(tmp_path: Path, written: str, seconds: float) -> None:
    assert read(tmp_path, f"resources: {{time_limit: {written}}}\n").resources == {"time_limit_s": seconds}


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("policy: {out_of_memory_gpus: never}", "Did you mean 'out_of_memory_gpu'?", "kinds are: nan_loss"),
        (
            "policy: {killed: retri}",
            "unknown action \"retri\". Did you mean 'retry'?",
            "actions are: retry (start again",
        ),
        ("policy: {killed: {action: 3}}", "unknown action 3", "actions are"),
        ("policy: {killed: {tries: 3}}", "names no action", "write policy:"),
        ("policy: {killed: {action: retry, trys: 3}}", "Did you mean 'tries'?", "policy: {"),
        ("policy: {killed: {action: retry, tries: -1}}", "whole number from 0, not -1", "how many next attempts"),
        ("policy: {killed: {action: retry, tries: 1.5}}", "not 1.5", ""),
        ("policy: {killed: {action: retry, tries: true}}", "not true", ""),
        ("policy: {killed: [retry]}", "unknown action", "actions are"),
        ("policy: [killed]", "must be a mapping", ""),
        ("resources: {time_limit: soon}", 'is no time: "soon"', "write 2h, 90m"),
        ("resources: {time_limit: 0}", "is no time: 0", "write 2h"),
        ("resources: {time_limit: -5}", "is no time: -5", "write 2h"),
        ("resources: {time_limit: 2 h}", "is no time", "write 2h"),
        ("tuning: {micro_batch: 0}", "must lie within 1..4096", ""),
        ("tuning: {microbatch: 8}", "Did you mean 'micro_batch'?", "write tuning:"),
        ("resources: {timelimit: 2h}", "Did you mean 'time_limit'?", ""),
    ],
)
def test_slips_of_the_pen_are_explained(tmp_path: Path, text: str, words: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert "s.yaml:3" in caught.value.message


def test_smaller_batches_of_an_unknown_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("command: [x]\npolicy: {out_of_memory_gpu: retry_smaller}\n")
    with pytest.raises(SpecError, match="nobody knows how large") as caught:
        load_sweep(path)
    assert "ORCH_MICRO_BATCH" in caught.value.hint


def test_an_empty_policy_changes_nothing(tmp_path: Path) -> None:
    empty: dict[str, Any] = dict(read(tmp_path, "policy: {}\n").policy)
    assert empty == {}
