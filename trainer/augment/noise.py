"""Add Gaussian noise to the slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .base import Floats, Params, Pointwise, Rows, chosen


@dataclass(frozen=True)
class Noise(Pointwise):
    """Independent Gaussian noise in every pixel.

    The field comes from the device's own generator (on CUDA again a counter-based one), started anew for each sample
    from its recorded seed: ten times faster than drawing every pixel's words here, and as independent of the batch.
    """

    std: float  # standard deviations of the volume
    probability: float  # share of the slices that get noise

    name: ClassVar[str] = "noise"
    draws: ClassVar[int] = 3
    noop_example: ClassVar[dict[str, float]] = {"std": 0.05}

    def make_params(self, uniform: Floats) -> Params:
        """Draw the strength (0 = left alone) and the seed of the field (53 bits)."""
        words = (uniform[:, 1:3] * 2.0**32).astype(np.int64)
        return {
            "std": np.where(chosen(uniform[:, 0], self.probability), self.std, 0.0),
            "seed": (words[:, 0] >> 11 << 32) | words[:, 1],
        }

    def active(self, params: Params) -> Rows:
        """Every strength but 0 changes something."""
        return np.asarray(params["std"] != 0)

    def is_noop(self) -> bool:
        """No strength, or never."""
        return self.std == 0 or self.probability == 0

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Add each sample's own field."""
        field = torch.empty_like(images)  # (B, 1, H, W)
        generator = torch.Generator(images.device)
        for row, seed in enumerate(params["seed"]):
            field[row].normal_(generator=generator.manual_seed(int(seed)))
        strength = torch.from_numpy(params["std"]).to(images)  # (B,)
        return field.mul_(strength[:, None, None, None]).add_(images)
