"""A real training that is out of memory goes on by itself with smaller parts of the same batch."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
from ground import Ground

from jobs.events import read

pytestmark = pytest.mark.slow
MEMORY = 2000 << 20  # bytes of address space; torch takes a third of it, a batch of 16 such slices 2 GiB more


def test_a_training_that_is_out_of_memory_goes_on_with_smaller_parts(ground: Ground, volumes: Path) -> None:
    """Injected: a real limit of memory that a whole batch does not fit in. Lost: nothing; one job, one batch."""
    shutil.copytree(volumes, ground.project / "ducts")
    assert ground.orch("init", "ducts").code == 0
    size = "width: 32, depth: 2, batch_size: 16, epochs: 1, size: [256, 256]"
    ground.write(
        "sweeps/big.yaml", "folds: 2", "strategies: {identity: []}", f"train: {{{size}}}", "resources: {cpus: 1}"
    )
    limit = (MEMORY, MEMORY)
    running = ground.start(
        "sweep", "big", "--folds", "0", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit)
    )
    _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    (attempts,) = ground.folders("big").values()
    jobs = [json.loads(Path(folder.job).read_text()) for folder in attempts]
    micro = [job["tuning"].get("micro_batch", 16) for job in jobs]
    assert len(micro) > 1 and micro == [16 >> number for number in range(len(micro))]
    assert {job["id"] for job in jobs} == {jobs[0]["id"]}
    (start,) = [event for event in read(attempts[-1].events).events if event["kind"] == "start"]
    assert (start["batch"], start["micro_batch"]) == (16, micro[-1])
    why = ground.orch("why", "identity/0").out
    assert ": out of memory at batch 16 -> retried with 2 x 8 (same effective batch) -> " in why
    assert "batch normalisation saw no more than these" in why
