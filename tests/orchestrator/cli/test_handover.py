"""`orch handover`: what an intern has done is the group's, with the same states, tables and notes as before."""

from __future__ import annotations

import json
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


def test_while_a_job_runs_nothing_is_handed_over(ground: Ground, orch: Orch) -> None:
    ground.sweep("long", "while ! test -e go; do sleep 0.05; done")
    assert ground.orch("sweep", "long", "--detach").code == 0
    for words in ((), ("--dry-run",)):
        said = ground.orch("handover", "--to", str(ground.base / "group"), *words)
        assert said.code == 1 and "long" in said.err and not (ground.base / "group").exists()
    (ground.project / "go").touch()
    ground.settle()
    assert ground.orch("handover", "--to", str(ground.base / "group")).code == 0
    assert "nothing new to copy" in ground.orch("handover", "--to", str(ground.base / "group")).out


def test_a_hosts_home_is_handed_over_on_that_host(ground: Ground, orch: Orch) -> None:
    """The next step is an edit of the site file."""
    base = ground.base / "grace"
    (base / "local").mkdir(parents=True)
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", f"  grace: {{way: fake, address: {json.dumps(str(base))}}}")
    ground.sweep("s", "true")
    assert orch("sweep", "s", "--hosts", "grace").code == 0
    said = orch("handover", "--host", "grace", "--to", str(ground.base / "group"))
    assert said.code == 0, said.err
    assert f"home: {ground.base / 'group'}" in said.err and "site file, below grace" in said.err
    assert orch("handover", "--host", "grcae", "--to", "/x").code == 3
    assert orch("handover", "--to", "/x", "--as", "s").code == 2
