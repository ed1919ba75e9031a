"""All slices on the device: a batch is one `index_select`, an epoch is a permutation of row numbers.

No loader and no workers: a lab's whole data set (40 volumes of 90 slices of 320 x 320) is 0.7 GiB in half precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import Slices


@dataclass(frozen=True)
class Resident:
    """Slices on one device.

    Attributes
    ----------
    images:
        (N, 1, H, W) float16.
    masks:
        (N, H, W) uint8.
    window:
        (N, 4) first row, row after the last, first and after-last column that the volume really has; the rest of a
        slice is padding.
    """

    images: Tensor
    masks: Tensor
    window: Tensor

    @classmethod
    def of(cls, slices: Slices, device: str) -> Resident:
        """Copy a data set to a device."""
        height, width = slices.masks.shape[1:]
        of_case = np.array(
            [
                [-case.offset[0], case.shape[0] - case.offset[0], -case.offset[1], case.shape[1] - case.offset[1]]
                for case in slices.cases
            ]
        )
        window = np.clip(of_case, 0, [height, height, width, width])[slices.case_of]
        images, masks = (torch.from_numpy(np.array(array)).to(device) for array in (slices.images, slices.masks))
        return cls(images, masks, torch.from_numpy(window).to(device))

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, 1, H, W) float32 and label maps (B, H, W) of some rows (B,)."""
        return self.images.index_select(0, rows).float(), self.masks.index_select(0, rows)

    def inside(self, rows: Tensor) -> Tensor:
        """Tell which pixels (B, H, W) of some rows (B,) the volume has: what is predicted in padding is no voxel."""
        top, bottom, left, right = self.window.index_select(0, rows)[:, :, None].unbind(1)  # (B, 1) each
        down = torch.arange(self.masks.shape[1], device=rows.device)  # (H,)
        along = torch.arange(self.masks.shape[2], device=rows.device)  # (W,)
        return ((down >= top) & (down < bottom))[:, :, None] & ((along >= left) & (along < right))[:, None, :]
