"""`orch status`: from the index at once, from the host when asked."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_no_sweep_yet(orch: Orch, ground: Ground) -> None:
    said = orch("status")
    assert (said.code, said.out) == (0, "")
    assert "No sweep has run yet." in said.err
    assert json.loads(orch("status", "--json").out) == {"as_of": None, "sweeps": []}
    assert orch("status", "rates").code == 3


def test_counts_and_troubles(orch: Orch, swept: Ground) -> None:
    said = orch("status")
    assert said.code == 0
    head, columns, *rows = said.out.splitlines()
    assert head.startswith("rates  6 jobs: 4 done · 2 failed   best dice 0.4 (fold=1,lr=0.0001)"[:35])
    assert columns.split("\t") == ["job", "state", "attempt", "what is known", "host"]
    assert [row.split("\t")[:3] for row in rows] == [["fold=0,lr=0.1", "failed", "1"], ["fold=1,lr=0.1", "failed", "1"]]
    assert "code error: ValueError: rate too high" in rows[0]
    assert "as of " in said.err
    assert "next: orch why fold=0,lr=0.1" in said.err


def test_every_job_is_listed_when_asked(orch: Orch, swept: Ground) -> None:
    lines = orch("status", "rates", "--jobs").out.splitlines()
    assert len(lines) == 2 + 6
    assert "step 3" in next(line for line in lines if line.startswith("fold=1,lr=0.001"))


def test_the_document(orch: Orch, swept: Ground) -> None:
    document = json.loads(orch("status", "--json").out)
    (sweep,) = document["sweeps"]
    assert document["as_of"] > 0
    assert (sweep["name"], sweep["jobs"], sweep["counts"]) == ("rates", 6, {"done": 4, "failed": 2})
    row = next(row for row in sweep["rows"] if row["label"] == "fold=0,lr=0.001")
    assert row["names"] == {"fold": 0, "lr": 0.001}
    assert (row["state"], row["attempts"], row["step"], row["values"]) == ("done", 1, 3, {"val_dice": 0.3})


def test_an_unknown_sweep_names_the_nearest(orch: Orch, swept: Ground) -> None:
    said = orch("status", "rate")
    assert (said.code, "Did you mean 'rates'?" in said.err) == (3, True)


def test_the_index_answers_until_a_look_is_asked_for(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done")
    orch("sweep", "s", "--detach")
    ground.write("go")
    ground.settle()
    assert json.loads(orch("status", "--json").out)["sweeps"][0]["rows"][0]["state"] in ("queued", "running")
    assert json.loads(orch("status", "--json", "--refresh").out)["sweeps"][0]["rows"][0]["state"] == "done"


def test_watching_ends_with_the_sweep(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done", "{n: [1, 2]}")
    orch("sweep", "s", "--detach")
    with ground.start("status", "--watch") as watching:
        assert watching.stderr and watching.stdout
        assert watching.stderr.readline().startswith("s  ")  # it looks
        ground.write("go")
        assert watching.stdout.read().startswith("s  2 jobs: 2 done")
        assert "s  2 done" in watching.stderr.read()
    assert watching.returncode == 0
