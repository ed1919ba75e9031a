"""The biliary phantom: made-up MR volumes of bile ducts, for demonstrations and for tests without patients' data.

Each volume is a slab as MRCP gives it: a branching duct tree (`tree`), drawn by sub-voxels so that thin ducts fade
(`render`), among gallbladder, bowel and spinal fluid that are as bright as bile (`scene`), with bias field and Rician
noise. No threshold finds the ducts; their shape and place do. Some patients have two scans, so that folds by scan
instead of by patient would leak. Everything follows from one seed: the same seed gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.atomic import write_bytes
from jobs.errors import UsageError, disk_error

from . import scene
from .render import Grid
from .tree import Tube, grow

FIELD = 118.0  # mm, least width of the picture: the ducts and what lies around them
SLAB = 60.0  # mm, least thickness
IN_PLANE, SLICE = 1.0, 1.5  # mm, voxel size of a large picture (MRCP: 0.8 to 1.2, and 1 to 2)
RADIUS = 2.6  # mm, the common bile duct: 5 mm wide, and dilated where voxels are larger than 1 mm
DILATED = 1.85  # times RADIUS at most
LEAST = 16  # voxels along each side of the picture; 4 slices
TWICE = 4  # every fourth patient, from the third on, has two scans


class Phantom(NamedTuple):
    """One volume.

    Attributes
    ----------
    image:
        (X, Y, Z) int16; axis 2 is the slab's, from back to front.
    mask:
        (X, Y, Z) uint8: 1 where a duct fills more than half of the voxel.
    affine:
        (4, 4) voxel index to mm.
    ducts:
        Centre-lines and radii in mm, by branch order.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    ducts: list[Tube]


def make(patient: int, visit: int, size: int = 64, depth: int = 24, seed: int = 0) -> Phantom:
    """Return one volume of size x size x depth voxels.

    Parameters
    ----------
    patient:
        Number from 1: another number is another anatomy.
    visit:
        Number from 0: the same anatomy in another position, with another bias field and other noise.

    Raises
    ------
    UsageError
        The volume would be too small to hold ducts.
    """
    if size < LEAST or depth < 4:
        raise UsageError(f"{size} x {size} x {depth} voxels hold no ducts", f"use at least size {LEAST} and depth 4")
    anatomy = np.random.default_rng([seed, patient])
    position = np.random.default_rng([seed, patient, 1 + visit])
    grid = _grid(size, depth, position)
    ducts = grow(anatomy, RADIUS * min(grid.spacing[0], DILATED) * anatomy.uniform(0.95, 1.25), _orders(size))
    signal, mask = scene.paint(anatomy, grid, ducts)
    return Phantom(scene.scan(position, grid, signal), mask, _affine(grid), ducts)


def write_set(
    folder: Path,
    cases: int = 10,
    size: int = 64,
    depth: int = 24,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a data set in nnU-Net's layout and tell where: `{"images", "labels", "cases"}`.

    Raises
    ------
    UsageError
        A number is out of range.
    DiskError
        The folder cannot be written.
    """
    if cases < 1:
        raise UsageError(f"{cases} cases are no data set", "use at least 1; 10 is usual")
    images, labels = folder.absolute() / "imagesTr", folder.absolute() / "labelsTr"
    try:
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for done, (name, patient, visit) in enumerate(_visits(cases), start=1):
            _write(make(patient, visit, size, depth, seed), images / f"{name}.nii.gz", labels / f"{name}.nii.gz")
            if progress:
                progress(done, cases)
        write_bytes(images.parent / "dataset.json", _description(cases), sync=False)
    except OSError as error:
        raise disk_error(error, str(folder)) from error
    return {"images": str(images), "labels": str(labels), "cases": cases}


def _visits(cases: int) -> Iterator[tuple[str, int, int]]:
    """Yield (name, patient, visit) of each case: P01_a, P02_a, P03_a, P03_b, P04_a, …"""
    patient = written = 0
    while written < cases:
        patient += 1
        for visit in range(2 if patient % TWICE == 3 else 1):
            if written < cases:
                written += 1
                yield f"P{patient:02d}_{'ab'[visit]}", patient, visit


def _write(phantom: Phantom, image: Path, mask: Path) -> None:
    from trainer import nifti

    nifti.write(image, phantom.image, phantom.affine)
    nifti.write(mask, phantom.mask, phantom.affine)


def _description(cases: int) -> bytes:
    value = {
        "name": "biliary phantom",
        "description": "made by orch, no patient's data",
        "channel_names": {"0": "MRCP"},
        "labels": {"background": 0, "duct": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    return (json.dumps(value, indent=2) + "\n").encode()


def _orders(size: int) -> int:
    """Return how many generations of branches the voxels can tell apart."""
    return 2 if size < 48 else 3 if size < 160 else 4


def _grid(size: int, depth: int, rng: np.random.Generator) -> Grid:
    """Return a grid around the hilum, shifted a little: no two scans have the same position."""
    side, thick = max(IN_PLANE, FIELD / size), max(SLICE, SLAB / depth)
    shift = rng.uniform(-1, 1, 3) * (4.0, 4.0, 1.5)
    middle = (-2.0, -8.0, 0.0)
    x, y, z = (
        middle[axis] + shift[axis] - count * step / 2
        for axis, (count, step) in enumerate(((size, side),) * 2 + ((depth, thick),))
    )
    return Grid((size, size, depth), (side, side, thick), (x, y, z))


def _affine(grid: Grid) -> NDArray[np.float64]:
    """Return the affine of a coronal slab: the array axes point left, to the head, and to the front (RAS+ mm)."""
    affine = np.zeros((4, 4))
    first = [grid.corner[axis] + grid.spacing[axis] / 2 for axis in range(3)]
    affine[0, 0], affine[2, 1], affine[1, 2] = -grid.spacing[0], grid.spacing[1], grid.spacing[2]
    affine[:, 3] = (-first[0], first[2], first[1], 1.0)
    return affine
