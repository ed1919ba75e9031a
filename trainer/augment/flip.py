"""Mirror slice and mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Floats, Geometric, Params, chosen


@dataclass(frozen=True)
class Flip(Geometric):
    """Mirror along each of the given axes, each with the same probability."""

    probability: float  # share of the slices that are mirrored along an axis
    axes: Sequence[str]  # horizontal = columns change places, vertical = rows do

    name: ClassVar[str] = "flip"
    draws: ClassVar[int] = 2
    noop_example: ClassVar[dict[str, Any]] = {"probability": 0.5, "axes": ["horizontal"]}

    def make_params(self, uniform: Floats) -> Params:
        """Draw yes or no for both axes; an axis that was not asked for stays."""
        names = ("horizontal", "vertical")
        return {
            name: chosen(uniform[:, place], self.probability) & (name in self.axes) for place, name in enumerate(names)
        }

    def is_noop(self) -> bool:
        """Never, or along no axis."""
        return self.probability == 0 or not self.axes

    def matrix(self, params: Params, size: tuple[int, int]) -> Floats:
        """A diagonal of signs."""
        result = np.zeros((len(params["horizontal"]), 2, 3))
        result[:, 0, 0] = np.where(params["horizontal"], -1, 1)
        result[:, 1, 1] = np.where(params["vertical"], -1, 1)
        return result
