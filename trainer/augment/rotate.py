"""Turn slice and mask about the centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Floats, Geometric, Params, chosen, spread, turn


@dataclass(frozen=True)
class Rotate(Geometric):
    """Rotation by an angle drawn evenly from -degrees to +degrees."""

    degrees: float  # degree, 0 to 180
    probability: float  # share of the slices that are turned

    name: ClassVar[str] = "rotate"
    draws: ClassVar[int] = 2
    noop_example: ClassVar[dict[str, float]] = {"degrees": 15}

    def make_params(self, uniform: Floats) -> Params:
        """Draw the angle in degrees; 0 = left alone."""
        return {"degrees": np.where(chosen(uniform[:, 0], self.probability), spread(uniform[:, 1], self.degrees), 0.0)}

    def is_noop(self) -> bool:
        """No angle, or never."""
        return self.degrees == 0 or self.probability == 0

    def matrix(self, params: Params, size: tuple[int, int]) -> Floats:
        """A plain turn."""
        return turn(params["degrees"])
