"""`orch release`, and what other commands say of jobs that wait on purpose or were started again by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from ground import Ground

from .conftest import Orch

MISTAKE = "test -e mended || { echo ImportError: nibabe; exit 1; }"


def test_siblings_wait_and_go_on_when_they_are_released(orch: Orch, ground: Ground) -> None:
    path = ground.sweep("s", MISTAKE, "{n: 1..5}")
    said = orch("sweep", "s", "--parallel", "1")
    assert said.code == 1
    assert "3 jobs held: 2 jobs of this sweep failed alike, with import error: ImportError: nibabe" in said.err
    assert "3 jobs held: 2 jobs" in orch("status").out
    why = orch("why", "n=5")
    assert "held: 2 jobs of this sweep failed alike" in why.out
    assert "next: orch release s" in why.err
    Path(ground.folder if hasattr(ground, "folder") else path.parent.parent, "mended").touch()
    document = json.loads(orch("release", "s", "--json").out)
    assert document == {"sweeps": ["s"], "gpus": False, "jobs": 3}
    assert orch("status", "--watch").code == 0
    assert "s  5 jobs: 3 done · 2 failed" in orch("status").out


def test_nothing_held_and_nothing_named(orch: Orch, swept: Ground) -> None:
    assert "Nothing was held." in orch("release", "rates").err
    assert json.loads(orch("release", "rates", "--gpus", "--json").out) == {"sweeps": [], "gpus": False, "jobs": 0}
    said = orch("release")
    assert (said.code, "orch release SWEEP" in said.err) == (2, True)
    assert orch("release", "ratse").code == 3


def test_why_tells_the_whole_story(orch: Orch, ground: Ground) -> None:
    script = 'test "${ORCH_MICRO_BATCH:-32}" -le 8 || { echo CUDA out of memory; exit 1; }'
    path = ground.sweep("s", script, "{batch_size: [32]}")
    path.write_text(path.read_text() + "\npolicy: {out_of_memory_gpu: retry_smaller}\n")
    said = orch("sweep", "s")
    assert said.code == 0, said.err
    why = orch("why", "batch_size=32")
    line = why.out.splitlines()[1].strip()
    assert line.startswith("attempt 1 on ")
    assert line.endswith(
        ": CUDA out of memory at batch 32 -> retried with 2 x 16 (same effective batch)"
        " -> CUDA out of memory at 2 x 16 -> retried with 4 x 8 (same effective batch) -> done"
    )
    assert "then:     retry smaller: again with 2 x 16" in why.out
    document = json.loads(orch("why", "batch_size=32", "--json").out)
    assert document["story"] == line
    assert [one["spec"]["attempt"] for one in document["attempts"]] == [1, 2, 3]
