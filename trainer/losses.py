"""Dice loss and cross-entropy, weighted: alpha * Dice + (1 - alpha) * CE.

One class: sigmoid and binary cross-entropy. Several: softmax over background and classes, and the categorical one.
Both are made of sums over pixels (`Sums`), so that the loss of a whole data part is the loss of its summed sums and not
a mean of ratios, which would depend on the batch size.

Source of the soft Dice: F. Milletari, N. Navab, S. Ahmadi, "V-Net", 3DV 2016, with plain instead of squared sums in the
denominator; sums run over the whole batch, as an empty slice has no Dice of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1.0  # pixels added above and below, so that two empty maps agree and nothing divides by 0


@dataclass(frozen=True)
class Sums:
    """Sums over pixels from which the loss follows.

    Attributes
    ----------
    overlap:
        (C,) probability of each foreground class where it is true.
    total:
        (C,) probability of each class anywhere, plus its true pixels.
    entropy:
        () cross-entropy, summed over pixels and, for one class, both outcomes.
    pixels:
        Number of pixels.
    """

    overlap: Tensor
    total: Tensor
    entropy: Tensor
    pixels: int

    def __add__(self, other: Sums) -> Sums:
        """Join two data parts."""
        return Sums(
            self.overlap + other.overlap,
            self.total + other.total,
            self.entropy + other.entropy,
            self.pixels + other.pixels,
        )


def sums(logits: Tensor, masks: Tensor) -> Sums:
    """Return the sums of logits (B, outputs, H, W) against label maps (B, H, W); computed in fp32.

    Cross-entropy is a product with the one-hot map: torch's own 2D version has no deterministic form on CUDA.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        truth = (masks[:, None] > 0).float()  # (B, 1, H, W)
        chance = logits.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    else:
        classes = torch.arange(logits.shape[1], device=masks.device, dtype=masks.dtype)
        hot = (masks[:, None] == classes[:, None, None]).float()  # (B, C + 1, H, W)
        chance = logits.softmax(1)[:, 1:]  # (B, C, H, W)
        entropy = -(logits.log_softmax(1) * hot).sum()
        truth = hot[:, 1:]
    overlap = (chance * truth).sum((0, 2, 3))  # (C,)
    total = chance.sum((0, 2, 3)) + truth.sum((0, 2, 3))  # (C,)
    return Sums(overlap, total, entropy, masks.numel())


def combine(part: Sums, alpha: float) -> Tensor:
    """Return the loss (): `alpha` times the mean Dice loss of the classes, the rest cross-entropy per pixel."""
    dice = (2 * part.overlap + SMOOTH) / (part.total + SMOOTH)  # (C,)
    return alpha * (1 - dice.mean()) + (1 - alpha) * part.entropy / part.pixels
