"""`orch stop`: jobs that wait never begin, those that run are asked, then made."""

from __future__ import annotations

import json

from ground import Ground, until

from .conftest import Orch

WAIT = "echo $$ >> pids; exec sleep 300"


def begun(ground: Ground, jobs: int) -> None:
    until(lambda: len(ground.ran("pids")) == jobs, what=f"{jobs} jobs have begun")


def test_stop_a_sweep_that_runs_and_waits(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", WAIT, "{n: 1..4}")
    orch("sweep", "s", "--detach", "--parallel", "2")
    begun(ground, 2)
    plan = orch("stop", "s", "--dry-run", "--json")
    assert [item["action"][:17] for item in json.loads(plan.out)] == ["would be stopped "] * 4
    said = orch("stop", "s", "--json")
    actions = sorted(item["action"] for item in json.loads(said.out))
    assert (said.code, actions) == (0, ["asked to stop"] * 2 + ["stopped before it began"] * 2)
    ground.settle()
    assert set(ground.states("s").values()) == {"stopped"}
    assert len(ground.ran("pids")) == 2
    again = orch("stop", "s")
    assert (again.code, "none of 4 jobs waits or runs" in again.err) == (0, True)
    assert "repair" not in orch("why", "n=1").out


def test_stop_one_by_its_id(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", WAIT, "{n: 1..2}")
    orch("sweep", "s", "--detach", "--parallel", "2")
    begun(ground, 2)
    rows = ground.rows("s")
    assert orch("stop", rows["n=1"]["id"][:6]).code == 0
    until(lambda: ground.states("s") == {"n=1": "stopped", "n=2": "running"}, what="one stopped")


def test_one_that_does_not_heed_is_killed(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "trap '' TERM; echo $$ >> pids; while :; do sleep 1; done")
    orch("sweep", "s", "--detach")
    begun(ground, 1)
    said = orch("stop", "s", "--now")
    assert "asked to stop" in said.out
    ground.settle()
    assert ground.rows("s")["s"]["reason"] == "stopped on request (exit status 137)"


def test_who_is_not_there(orch: Orch, swept: Ground) -> None:
    said = orch("stop", "rate")
    assert said.code == 3
    assert "no job named 'rate'" in said.err
