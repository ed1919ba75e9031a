"""After a failure on a real host over ssh, the laptop away: smaller batches, a power cut, an old driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.cluster import Lab
from witness import Witness

pytestmark = pytest.mark.slow
CARD = {"index": 0, "uuid": "GPU-5ab1e0", "name": "NVIDIA A10", "memory_total": 23028, "memory_used": 4}


@pytest.fixture
def ground(lab: Lab, hostile_path: Path) -> Iterator[Ground]:
    """A project on the laptop, and an orch home on nodal of its own."""
    found = Ground(hostile_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", "  nodal: {ssh: nodal, home: ~/orch-after}")
    yield found
    found.close()
    lab.repair()
    clean = "pkill -KILL -u alice -f '[e]xec.i.read' ; rm -rf /var/tmp/orch-* ~alice/orch-after ~alice/after-*"
    lab["nodal"].run("/bin/sh", "-c", clean, check=False)


def write(ground: Ground, name: str, script: str, grid: str, *more: str) -> None:
    ground.write(f"sweeps/{name}.yaml", f"command: [sh, -c, {json.dumps(script)}]", f"grid: {grid}", *more)


def begin(ground: Ground, name: str) -> None:
    done = ground.orch("sweep", name, "--hosts", "nodal", "--parallel", "1", "--detach")
    assert done.code == 0, done.err


def lines(lab: Lab, name: str) -> list[str]:
    path = lab.user_home / name
    return path.read_text().split() if path.exists() else []


def test_the_story_is_told_after_the_laptop_was_away(ground: Ground, lab: Lab) -> None:
    """Injected: out of memory above 8 samples; no connection to the host until all is over. Lost: nothing."""
    script = "echo ${{ORCH_MICRO_BATCH:-{batch_size}}} >> ~/after-oom; test $(tail -n1 ~/after-oom) -le 8"
    script += " || {{ echo CUDA out of memory; exit 1; }}"
    write(ground, "oom", script, "{batch_size: [32]}", "policy: {out_of_memory_gpu: retry_smaller}")
    begin(ground, "oom")
    before = lab["nodal"].connections
    until(lambda: lines(lab, "after-oom") == ["32", "16", "8"], what="three attempts")
    assert lab["nodal"].connections == before
    until(lambda: ground.states("oom") == {"batch_size=32": "done"})
    story = ground.orch("why", "batch_size=32").out.splitlines()[1].strip()
    assert story == (
        "attempt 1 on nodal: CUDA out of memory at batch 32 -> retried with 2 x 16 (same effective batch)"
        " -> CUDA out of memory at 2 x 16 -> retried with 4 x 8 (same effective batch) -> done"
    )


def test_a_power_cut_is_followed_by_one_more_attempt_at_the_next_command(ground: Ground, lab: Lab) -> None:
    """Injected: power cut under a running and a waiting job, then a boot. Lost: none; started twice: none."""
    folder = lab.user_home / "after-judged"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    witness = Witness(ground, folder, "$HOME/after-judged")
    work = "echo {n} >> ~/after-cut; touch $ORCH_RUN/last.pt; while ! test -e ~/after-go; do sleep 0.05; done; finish 0"
    write(ground, "cut", witness.script("n={n}", work), "{n: [1, 2]}")
    begin(ground, "cut")
    witness.accepted("n=1", "n=2")
    until(lambda: lines(lab, "after-cut") == ["1"])
    lab["nodal"].kill()
    witness.lost_power("nodal")
    (lab.user_home / "after-go").touch()
    lab.repair()
    until(lambda: ground.states("cut") == {"n=1": "done", "n=2": "done"}, 120)
    assert sorted(lines(lab, "after-cut")) == ["1", "1", "2"]
    why = ground.orch("why", "n=1").out
    assert "attempt 1 on nodal: interrupted (ended without a record (proof: the host was booted since))" in why
    assert "-> retried from its last checkpoint -> done" in why
    witness.verdict("cut")


def test_a_driver_that_is_too_old_keeps_the_cards_free_until_a_person_says(ground: Ground, lab: Lab) -> None:
    """Injected: the words of an old driver from the first of 3 GPU jobs. Started on the card after it: none."""
    lab["nodal"].gpu(CARD)
    words = "CUDA driver version is insufficient for CUDA runtime version"
    script = f"echo {{n}} >> ~/after-gpu; test -e ~/after-mended || {{{{ echo {words}; exit 1; }}}}"
    write(ground, "gpu", script, "{n: 1..3}", "resources: {gpus: 1}")
    begin(ground, "gpu")
    until(lambda: sorted(ground.states("gpu").values()) == ["failed", "queued", "queued"])
    said = ground.orch("status", "gpu", "--refresh").out
    assert "2 jobs held: the GPUs of nodal are out of use: driver mismatch" in said
    (lab.user_home / "after-mended").touch()
    released = ground.orch("release", "--gpus", "--host", "nodal")
    assert "released: the GPUs; 2 jobs can start" in released.out
    until(lambda: sorted(ground.states("gpu").values()) == ["done", "done", "failed"])
    assert lines(lab, "after-gpu") == ["1", "2", "3"]
