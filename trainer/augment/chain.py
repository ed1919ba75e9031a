"""Several augmentations, one after the other; the empty chain is identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.keyed import uniform

from .base import Augmentation, Floats, Geometric, Params, Pointwise, select
from .geometry import compose, warp


class Chain:
    """A strategy: augmentations in order.

    Neighbouring geometric ones are composed into one matrix per slice, so a slice is interpolated once and nothing that
    a first step pushes out of the frame and a second one brings back is lost.
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        self.steps = tuple(steps)

    def make_params(self, seed: int, epoch: int, samples: npt.NDArray[np.int64]) -> list[Params]:
        """Draw the parameters of all steps for samples (B,); each depends on nothing but its own key."""
        return [
            step.make_params(uniform(seed, epoch, samples, place, step.draws)) for place, step in enumerate(self.steps)
        ]

    def apply(self, images: Tensor, masks: Tensor, params: Sequence[Params]) -> tuple[Tensor, Tensor]:
        """Return augmented images (B, 1, H, W) float and label maps (B, H, W); the given ones stay as they are."""
        matrix: Floats | None = None
        for step, drawn in zip(self.steps, params, strict=True):
            if isinstance(step, Geometric):
                now = step.matrix(drawn, (images.shape[2], images.shape[3]))
                matrix = now if matrix is None else compose(matrix, now)
                continue
            if matrix is not None:
                images, masks = warp(images, masks, matrix)
                matrix = None
            if isinstance(step, Pointwise):
                images = _pointwise(step, images, drawn)
        if matrix is not None:
            images, masks = warp(images, masks, matrix)
        return images, masks

    def record(self, params: Sequence[Params], row: int) -> list[dict[str, Any]]:
        """Return what was drawn for one sample of the batch, as JSON values."""
        return [
            {step.name: {name: values[row].item() for name, values in drawn.items()}}
            for step, drawn in zip(self.steps, params, strict=True)
        ]


def _pointwise(step: Pointwise, images: Tensor, params: Params) -> Tensor:
    """Apply a step to the samples that change; the others keep every bit."""
    active = step.active(params)
    if active.all():
        return step.apply(images, params)
    if not active.any():
        return images
    rows = torch.from_numpy(np.flatnonzero(active)).to(images.device)
    return images.index_copy(0, rows, step.apply(images[rows], select(params, active)))
