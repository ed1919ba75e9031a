"""`orch plan`: what a sweep will cost; starts nothing."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_it_starts_nothing(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "echo {n} >> ran", "{n: 1..8}")
    said = orch("plan", "s")
    assert said.code == 0, said.err
    assert "8 jobs to run" in said.out and "disk: 32 files" in said.out and "orch sweep s" in said.err
    assert ground.ran() == [] and orch("status", "--json").json["sweeps"] == []


def test_history_gives_the_time_and_what_is_done_is_not_counted(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "sleep 0.1; test {n} -lt 4", "{n: 1..4}")
    orch("sweep", "s", "--parallel", "4")
    found = orch("plan", "s", "--json").json
    assert found["jobs"] == 1 and 0.05 < found["hosts"]["local"]["seconds"] < 30 and found["lacks"] == []


def test_what_does_not_fit_is_refused_before_anything_runs(orch: Orch, phantom: object, ground: Ground) -> None:
    """A network whose checkpoints are larger than any disk."""
    data = f"data: {{images: {json.dumps(f'{phantom}/imagesTr')}, labels: {json.dumps(f'{phantom}/labelsTr')}}}"
    train = "train: {width: 512, depth: 6, epochs: 1}"
    ground.write("sweeps/huge.yaml", data, train, "strategies: {identity: []}", f"seeds: {list(range(50))}")
    said = orch("plan", "huge")
    assert said.code == 6, said.err
    assert "TB on disk" in said.err and "are free" in said.err
    refused = orch("sweep", "huge")
    assert refused.code == 1 and "TB on disk" in refused.err and "orch plan huge --folds 0" in refused.err
