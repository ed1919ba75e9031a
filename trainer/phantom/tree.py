"""A branching bile-duct tree: where it runs and how wide it is.

Common bile duct, common hepatic duct, right and left hepatic duct, then branches of second and third order. Radii keep
Murray's law at every junction, r_parent^3 = sum r_child^3 (Murray 1926, Proc Natl Acad Sci 12:207), and branching
angles follow from it (Murray 1926, J Gen Physiol 9:835). Lengths and places are rough anatomy of an adult in mm; x
points to the patient's left, y to the head, z to the front, and the hilum lies at the origin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

CYSTIC_SHARE = 0.08  # of r^3: what the cystic duct adds to the common hepatic duct
SHRINK = 0.78  # length of a branch against its parent's
FLAT = 0.8  # share of a branch's depth that is kept: the tree is wider than deep
STEPS = 12  # points along a centre-line


class Tube(NamedTuple):
    """A curved tube.

    Attributes
    ----------
    name:
        What it is.
    order:
        0 for the trunk, 1 for right and left hepatic duct, and so on; -1 for what is no duct.
    parent:
        Index of the branch it springs from, or -1.
    points:
        (n, 3) centre-line in mm.
    radii:
        (n,) radius at each point in mm.
    """

    name: str
    order: int
    parent: int
    points: Points
    radii: NDArray[np.float64]


def grow(rng: np.random.Generator, radius: float, orders: int) -> list[Tube]:
    """Return the ducts of one patient, parents before children.

    Parameters
    ----------
    radius:
        Of the common bile duct in mm.
    orders:
        Generations after the trunk: 3 gives right and left, second and third order.
    """
    hilum, junction = np.zeros(3), np.array([-3.0, -18.0, -3.0]) + rng.normal(0, 1.5, 3)
    ampulla = np.array([-2.0, -46.0, -11.0]) + rng.normal(0, 2.0, 3)
    upper = radius * (1 - CYSTIC_SHARE) ** (1 / 3)
    ducts = [
        _tube("common bile duct", 0, -1, curve(rng, ampulla, junction, 0.12), radius),
        _tube("common hepatic duct", 0, 0, curve(rng, junction, hilum, 0.08), upper),
    ]
    right, left = children(rng, upper)
    _branch(rng, ducts, 1, hilum, np.array([-0.80, 0.55, -0.25]), right, 24.0, orders, "right")
    _branch(rng, ducts, 1, hilum, np.array([0.85, 0.38, 0.4]), left, 27.0, orders, "left")
    return ducts


def _branch(
    rng: np.random.Generator,
    ducts: list[Tube],
    parent: int,
    start: Points,
    direction: Points,
    radius: float,
    length: float,
    orders: int,
    side: str,
) -> None:
    """Add one branch and all that springs from it."""
    order = max(ducts[parent].order, 0) + 1
    direction = _unit(direction + rng.normal(0, 0.08, 3))
    end = start + direction * length * rng.uniform(0.85, 1.15)
    ducts.append(_tube(f"{side}, order {order}", order, parent, curve(rng, start, end, 0.1), radius))
    if order >= orders:
        return
    here = len(ducts) - 1
    first, second = children(rng, radius)
    normal = _unit(np.array([0.0, 0.0, 1.0]) + rng.normal(0, 0.6, 3))
    for one, other, sign in ((first, second, 1), (second, first, -1)):
        turned = _turn(direction, normal, sign * 1.15 * angle(radius, one, other))
        turned[2] = turned[2] * FLAT + rng.normal(0, 0.2)
        _branch(rng, ducts, here, end, turned, one, length * SHRINK, orders, side)


def children(rng: np.random.Generator, radius: float) -> tuple[float, float]:
    """Return two radii whose cubes sum to the parent's cube; the split is uneven by up to 0.4 to 0.6."""
    share = float(rng.uniform(0.4, 0.6))
    return radius * share ** (1 / 3), radius * (1 - share) ** (1 / 3)


def angle(parent: float, child: float, sibling: float) -> float:
    """Return the angle in radians between a branch and its parent's direction (Murray 1926, J Gen Physiol 9:835)."""
    cosine = (parent**4 + child**4 - sibling**4) / (2 * parent**2 * child**2)
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def curve(rng: np.random.Generator, start: Points, end: Points, bend: float) -> Points:
    """Return (STEPS, 3) points of a quadratic Bézier curve whose middle is pushed aside by a share of its length."""
    span = float(np.linalg.norm(end - start))
    control = (start + end) / 2 + rng.normal(0, bend * span, 3) * np.array([1.0, 1.0, FLAT])
    t = np.linspace(0, 1, STEPS)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)


def _tube(name: str, order: int, parent: int, points: Points, radius: float) -> Tube:
    return Tube(name, order, parent, points, np.full(len(points), radius))


def _unit(vector: Points) -> Points:
    return np.asarray(vector / np.linalg.norm(vector))


def _turn(vector: Points, axis: Points, radians: float) -> Points:
    """Rotate a vector around a unit axis (Rodrigues' formula)."""
    cosine, sine = np.cos(radians), np.sin(radians)
    along = axis * (axis @ vector) * (1 - cosine)
    return np.asarray(vector * cosine + np.cross(axis, vector) * sine + along)
