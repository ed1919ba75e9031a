"""`orch sync`: what is new on the hosts comes into the index."""

from __future__ import annotations

from ground import Ground, until

from .conftest import Orch


def test_nothing_has_run(orch: Orch, ground: Ground) -> None:
    said = orch("sync")
    assert said.code == 0 and "no sweep has run yet" in said.err


def test_what_ended_meanwhile_is_known_after_it(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.02; done; touch over{n}", "{n: [1, 2]}")
    orch("sweep", "s", "--detach")
    ground.write("go")
    until(lambda: {"over1", "over2"} <= {path.name for path in ground.project.iterdir()})
    until(lambda: orch("sync", "--json").json == {"hosts": {"local": "asked"}, "sweeps": {"s": {"done": 2}}})
    assert "s  2 done" in orch("sync").out


def test_a_silent_host_is_told_of(orch: Orch, ground: Ground) -> None:
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", "  far: {ssh: nobody@host.invalid}")
    ground.sweep("s", "true")
    orch("sweep", "s")
    said = orch("sync")
    assert said.code == 0 and "far does not answer" in said.err and "s  1 done" in said.out
