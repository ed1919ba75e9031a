"""Turn, resize, shift and shear slice and mask in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Floats, Geometric, Params, chosen, spread, turn


@dataclass(frozen=True)
class Affine(Geometric):
    """Random affine map: first shifted, then turned, resized and sheared."""

    degrees: float  # degree, 0 to 180
    scale: float  # size factor from 1-scale to 1+scale
    translate: float  # share of the slice's side
    shear: float  # degree, 0 to 60
    probability: float  # share of the slices that are moved

    name: ClassVar[str] = "affine"
    draws: ClassVar[int] = 6
    noop_example: ClassVar[dict[str, float]] = {"degrees": 15, "scale": 0.1, "translate": 0.05}

    def make_params(self, uniform: Floats) -> Params:
        """Draw angle, size factor, two shifts and shear angle; 0, 1, 0, 0, 0 = left alone."""
        moved = chosen(uniform[:, 0], self.probability)
        return {
            "degrees": np.where(moved, spread(uniform[:, 1], self.degrees), 0.0),
            "scale": np.where(moved, 1 + spread(uniform[:, 2], self.scale), 1.0),
            "translate_columns": np.where(moved, spread(uniform[:, 3], self.translate), 0.0),
            "translate_rows": np.where(moved, spread(uniform[:, 4], self.translate), 0.0),
            "shear": np.where(moved, spread(uniform[:, 5], self.shear), 0.0),
        }

    def is_noop(self) -> bool:
        """All limits 0, or never."""
        return self.probability == 0 or not any((self.degrees, self.scale, self.translate, self.shear))

    def matrix(self, params: Params, size: tuple[int, int]) -> Floats:
        """Read from the sheared, shrunk and turned place, on the opposite side of the shift."""
        result = turn(params["degrees"]) / params["scale"][:, None, None]  # (B, 2, 3)
        result[:, :, 1] += result[:, :, 0] * np.tan(np.deg2rad(params["shear"]))[:, None]
        result[:, 0, 2] = -params["translate_columns"] * size[1]
        result[:, 1, 2] = -params["translate_rows"] * size[0]
        return result
