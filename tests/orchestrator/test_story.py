"""A job's story in one line."""

from __future__ import annotations

from typing import Any

from orchestrator.story import story


def item(
    number: int,
    state: str,
    kind: str | None = None,
    action: str | None = None,
    micro: int | None = None,
    retry: dict[str, Any] | None = None,
) -> dict[str, Any]:
    cell = {"program": "trainer", "parameters": {"train": {"batch_size": 32}}}
    spec = {"attempt": number, "cell": cell, "claim": {"host": "grace"}, "retry": retry}
    spec["tuning"] = {"micro_batch": micro} if micro else {}
    failure = {"kind": kind, "evidence": "e"} if kind else None
    decision = {"action": action, "reason": "r"} if action else None
    verdict = {"state": state, "reason": "why"}
    return {"spec": spec, "verdict": verdict, "exit": {"failure": failure, "decision": decision}}


SMALLER = {"action": "retry_smaller", "reason": "again with 2 x 16 (same effective batch)"}


def test_out_of_memory_is_told_as_in_the_storyboard() -> None:
    attempts = [item(1, "failed", "out_of_memory_gpu", "retry_smaller"), item(2, "done", micro=16, retry=SMALLER)]
    assert story(attempts, []) == (
        "attempt 1 on grace: CUDA out of memory at batch 32 -> retried with 2 x 16 (same effective batch) -> done"
    )


def test_what_waits_says_so_and_why() -> None:
    first, second = item(1, "failed", "disk_full", "hold"), item(2, "queued", action=None)
    second["spec"]["retry"] = {"action": "hold", "reason": "x"}
    line = story([first], [second["spec"]], "held: disk full: no room (orch release s)")
    assert line == (
        "attempt 1 on grace: the disk or the quota is full -> retried once there was room -> "
        "held: disk full: no room (orch release s)"
    )
    assert story([first], [second["spec"]]).endswith("-> waits for a slot")


def test_a_person_and_a_host_fault() -> None:
    lost = item(1, "failed", "gpu_lost", "other_host")
    assert story([lost], []) == "attempt 1 on grace: the GPU was lost -> not again on this host"
    again = [item(1, "interrupted"), item(2, "running")]
    assert story(again, []) == (
        "attempt 1 on grace: interrupted (why) -> started again by a person -> attempt 2 on grace: running"
    )


def test_one_attempt_has_no_story() -> None:
    assert story([item(1, "done")], []) == ""
    assert story([item(1, "failed", "code_error", "never")], []) == ""
    assert story([], []) == ""
