"""`orch handover`: what an intern has done is the group's, with the same states, tables and notes as before."""

from __future__ import annotations

import shutil

import pytest
from ground import Ground

from .conftest import Orch


@pytest.fixture
def done(ground: Ground) -> Ground:
    """A sweep that has ended, with a result, a note and a tag."""
    script = 'echo {n}; echo \'{"contract":1,"values":{"dice":0.{n}}}\' > "$ORCH_RUN/result.json"; test {n} != 3'
    ground.sweep("tries", script, "{n: [1, 2, 3]}", metric="dice")
    assert ground.orch("sweep", "tries").code == 1
    assert ground.orch("note", "tries", "the second one is promising").code == 0
    ground.settle()
    return ground


def test_the_group_sees_the_same_truth(done: Ground, orch: Orch) -> None:
    group = done.base / "group" / "orch"
    group.parent.mkdir()
    before, report = done.rows("tries"), done.orch("report", "tries", "--json").json
    plan = done.orch("handover", "--to", str(group), "--dry-run")
    assert plan.code == 0 and "1 sweep, 3 attempts: tries" in plan.err and not group.exists()

    said = done.orch("handover", "--to", str(group))
    assert said.code == 0, said.err
    assert "each file verified by SHA-256" in said.out and "may be deleted" in said.err
    shutil.rmtree(done.home.path)
    shutil.rmtree(done.base / "state")
    moved = {"ORCH_HOME": str(group)}
    (found,) = done.orch("status", "tries", "--refresh", "--json", **moved).json["sweeps"]
    assert [(row["label"], row["state"]) for row in found["rows"]] == [(n, row["state"]) for n, row in before.items()]
    again = done.orch("report", "tries", "--json", **moved).json
    assert again["rows"] == report["rows"]
    assert "promising" in done.orch("note", "tries", **moved).out
