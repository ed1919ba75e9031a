"""The trainer on a real Slurm that sends it away: it goes on to the same numbers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import Ground, until
from lab.slurm import Slurm

from jobs.events import read

from .conftest import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def ground(slurm: Slurm, volumes: Path, tmp_path: Path) -> Iterator[Ground]:
    """A project with the tiny volumes on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    shutil.copytree(volumes, found.project / "ducts")
    assert found.orch("init", "ducts").code == 0
    found.write("site.yaml", "hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")
    yield found
    found.close()


def train(ground: Ground, name: str) -> None:
    lines = [line for line in TINY if "rotate" not in line and not line.startswith(("sweep:", "train:"))]
    shape = "train: {width: 4, depth: 2, epochs: 6, lr: 1e-2, patience: 0}"
    ground.write(f"sweeps/{name}.yaml", f"sweep: {name}", *lines, shape)
    assert ground.orch("sweep", name, "--folds", "0", "--detach").code == 0


def curve(ground: Ground, name: str) -> dict[int, Any]:
    """Values of each epoch, over all attempts; the later attempt's where both have told one."""
    attempts = ground.folders(name).get("identity/0", [])
    told = [event for folder in attempts for event in read(folder.events).events if event["kind"] == "metrics"]
    return {event["step"]: timeless(event["values"]) for event in told}


def timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("seconds")}


def test_a_training_that_slurm_sends_away_ends_with_the_same_numbers(ground: Ground, slurm: Slurm) -> None:
    """Injected: the signal that Slurm sends before a time limit, in the middle of one of two equal trainings.

    Lost: the epoch that was begun. Every later loss, and the result of every patient, is bit for bit that of the other.
    """
    train(ground, "cut")
    until(lambda: len(curve(ground, "cut")) >= 2, 240, "two epochs")
    slurm.ask("scancel", "--batch", "--signal=USR2", *slurm.ask("squeue", "-h", "-r", "-o", "%i").split())
    assert ground.orch("attach", "cut", timeout=300).code == 0
    train(ground, "whole")
    (limit,) = set(until(lambda: slurm.ask("squeue", "-h", "-o", "%l").split(), what="it is in Slurm"))
    assert re.fullmatch(r"1\d:00", limit), "twice the time that the first one took, and ten minutes"
    assert ground.orch("attach", "whole", timeout=300).code == 0
    told = ground.orch("why", "identity/0", "--sweep", "cut").out
    assert "Slurm took back what it had given -> retried from its last checkpoint -> done" in told, told
    cut, whole = (ground.folders(name)["identity/0"] for name in ("cut", "whole"))
    assert (len(cut), len(whole)) == (2, 1)
    assert curve(ground, "cut") == curve(ground, "whole")
    results = [json.loads(Path(attempts[-1].result).read_text())["values"] for attempts in (cut, whole)]
    assert timeless(results[0]) == timeless(results[1])
    assert Path(cut[-1].cases).read_bytes() == Path(whole[-1].cases).read_bytes()
