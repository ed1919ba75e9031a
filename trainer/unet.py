"""The classic 2D U-Net.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI
2015; with padded convolutions and batch normalisation (S. Ioffe, C. Szegedy, ICML 2015), as usual today.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .keyed import weights_seed


class UNet(nn.Module):
    """Two 3x3 convolutions per level, max-pool down, transposed convolution up, skip connections.

    Parameters
    ----------
    width:
        Channels of the first level; each level below has twice as many.
    depth:
        How often the slice is halved: 4 gives 64, 128, 256, 512, 1024 channels at width 64.
    outputs:
        Channels of the logits: 1 for one class, else classes + 1 with background first.
    """

    def __init__(self, width: int = 64, depth: int = 4, outputs: int = 1) -> None:
        super().__init__()
        channels = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _level(before, after) for before, after in zip([1, *channels], channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        above = channels[-2::-1]  # deepest first
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * now, now, 2, stride=2) for now in above)
        self.merge = nn.ModuleList(_level(2 * now, now) for now in above)
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, H, W) of slices (B, 1, H, W); H and W are multiples of 2**depth."""
        skips = []
        for level in self.down[:-1]:
            x = level(x)  # (B, width << k, H >> k, W >> k)
            skips.append(x)
            x = self.pool(x)
        x = self.down[-1](x)  # (B, width << depth, H >> depth, W >> depth)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        logits: Tensor = self.head(x)  # (B, outputs, H, W)
        return logits


def _level(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),  # the normalisation has its own bias
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def build(width: int, depth: int, classes: int, seed: int) -> UNet:
    """Make a network for `classes` foreground classes; its first weights are the same on every device.

    Convolution weights lie channels last: 1.5 times as fast on a CPU, and what tensor cores read.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights_seed(seed))
        model = UNet(width, depth, outputs=classes + 1 if classes > 1 else 1)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def labels(logits: Tensor) -> Tensor:
    """Return label maps (B, H, W) uint8 of logits (B, outputs, H, W): the likeliest class of each pixel."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.uint8)
    return logits.argmax(1).to(torch.uint8)
