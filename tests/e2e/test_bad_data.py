"""Volumes and masks that cannot be used: one clear message with the repair, exit 1, and nothing in `runs/`."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from ground import Ground

from .conftest import PATIENTS

SWEEP = (
    "sweep: bad",
    "data: {images: ducts/imagesTr, labels: ducts/labelsTr}",
    "strategies: {identity: []}",
    "train: {width: 4, depth: 2, epochs: 1}",
)
FIRST, SECOND = (f"{patient}.nii.gz" for patient in sorted(PATIENTS)[:2])
Spoil = Callable[[Path, Path], Any]


def change(path: Path, edit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a volume again with other voxels or another affine."""
    volume = nibabel.load(path)
    data, affine = edit(np.asarray(volume.dataobj).copy(), np.array(volume.affine))
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def voxel(value: float, kind: type[np.generic]) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def edit(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data = data.astype(kind)
        data[3, 3, 3] = value
        return data, affine

    return edit


def empty(images: Path, labels: Path) -> None:
    for path in labels.iterdir():
        change(path, lambda data, affine: (data * 0, affine))


WRONG: dict[str, tuple[Spoil, str]] = {  # what was spoilt: how, a part of the message
    "image without mask": (lambda images, labels: (labels / FIRST).unlink(), "no mask"),
    "mask without image": (lambda images, labels: (images / FIRST).unlink(), "no image"),
    "other shape": (
        lambda images, labels: change(labels / FIRST, lambda data, affine: (data[:-1], affine)),
        "its mask 31",
    ),
    "other affine": (
        lambda images, labels: change(labels / FIRST, lambda data, affine: (data, affine @ np.diag([1, 2, 1, 1]))),
        "affine",
    ),
    "four dimensions": (
        lambda images, labels: change(images / FIRST, lambda data, affine: (np.stack([data, data], -1), affine)),
        "4",
    ),
    "an empty file": (lambda images, labels: (images / FIRST).write_bytes(b""), "empty"),
    "a truncated file": (
        lambda images, labels: (images / FIRST).write_bytes((images / FIRST).read_bytes()[:2000]),
        "truncated",
    ),
    "no NIfTI": (lambda images, labels: (images / FIRST).write_bytes(gzip.compress(bytes(5000))), "header is damaged"),
    "a voxel that is no number": (lambda images, labels: change(images / FIRST, voxel(np.nan, np.float32)), "NaN"),
    "an infinite voxel": (lambda images, labels: change(images / FIRST, voxel(np.inf, np.float32)), "inf"),
    "half a label": (lambda images, labels: change(labels / FIRST, voxel(0.5, np.float32)), "whole number"),
    "a negative label": (lambda images, labels: change(labels / FIRST, voxel(-1, np.int16)), "-1"),
    "all masks empty": (empty, "empty"),
}


@pytest.fixture
def bad(ground: Ground, volumes: Path) -> Ground:
    shutil.copytree(volumes, ground.project / "ducts")
    ground.write("sweeps/bad.yaml", *SWEEP)
    return ground


def refused(ground: Ground, code: int, *words: str) -> str:
    """Run the sweep, which must be refused; return the message."""
    said = ground.orch("sweep", "bad", *words)
    assert (said.code, said.out) == (code, ""), said.err
    assert said.err.count("error:") == 1
    assert len(said.err.partition("fix:")[2].strip()) > 10, said.err
    assert "Traceback" not in said.err
    assert not Path(ground.home.runs).exists()
    assert not Path(ground.home.path, "queue").exists()
    return said.err


@pytest.mark.parametrize("what", WRONG)
def test_bad_volumes_are_refused(bad: Ground, what: str) -> None:
    spoil, part = WRONG[what]
    spoil(bad.project / "ducts/imagesTr", bad.project / "ducts/labelsTr")
    said = refused(bad, 1)
    assert part in said
    if what != "all masks empty":
        assert FIRST.removesuffix(".nii.gz") in said  # on the user's own terminal the file may be named


def test_a_label_beyond_the_classes(bad: Ground) -> None:
    change(bad.project / "ducts/labelsTr" / FIRST, voxel(7, np.int16))
    bad.write("sweeps/bad.yaml", SWEEP[0], SWEEP[1].replace("}", ", classes: [duct]}"), *SWEEP[2:])
    assert "7" in refused(bad, 1)


def test_more_folds_than_patients(bad: Ground) -> None:
    bad.write("sweeps/bad.yaml", *SWEEP, "folds: 7")
    said = refused(bad, 2)
    assert "7 folds cannot be made of 6 patients" in said
    assert "folds: 6" in said


@pytest.mark.parametrize(("blank", "folds", "part"), [(5, 3, "labelled patient"), (3, 6, "empty")])
def test_a_fold_without_any_mask(bad: Ground, blank: int, folds: int, part: str) -> None:
    for path in sorted((bad.project / "ducts/labelsTr").iterdir())[:blank]:
        change(path, lambda data, affine: (data * 0, affine))
    bad.write("sweeps/bad.yaml", *SWEEP, f"folds: {folds}")
    assert part in refused(bad, 1)


def test_an_interpreter_without_the_libraries(bad: Ground) -> None:
    stranger = bad.write("python", "#!/bin/sh", "exit 3")
    stranger.chmod(0o700)
    refused(bad, 1, "--python", str(stranger))
    refused(bad, 1, "--python", str(bad.project / "none"))


def test_a_training_parameter_that_is_misspelt(bad: Ground) -> None:
    bad.write("sweeps/bad.yaml", *SWEEP[:3], "train: {widht: 4}")
    assert "Did you mean 'width'?" in refused(bad, 2)
    bad.write("sweeps/bad.yaml", *SWEEP[:2], "strategies: {r: [{rotate: {degres: 3}}]}")
    assert "Did you mean 'degrees'?" in refused(bad, 2)
