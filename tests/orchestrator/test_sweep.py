"""Sweep files: where they are found, and what their defaults become."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import NotFound
from orchestrator.config import DataSource
from orchestrator.sweep import COMMAND, SHIPPED, TRAINER, SweepFile, find_sweep, load_sweep


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str, name: str = "s.yaml") -> SweepFile:
    return load_sweep(write(folder / name, text))


def test_a_sweep_is_found_near_first_then_beside_the_project_then_shipped(tmp_path: Path) -> None:
    here, project = tmp_path / "deep/er", tmp_path / "orch.yaml"
    here.mkdir(parents=True)
    assert find_sweep("augmentations", here, project) == SHIPPED / "augmentations.yaml"
    beside = write(tmp_path / "sweeps/augmentations.yaml", "")
    assert find_sweep("augmentations", here, project) == beside
    near = write(here / "sweeps/augmentations.yaml", "")
    assert find_sweep("augmentations", here, project) == near
    assert find_sweep("sweeps/augmentations.yaml", here, project) == near
    assert find_sweep(str(beside), here, None) == beside


def test_an_unknown_sweep_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_sweep("augmentatoins", tmp_path, None)
    assert "Did you mean 'augmentations'?" in caught.value.message
    assert "demo" in caught.value.hint


@pytest.mark.parametrize(("name", "jobs"), [("augmentations", 35), ("demo", 15)])
def test_the_shipped_sweeps_are_right(name: str, jobs: int) -> None:
    sweep = load_sweep(SHIPPED / f"{name}.yaml")
    assert len(sweep.strategies) * sweep.folds * len(sweep.seeds) == jobs
    assert sweep.name == name
    assert sweep.baseline == "identity"


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    sweep = read(tmp_path, "data: liver\nstrategies: {plain: [], r: [{rotate: {}}]}\ntrain: {epochs: 3.0}\n")
    assert (sweep.name, sweep.kind, sweep.folds, sweep.seeds, sweep.metric) == ("s", TRAINER, 5, (0,), "dice")
    assert sweep.strategies["r"][0]["rotate"]["degrees"] == 15
    assert sweep.train["lr"] == 1e-4
    assert sweep.train["loss"] == {"dice": 0.5}
    assert type(sweep.train["epochs"]) is int
    assert sweep.baseline == "plain"
    assert sweep.notes == ("baseline plain: the strategy without augmentation",)


def test_a_sweep_may_name_its_data_by_paths(tmp_path: Path) -> None:
    sweep = read(tmp_path, "data: {images: im, labels: la}\nstrategies: {i: []}\n", "sweeps/s.yaml")
    assert sweep.base == str(tmp_path)
    assert sweep.data == DataSource(str(tmp_path / "im"), str(tmp_path / "la"))


def test_a_command_sweep(tmp_path: Path) -> None:
    text = "command: [python3, train.py, --fold, '{fold}', 5, 0.5]\ngrid: {fold: 0..2, lr: [1e-3, 1e-4]}\n"
    sweep = read(tmp_path, text + "env: {A: 1.0, B: true}\n")
    assert sweep.kind == COMMAND
    assert sweep.command[-2:] == ("5", "0.5")
    assert sweep.axes == {"fold": [0, 1, 2], "lr": [1e-3, 1e-4]}
    assert sweep.env == {"A": "1", "B": "true"}
    assert "'lr' stands in no word of the command" in sweep.notes[0]
    assert sweep.seeds == ()
