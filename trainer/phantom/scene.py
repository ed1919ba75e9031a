"""What else shines in the picture, and what the scanner makes of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .render import Floats, Grid, occupancy
from .tree import CYSTIC_SHARE, Points, Tube, curve

# Signal of heavily T2-weighted tissue against bile = 1; the spread is between patients.
BODY, LIVER, BILE = 0.07, 0.13, 0.92
GALLBLADDER, BOWEL, CSF, CORD = 1.0, 0.95, 1.0, 0.25
LOOP_AREA = 110.0**2  # mm2 of picture for each further loop of bowel
BIAS = np.log(1.4)  # the coil's sensitivity changes the signal by up to 40 %
SNR = (18.0, 32.0)  # bile against the noise of one channel
SCALE = 1000.0  # stored signal of bile


def paint(rng: np.random.Generator, grid: Grid, ducts: list[Tube]) -> tuple[Floats, NDArray[np.uint8]]:
    """Return the noise-free signal (X, Y, Z) and the mask: voxels of which a duct fills more than half."""
    signal = _body(rng, grid)
    for tubes, tissue in _distractors(rng, grid, ducts):
        share = occupancy(grid, tubes)
        signal += share * (tissue - signal)
    share = occupancy(grid, ducts)
    signal += share * (np.float32(BILE * rng.uniform(0.95, 1.05)) - signal)
    return signal, (share > 0.5).astype(np.uint8)


def scan(rng: np.random.Generator, grid: Grid, signal: Floats) -> NDArray[np.int16]:
    """Return what the scanner stores: bias field, noise that is stronger in the middle, magnitude (Rician)."""
    x, y, z = (_relative(grid, axis) for axis in range(3))
    middle = np.exp(-2.0 * (x * x + y * y))
    noise = np.float32(BILE / rng.uniform(*SNR)) * (1 + 0.5 * middle + 0 * z)
    field = np.exp(_cubic(rng, x, y, z))
    real, imaginary = (rng.standard_normal(grid.shape, np.float32) * noise for _ in range(2))
    return np.rint(SCALE * np.hypot(signal * field + real, imaginary)).astype(np.int16)


def _body(rng: np.random.Generator, grid: Grid) -> Floats:
    """Return soft tissue with a brighter liver; both vary slowly."""
    x, y, z = (grid.centres(axis) for axis in range(3))
    liver = ((x + 12) / 62) ** 2 + ((y - 14) / 36) ** 2 + (z / 34) ** 2 < 1
    waves = _waves(rng, x, y, z, 40.0)
    return np.asarray(np.where(liver, np.float32(LIVER), np.float32(BODY)) * (1 + np.float32(0.25) * waves))


def _distractors(rng: np.random.Generator, grid: Grid, ducts: list[Tube]) -> list[tuple[list[Tube], Floats]]:
    """Return what is as bright as bile, or interrupts it: tubes and their signal, later ones in front."""
    x, y, z = (grid.centres(axis) for axis in range(3))
    mottled = np.float32(BOWEL * rng.uniform(0.9, 1.1)) * (1 + np.float32(0.35) * _waves(rng, x, y, z, 7.0))
    layered = np.float32(GALLBLADDER * rng.uniform(0.9, 1.1)) * (1 - np.float32(0.004) * (y + 35) + 0 * x + 0 * z)
    spine = _spine(rng, grid)
    cystic, bladder = _gallbladder(rng, ducts)
    return [
        ([spine], np.full(grid.shape, CSF * rng.uniform(0.9, 1.1), np.float32)),
        ([spine._replace(name="cord", radii=spine.radii * 0.5)], np.full(grid.shape, CORD, np.float32)),
        (_bowel(rng, grid), np.broadcast_to(mottled, grid.shape).astype(np.float32)),
        ([cystic, bladder], np.broadcast_to(layered, grid.shape).astype(np.float32)),
    ]


def _gallbladder(rng: np.random.Generator, ducts: list[Tube]) -> tuple[Tube, Tube]:
    """Return cystic duct and gallbladder: a pear beside the trunk, below the right branches."""
    junction = ducts[0].points[-1]
    neck = np.array([-21.0, -13.0, 8.0]) + rng.normal(0, 1.5, 3)
    fundus = np.array([-34.0, -44.0, 14.0]) + rng.normal(0, 3.0, 3)
    width = rng.uniform(9.5, 12.5)  # mm, radius at the widest place
    thin = float(ducts[0].radii[0]) * CYSTIC_SHARE ** (1 / 3)
    winding = curve(rng, junction, neck, 0.25)
    winding[1:-1] += rng.normal(0, 0.8, winding[1:-1].shape)
    axis = curve(rng, neck, fundus, 0.05)
    profile = np.sin(np.linspace(0.25, 0.62 * np.pi, len(axis)))
    bladder = Tube("gallbladder", -1, -1, axis, width * profile)
    return Tube("cystic duct", -1, -1, winding, np.full(len(winding), thin)), bladder


def _bowel(rng: np.random.Generator, grid: Grid) -> list[Tube]:
    """Return the duodenum around the ampulla, and loops of bowel as far as the picture reaches."""
    bend: Points = np.array(
        [[26, -20, 2], [33, -34, 0], [24, -50, -2], [4, -57, -4], [-16, -58, 0], [-40, -56, 2]], float
    )
    tubes = [_haustra(rng, bend + rng.normal(0, 2.0, bend.shape), 8.5)]
    width, height = (grid.shape[axis] * grid.spacing[axis] for axis in (0, 1))
    for _ in range(1 + int(width * height / LOOP_AREA)):
        y = rng.uniform(grid.corner[1], -64.0) if height > 140 else grid.corner[1]
        start = np.array([rng.uniform(grid.corner[0], grid.corner[0] + width), y, rng.uniform(-12, 12)])
        path = start + np.cumsum(rng.normal(0, 1, (7, 3)) * np.array([16.0, 4.0, 4.0]), axis=0)
        tubes.append(_haustra(rng, path, float(rng.uniform(7, 10))))
    return tubes


def _haustra(rng: np.random.Generator, corners: Points, radius: float) -> Tube:
    """Return a smooth tube through the corners, pinched at intervals as bowel is."""
    steps = np.linspace(0, len(corners) - 1, 6 * len(corners))
    points = np.stack([np.interp(steps, np.arange(len(corners)), corners[:, axis]) for axis in range(3)], axis=1)
    kernel = np.ones(5) / 5
    for axis in range(3):
        points[2:-2, axis] = np.convolve(points[:, axis], kernel, "valid")
    radii = radius * (1 + 0.22 * np.sin(2.3 * np.arange(len(points)) + rng.uniform(0, 6)))
    return Tube("bowel", -1, -1, points, radii)


def _spine(rng: np.random.Generator, grid: Grid) -> Tube:
    """Return the fluid around the spinal cord: upright behind the ducts, from edge to edge of the picture."""
    reach = abs(grid.corner[1]) + 10.0
    y = np.linspace(-reach, reach, 24)
    x = 8.0 + rng.normal(0, 1.5) + 2.0 * np.sin(y / 60 + rng.uniform(0, 6))
    z = -23.0 + rng.normal(0, 0.7) + 2.0 * np.sin(y / 45 + rng.uniform(0, 6))
    return Tube("spinal canal", -1, -1, np.stack([x, y, z], axis=1), np.full(len(y), 7.0))


def _waves(rng: np.random.Generator, x: Floats, y: Floats, z: Floats, length: float) -> Floats:
    """Return a smooth random pattern of about +-1, its grains about `length` mm long."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.float32)
    for _ in range(3):
        turn = (rng.normal(0, 1, 3) * 2 * np.pi / length).astype(np.float32)
        phase = rng.uniform(0, 2 * np.pi, 3).astype(np.float32)
        total += np.sin(turn[0] * x + phase[0]) * np.sin(turn[1] * y + phase[1]) + np.sin(turn[2] * z + phase[2])
    return total / np.float32(3.0)


def _relative(grid: Grid, axis: int) -> Floats:
    return np.asarray(2 * (grid.centres(axis) - grid.corner[axis]) / (grid.shape[axis] * grid.spacing[axis]) - 1)


def _cubic(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Return a random polynomial of order 3 in x, y and z whose largest size is at most `BIAS`."""
    powers = [(i, j, k) for i in range(4) for j in range(4) for k in range(4) if 0 < i + j + k <= 3]
    weights = rng.normal(0, 1, len(powers))
    planes = np.zeros((4, x.size, y.size, 1), np.float32)  # one polynomial in x and y for each power of z
    for weight, (i, j, k) in zip(weights, powers, strict=True):
        planes[k] += np.float32(weight) * (x**i * y**j)
    total = planes[0] + planes[1] * z + planes[2] * z**2 + planes[3] * z**3
    return np.asarray(total * np.float32(BIAS * rng.uniform(0.5, 1.0) / np.abs(total).max()))
