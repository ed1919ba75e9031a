"""Small data sets made of real NIfTI files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.nifti import write

SECRET = "00112233445566778899aabbccddeeff"


class DataSet:
    """Two folders of pairs; `add` writes one, `request` is what `scan` is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images, self.labels = root / "imagesTr", root / "labelsTr"
        self.images.mkdir(parents=True)
        self.labels.mkdir()

    def add(self, name: str, shape: tuple[int, int, int] = (10, 12, 6), **changes: Any) -> None:
        """Write a pair: a noisy image, a box as mask; `image`, `mask`, `affine`, `mask_affine` replace the defaults."""
        rng = np.random.default_rng(list(name.encode()))
        box = np.zeros(shape, np.uint8)
        box[3:6, 4:8, 2:5] = 1
        affine = changes.get("affine", np.diag([1.0, 1.5, 2.0, 1.0]))
        image = changes.get("image", rng.normal(100, 10, shape).astype(np.float32))
        write(self.images / f"{name}.nii.gz", image, affine)
        write(self.labels / f"{name}.nii.gz", changes.get("mask", box), changes.get("mask_affine", affine))

    def image(self, name: str) -> Path:
        return self.images / f"{name}.nii.gz"

    def label(self, name: str) -> Path:
        return self.labels / f"{name}.nii.gz"

    def request(self, **changes: Any) -> dict[str, Any]:
        places = {"images": str(self.images), "labels": str(self.labels)}
        return {"name": "tiny", **places, "secret": SECRET, **changes}


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    """Four good pairs, A to D, of different shapes."""
    made = DataSet(tmp_path / "data")
    for number, name in enumerate("ABCD"):
        made.add(name, (10 + number, 12, 6 + number))
    return made


@pytest.fixture
def empty_set(tmp_path: Path) -> DataSet:
    """Two empty folders."""
    return DataSet(tmp_path / "empty")


@pytest.fixture
def manifest_of() -> Callable[..., dict[str, Any]]:
    """Make a manifest without files: `manifest_of({"P1": ["a", "b"]}, empty={"a"})`."""

    def make(groups: dict[str, list[str]], empty: frozenset[str] = frozenset()) -> dict[str, Any]:
        cases = [
            {
                "case": case,
                "group": group,
                "image_sha256": f"image {case}",
                "label_sha256": f"label {case}",
                "shape": [8, 8, 4],
                "labels": [0] if case in empty else [0, 1],
            }
            for group, names in groups.items()
            for case in names
        ]
        return {"contract": 1, "hash": "d" * 16, "classes": ["foreground"], "cases": cases}

    return make
