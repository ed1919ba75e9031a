"""Stretch or squeeze the slice's intensities about their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .base import Floats, Params, Pointwise, Rows, chosen, spread

_GRAIN = 2.0**16  # steps per unit of intensity in the sum


@dataclass(frozen=True)
class Contrast(Pointwise):
    """Multiply the distance from the slice's mean by a factor drawn evenly from 1-limit to 1+limit."""

    limit: float  # 0 to 1
    probability: float  # share of the slices that change

    name: ClassVar[str] = "contrast"
    draws: ClassVar[int] = 2
    noop_example: ClassVar[dict[str, float]] = {"limit": 0.25}

    def make_params(self, uniform: Floats) -> Params:
        """Draw the factor; 1 = left alone."""
        return {"factor": np.where(chosen(uniform[:, 0], self.probability), 1 + spread(uniform[:, 1], self.limit), 1.0)}

    def active(self, params: Params) -> Rows:
        """Every factor but 1 changes something."""
        return np.asarray(params["factor"] != 1)

    def is_noop(self) -> bool:
        """No range, or never."""
        return self.limit == 0 or self.probability == 0

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Change the contrast of each sample."""
        factor = torch.from_numpy(params["factor"]).to(images)[:, None, None, None]  # (B, 1, 1, 1)
        mean = _mean(images)
        return (images - mean).mul_(factor).add_(mean)


def _mean(images: Tensor) -> Tensor:
    """Return each slice's mean (B, 1, 1, 1), summed in whole numbers.

    A float sum depends on its order, and torch's order depends on batch size and threads; a sum of integers does not.
    """
    total = (images * _GRAIN).round_().to(torch.int64).sum((1, 2, 3), keepdim=True)
    return (total.double() / (_GRAIN * images[0].numel())).to(images.dtype)
