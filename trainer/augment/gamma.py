"""Raise the slice's intensities to a power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .base import Floats, Params, Pointwise, Rows, chosen, spread


@dataclass(frozen=True)
class Gamma(Pointwise):
    """Gamma curve on intensities scaled to 0..1 by the slice's own range, then scaled back."""

    limit: float  # exponents from 1/(1+limit) to 1+limit
    probability: float  # share of the slices that change

    name: ClassVar[str] = "gamma"
    draws: ClassVar[int] = 2
    noop_example: ClassVar[dict[str, float]] = {"limit": 0.3}

    def make_params(self, uniform: Floats) -> Params:
        """Draw the exponent, even in its logarithm; 1 = left alone."""
        exponent = np.exp(spread(uniform[:, 1], np.log1p(self.limit)))
        return {"exponent": np.where(chosen(uniform[:, 0], self.probability), exponent, 1.0)}

    def active(self, params: Params) -> Rows:
        """Every exponent but 1 changes something."""
        return np.asarray(params["exponent"] != 1)

    def is_noop(self) -> bool:
        """No range, or never."""
        return self.limit == 0 or self.probability == 0

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Bend the intensities of each sample; a flat slice stays as it is."""
        exponent = torch.from_numpy(params["exponent"]).to(images)[:, None, None, None]  # (B, 1, 1, 1)
        low = images.amin((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
        size = images.amax((1, 2, 3), keepdim=True) - low
        unit = (images - low).div_(size.clamp_min(torch.finfo(images.dtype).tiny))
        return unit.pow_(exponent).mul_(size).add_(low)
