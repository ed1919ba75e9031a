"""From tubes in mm to voxels: occupancy by 4 x 4 x 4 sub-voxels, so that thin ducts fade as in a real slice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tree import Tube

SUB = 4  # sub-voxels along each axis; 4**3 bits fill 8 bytes
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
Floats = NDArray[np.float32]


class Grid(NamedTuple):
    """Voxel grid: number of voxels, their size in mm, and the place in mm of the grid's first corner."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    corner: tuple[float, float, float]

    def centres(self, axis: int) -> Floats:
        """Return the voxel centres along one axis in mm, shaped to broadcast over (X, Y, Z)."""
        places = self.corner[axis] + self.spacing[axis] * (np.arange(self.shape[axis]) + 0.5)
        return _along(places, axis)


def occupancy(grid: Grid, tubes: Iterable[Tube]) -> Floats:
    """Return (X, Y, Z): the share of each voxel that lies inside any of the tubes, in steps of 1/64.

    Each voxel has one bit per sub-voxel, so that overlapping tubes count once.
    """
    bits = np.zeros((*grid.shape, SUB**3 // 8), np.uint8)
    for tube in tubes:
        for index in range(len(tube.points) - 1):
            ends = tube.points[index], tube.points[index + 1]
            _capsule(bits, grid, ends, (float(tube.radii[index]), float(tube.radii[index + 1])))
    share = np.zeros(grid.shape, np.float32)
    touched = bits.view(np.uint64)[..., 0] != 0
    share[touched] = _ONES[bits[touched]].sum(axis=-1) / np.float32(SUB**3)
    return share


def _capsule(
    bits: NDArray[np.uint8],
    grid: Grid,
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    radii: tuple[float, float],
) -> None:
    """Set the bits inside one segment with round ends, whose radius changes evenly from end to end."""
    box = _box(grid, ends, max(radii))
    shape = [part.stop - part.start for part in box]
    if min(shape) <= 0:
        return
    inside = _inside([_subvoxels(grid, box[axis], axis) for axis in range(3)], ends, radii)
    nx, ny, nz = shape
    cells = inside.reshape(nx, SUB, ny, SUB, nz, SUB).transpose(0, 2, 4, 1, 3, 5).reshape(nx, ny, nz, SUB**3)
    bits[box] |= np.packbits(cells, axis=-1)


def _inside(
    places: list[Floats], ends: tuple[NDArray[np.float64], NDArray[np.float64]], radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """Tell which sub-voxels are nearer to the segment than its radius there."""
    start = ends[0].astype(np.float32)
    step = (ends[1] - ends[0]).astype(np.float32)
    length = max(float(step @ step), 1e-9)
    x, y, z = (places[axis] - start[axis] for axis in range(3))
    along = np.clip((x * step[0] + y * step[1] + z * step[2]) / np.float32(length), 0, 1)
    apart = (x - along * step[0]) ** 2 + (y - along * step[1]) ** 2 + (z - along * step[2]) ** 2
    reach = np.float32(radii[0]) + along * np.float32(radii[1] - radii[0])
    return np.asarray(apart <= reach * reach)


def _box(
    grid: Grid, ends: tuple[NDArray[np.float64], NDArray[np.float64]], radius: float
) -> tuple[slice, slice, slice]:
    corner, spacing = np.array(grid.corner), np.array(grid.spacing)
    low = np.floor((np.minimum(*ends) - radius - corner) / spacing).astype(int)
    high = np.ceil((np.maximum(*ends) + radius - corner) / spacing).astype(int)
    low, high = np.clip(low, 0, grid.shape), np.clip(high, 0, grid.shape)
    x, y, z = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return x, y, z


def _subvoxels(grid: Grid, part: slice, axis: int) -> Floats:
    fine = (np.arange(part.start * SUB, part.stop * SUB) + 0.5) / SUB
    return _along(grid.corner[axis] + grid.spacing[axis] * fine, axis)


def _along(places: NDArray[np.floating[Any]], axis: int) -> Floats:
    shape = [1, 1, 1]
    shape[axis] = -1
    return places.astype(np.float32).reshape(shape)
