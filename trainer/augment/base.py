"""What an augmentation is: randomness (`make_params`) split from application, which is deterministic given the params.

To add one: a file beside this one with a subclass of `Geometric` or `Pointwise`, its knobs in `trainer/schema.py`, its
line in the table of `trainer/augment/__init__.py`, and a test.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Params = dict[str, npt.NDArray[Any]]  # drawn numbers by name, each (B,)
Rows = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Augmentation(ABC):
    """One augmentation with its knobs, as `trainer/schema.py` names them.

    Attributes
    ----------
    name:
        Its word in a sweep.
    draws:
        Uniform random numbers that it needs per sample.
    noop_example:
        Knobs under which it does something; shown when the given ones change nothing.
    """

    name: ClassVar[str]
    draws: ClassVar[int]
    noop_example: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def make_params(self, uniform: Floats) -> Params:
        """Turn uniform numbers (B, draws) into this augmentation's parameters, one of each per sample."""

    @abstractmethod
    def is_noop(self) -> bool:
        """Tell whether these knobs never change a slice."""


class Geometric(Augmentation):
    """Moves image and mask together."""

    @abstractmethod
    def matrix(self, params: Params, size: tuple[int, int]) -> Floats:
        """Return matrices (B, 2, 3) that take an output position to the input position it is read from.

        Positions are (column, row) in pixels from the centre of a slice of `size` (rows, columns).
        """


class Pointwise(Augmentation):
    """Changes intensities; the mask stays."""

    @abstractmethod
    def active(self, params: Params) -> Rows:
        """Tell which samples (B,) change at all; the others keep every bit."""

    @abstractmethod
    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Return changed images (B, 1, H, W); every one of them is active."""


def spread(uniform: Floats, limit: float) -> Floats:
    """Map [0, 1) evenly to [-limit, limit)."""
    return (2 * uniform - 1) * limit


def chosen(uniform: Floats, probability: float) -> Rows:
    """Tell which of the samples are picked with this probability."""
    return uniform < probability


def select(params: Params, rows: Rows) -> Params:
    """Return the parameters of some samples."""
    return {name: values[rows] for name, values in params.items()}


def turn(degrees: Floats) -> Floats:
    """Return matrices (B, 2, 3) that turn slices by so many degrees, counter-clockwise when rows run downwards."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    zero = np.zeros_like(cos)
    return np.stack([np.stack([cos, -sin, zero], -1), np.stack([sin, cos, zero], -1)], -2)
