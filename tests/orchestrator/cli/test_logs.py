"""`orch logs`: what a job printed, also while it prints."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_the_whole_log(orch: Orch, swept: Ground) -> None:
    assert orch("logs", "fold=1,lr=0.001").out == "fold 1 at 0.001\n"
    said = orch("logs", "fold=1,lr=0.001", "--json")
    assert "".join(json.loads(line)["text"] for line in said.out.splitlines()) == "fold 1 at 0.001\n"


def test_who_is_not_there(orch: Orch, swept: Ground) -> None:
    said = orch("logs", "fold=1,lr=0.01")
    assert (said.code, "Did you mean 'fold=1,lr=0.1'?" in said.err or "Did you mean" in said.err) == (3, True)
    said = orch("logs", "fold=1,lr=0.1", "--attempt", "7")
    assert (said.code, "has no attempt 7" in said.err) == (3, True)


def test_each_attempt_has_its_own(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "test -e second && echo two || { touch second; echo one; exit 1; }")
    assert [orch("sweep", "s").code, orch("sweep", "s").code] == [1, 0]
    assert orch("logs", "s").out == "two\n"
    assert orch("logs", "s", "--attempt", "1").out == "one\n"


def test_a_job_that_waits_has_none(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done", "{n: 1..3}")
    orch("sweep", "s", "--detach", "--parallel", "1")
    said = orch("logs", "n=3")
    assert (said.code, "has not begun" in said.err) == (3, True)


def test_a_log_is_followed_to_its_end(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "echo first; while ! test -e go; do sleep 0.05; done; echo last")
    orch("sweep", "s", "--detach")
    with ground.start("logs", "s", "-f") as following:
        assert following.stdout
        assert following.stdout.readline() == "first\n"
        ground.write("go")
        assert following.stdout.read() == "last\n"
    assert following.returncode == 0
