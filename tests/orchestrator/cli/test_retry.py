"""`orch retry`: a new attempt beside the former ones, never instead of them."""

from __future__ import annotations

import json

from ground import Ground

from .conftest import Orch


def test_a_failed_job_gets_a_new_attempt(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "echo {n} >> ran; test {n} = 1 -o -e mended", "{n: [1, 2]}")
    assert orch("sweep", "s").code == 1
    ground.write("mended")
    said = orch("retry", "s", "--json")
    ((item,), code) = json.loads(said.out), said.code
    assert (code, item["label"], item["action"], item["attempt"]) == (0, "n=2", "queued", 2)
    ground.settle()
    assert ground.states("s") == {"n=1": "done", "n=2": "done"}
    first, second = ground.folders("s")["n=2"]
    assert (first.attempt, second.attempt) == (1, 2)
    assert ground.ran() == ["1", "2", "2"]
    said = orch("retry", "s")
    assert "none of 2 jobs failed" in said.err


def test_done_jobs_only_again_and_the_newer_result_counts(orch: Orch, ground: Ground) -> None:
    ground.write(
        "job.sh", """echo x >> ran; echo '{"contract":1,"values":{"n":'$(wc -l < ran)'}}' > "$ORCH_RUN/result.json" """
    )
    ground.write("sweeps/s.yaml", "command: [sh, job.sh]")
    assert orch("sweep", "s").code == 0
    said = orch("retry", "s/")
    assert said.code == 3
    for _ in range(2):
        said = orch("retry", "s", "--again")
        assert (said.code, "queued" in said.out) == (0, True)
        ground.settle()
        orch("status", "--refresh")
    shown = json.loads(orch("show", "s", "--json").out)
    assert (shown["state"], shown["scores"], len(shown["attempts"])) == ("done", {"n": 3}, 3)
    assert orch("index", "check").code == 0


def test_what_is_done_is_not_retried_by_itself(orch: Orch, swept: Ground) -> None:
    said = orch("retry", "fold=1,lr=0.001")
    assert said.code == 2
    assert "orch retry fold=1,lr=0.001 --again" in said.err
