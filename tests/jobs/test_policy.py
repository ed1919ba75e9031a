"""Decisions are pure: they end, never start again what is never to be, and keep the effective batch."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.failure import KINDS
from jobs.policy import (
    ACTIONS,
    AGAIN,
    NEVER,
    RETRY_SMALLER,
    TABLE,
    History,
    Rule,
    batch_of,
    decide,
    history_of,
    next_job,
    shape,
    table_of,
)

NAMES = [kind.name for kind in KINDS]


def trainer_job(batch: int = 32, **more: Any) -> dict[str, Any]:
    cell = {"program": "trainer", "parameters": {"train": {"batch_size": batch}}}
    return {"id": "a" * 16, "sweep": "s", "attempt": 1, "cell": cell, **more}


def command_job(**more: Any) -> dict[str, Any]:
    cell = {"program": "command", "parameters": {"argv": [], "grid": {"batch_size": 32}}}
    return {"id": "a" * 16, "sweep": "s", "attempt": 1, "cell": cell, **more}


def test_every_kind_has_a_rule_and_every_rule_a_kind() -> None:
    assert set(TABLE) == set(NAMES)
    assert {rule.action for rule in TABLE.values()} <= set(ACTIONS)


@pytest.mark.parametrize("kind", NAMES)
def test_the_first_failure_of_each_kind_does_what_the_table_says(kind: str) -> None:
    decision = decide(kind, History(batch=32))
    assert decision.action == TABLE[kind].action
    assert decision.reason


def test_out_of_memory_halves_until_one_sample() -> None:
    job, shapes = trainer_job(32), []
    while (decision := decide("out_of_memory_gpu", history_of(job, "out_of_memory_gpu"))).action == RETRY_SMALLER:
        job = next_job(job, "out_of_memory_gpu", decision, None, 1000.0)
        shapes.append((job["tuning"]["micro_batch"], decision.reason))
    assert [micro for micro, _ in shapes] == [16, 8, 4, 2, 1]
    assert shapes[0][1] == "again with 2 x 16 (same effective batch)"
    assert decision.reason == "it computes one sample at a time already"
    assert job["attempt"] == 6
    assert job["cell"] == trainer_job(32)["cell"]


def test_a_command_takes_part_only_when_its_sweep_says_so() -> None:
    assert decide("out_of_memory_gpu", history_of(command_job(), "out_of_memory_gpu")).action == NEVER
    for rule in ("retry_smaller", {"action": "retry_smaller", "tries": 1}):
        job = command_job(policy={"out_of_memory_gpu": rule})
        decision = decide("out_of_memory_gpu", history_of(job, "out_of_memory_gpu"), table_of(job))
        assert (decision.action, decision.changes) == (RETRY_SMALLER, {"micro_batch": 16})


def test_limits_count_by_kind_and_a_person_begins_anew() -> None:
    job = trainer_job()
    killed = decide("killed", history_of(job, "killed"))
    job = next_job({**job, "claim": {"token": "x"}}, "killed", killed, "/runs/s/a/attempt-01", 1000.0)
    assert job["retry"] == {
        "of": 1, "kind": "killed", "action": "retry", "reason": killed.reason, "tries": {"killed": 1},
    }  # fmt: skip
    assert (job["attempt"], job["resume"], "claim" in job) == (2, "/runs/s/a/attempt-01", False)
    assert decide("killed", history_of(job, "killed")).action == NEVER
    assert decide("host_rebooted", history_of(job, "host_rebooted")).action == "retry"
    assert decide("killed", history_of({**job, "retry": None}, "killed")).action == "retry"
    rebooted = decide("host_rebooted", history_of(job, "host_rebooted"))
    after = next_job(job, "host_rebooted", rebooted, None, 1000.0)
    assert after["retry"]["tries"] == {"killed": 1, "host_rebooted": 1}, "one kind does not forget the other"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("never", Rule("never", 1)),
        ({"action": "retry", "tries": 5}, Rule("retry", 5)),
        ({"action": "retry"}, Rule("retry", 1)),
        ({"action": "hold", "tries": 0}, Rule("hold", 0)),
        ("retry_smaller", Rule("retry_smaller", None)),
        ({"action": "retry", "tries": True}, Rule("retry", 1)),
        ({"action": "retry", "tries": -1}, Rule("retry", 1)),
        ("reboot", TABLE["killed"]),
        (None, TABLE["killed"]),
        ([], TABLE["killed"]),
    ],
)
def test_a_sweep_changes_rules_and_what_cannot_be_read_changes_nothing(said: Any, rule: Rule) -> None:
    assert table_of({"policy": {"killed": said, "earthquake": "retry"}}) == {**TABLE, "killed": rule}


@pytest.mark.parametrize("value", [None, [], "x", {"tries": {"killed": "many"}}, {"tries": []}])
def test_a_job_json_edited_by_hand_counts_as_no_history(value: Any) -> None:
    job = trainer_job(retry=value, tuning=value, policy=value)
    assert history_of(job, "killed") == History(0, 32, None)
    assert table_of({"policy": "x"}) == TABLE
    assert batch_of({}) is None


@pytest.mark.parametrize(("batch", "micro", "words"), [(32, 16, "2 x 16"), (22, 4, "5 x 4 + 2"), (3, 1, "3 x 1")])
def test_the_shape_of_a_batch_adds_up(batch: int, micro: int, words: str) -> None:
    assert shape(batch, micro) == words
    assert eval(words.replace("x", "*")) == batch


def random_table(dice: random.Random) -> dict[str, Rule]:
    """Any table a sweep can make; what may go on without end is left as it is."""
    rules = {}
    for name in NAMES:
        action = dice.choice(list(ACTIONS))
        rules[name] = Rule(action, None if action == RETRY_SMALLER else dice.randrange(4))
    return rules


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_whatever_fails_in_whatever_order_it_ends(dice: random.Random) -> None:
    """200 random tables, each with random failures: no more attempts than the limits and the halvings allow."""
    table, batch = random_table(dice), dice.randrange(1, 300)
    kinds = [kind for kind in NAMES if dice.random() < 0.7] or NAMES
    job, attempts = trainer_job(batch), 1
    while True:
        kind = dice.choice(kinds)
        before = history_of(job, kind)
        decision = decide(kind, before, table)
        if table[kind].action not in AGAIN:
            assert decision.action == table[kind].action, "a rule that starts nothing again starts nothing again"
        if decision.action not in AGAIN:
            break
        after = next_job(job, kind, decision, None, 1000.0)
        assert after["cell"] == job["cell"] and batch_of(after) == batch, "the effective batch stays"
        assert 1 <= after["tuning"].get("micro_batch", batch) <= (before.micro or batch)
        assert after["attempt"] == job["attempt"] + 1
        job, attempts = after, attempts + 1
        limit = sum(rule.tries or 0 for rule in table.values()) + batch.bit_length()
        assert attempts <= 1 + limit


def test_only_foreign_pressure_may_go_on_without_end() -> None:
    endless = {name for name, rule in TABLE.items() if rule.tries is None and rule.action in AGAIN}
    assert endless - {"out_of_memory_gpu", "out_of_memory"} == {"foreign_pressure"}
    assert all(decide("foreign_pressure", History(tries=tries)).action == "retry" for tries in (0, 1, 1000))


def test_decisions_depend_on_nothing_but_their_words() -> None:
    histories = [
        History(tries, batch, micro) for tries, batch, micro in itertools.product((0, 1, 9), (None, 8), (None, 4))
    ]
    for kind, history in itertools.product([*NAMES, "earthquake"], histories):
        assert decide(kind, history) == decide(kind, history)
    assert decide("earthquake", History()).action == NEVER
