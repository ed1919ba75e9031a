"""`orch attach`: watch a sweep that runs already."""

from __future__ import annotations

import threading

from ground import Ground

from .conftest import Orch


def test_nothing_has_run(orch: Orch, ground: Ground) -> None:
    said = orch("attach")
    assert said.code == 0 and "No sweep has run yet" in said.err


def test_until_it_is_over(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.02; done; test {n} != 2", "{n: [1, 2]}")
    orch("sweep", "s", "--detach")
    threading.Timer(0.5, ground.write, ["go"]).start()
    said = orch("attach", "--json")
    assert said.code == 1 and said.json == {"sweep": "s", "counts": {"done": 1, "failed": 1}}


def test_one_that_is_over_ends_at_once(orch: Orch, swept: Ground) -> None:
    said = orch("attach")
    assert said.code == 1 and "rates: 4 done · 2 failed" in said.err and "orch why fold=0,lr=0.1" in said.err
    assert orch("attach", "nothing").code == 3
