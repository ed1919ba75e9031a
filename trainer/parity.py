"""One fixed batch through a small fixed network: what this machine computes, to be compared with other machines.

Batch and weights are made of integers (`keyed`) by operations that IEEE 754 rounds in one way only, so they are equal
bit by bit on every machine; their digests prove it. What differs afterwards is the arithmetic: kernels, order of sums,
precision. fp32 means fp32 here: TF32 is off, so that cards of all generations can be compared.
"""

from __future__ import annotations

import hashlib
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import device, keyed, losses
from .unet import UNet

FORMAT = 1  # of the document; two hosts compare only what has the same number
SEED = 3
BATCH, SIZE = 4, 32  # slices, rows and columns
WIDTH, DEPTH = 8, 2  # 8, 16 and 32 channels
STEPS = 5  # of Adam, after the first forward
RATE = 1e-3  # learning rate
ALPHA = 0.5  # share of Dice in the loss, as in the lab's sweeps
SHOWN = 16  # logits that are told
_PIXELS, _DISCS, _FIRST_WEIGHT = 0, 1, 2  # what keyed numbers are for


def measure() -> dict[str, Any]:
    """Return losses, some logits and gradient norms on this machine's device, and what that machine is.

    Returns
    -------
    dict
        `format`, `batch` and `weights` (digests), `device` and its `name` and `reason`, `torch`, `cuda`, `cudnn`,
        `python`, `machine`, `threads`; `fp32` and `bf16` (None where the device has no bf16, see `bf16_reason`):
        each `losses` (STEPS + 1 numbers, the first before any step), `outputs` and `last` (SHOWN logits before and
        after the steps) and `gradient` (norm at the first step). A number that is not finite is None.
    """
    place = device.choose_device()
    threads = device.prepare(place.value)
    if place.value == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    bf16 = device.choose_precision("auto", place.value)
    told = {"format": FORMAT, "batch": _digest(*batch()), "weights": _digest(*network().parameters()), **_software()}
    told |= {"device": place.value, "name": _name(place.value), "reason": place.reason, "threads": threads}
    told["fp32"] = train(place.value, torch.float32)
    told["bf16"] = train(place.value, torch.bfloat16) if bf16.value == "bf16" else None
    return {**told, "bf16_reason": bf16.reason}


def batch() -> tuple[Tensor, Tensor]:
    """Return images (BATCH, 1, SIZE, SIZE) fp32 in [-0.5, 1.5) and masks (BATCH, SIZE, SIZE) uint8: discs in noise."""
    slices = np.arange(BATCH)
    noise = keyed.uniform(SEED, 0, slices, _PIXELS, SIZE * SIZE).reshape(BATCH, SIZE, SIZE)  # (B, H, W)
    # (B, 3) row, column, radius
    discs = np.floor(keyed.uniform(SEED, 0, slices, _DISCS, 3) * (12, 12, 6)).astype(np.int64) + (10, 10, 4)  # noqa: RUF005
    rows, columns = np.arange(SIZE)[None, :, None], np.arange(SIZE)[None, None, :]
    row, column, radius = (discs[:, part, None, None] for part in range(3))
    inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2  # (B, H, W)
    images = torch.from_numpy((noise - 0.5 + inside).astype(np.float32))  # (B, H, W)
    return images[:, None], torch.from_numpy(inside.astype(np.uint8))


def network() -> UNet:
    """Return the small U-Net; its convolutions hold keyed numbers within +-sqrt(3 / fan in), as far as fp32 tells."""
    model = UNet(WIDTH, DEPTH, outputs=1)
    for number, weight in enumerate(model.parameters()):
        if weight.dim() > 1:  # normalisation and biases keep torch's own ones and zeros, or get zeros
            bound = math.sqrt(3.0 / weight[0].numel())  # variance 1 / fan in
            drawn = keyed.uniform(SEED, 0, np.arange(1), _FIRST_WEIGHT + number, weight.numel())[0]  # (n,)
            weight.data = torch.from_numpy(((2 * drawn - 1) * bound).astype(np.float32)).reshape(weight.shape)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


def train(place: str, precision: torch.dtype) -> dict[str, Any]:
    """Run the batch forward, backward and through STEPS steps of Adam on a device; see `measure`.

    In fp64 the network computes in fp64, the loss stays in fp32; bf16 is by autocast, as in training.
    """
    wide = torch.float64 if precision == torch.float64 else torch.float32
    images, masks = (part.to(place) for part in batch())
    model = network().to(place, wide)
    adam = torch.optim.Adam(model.parameters(), RATE)
    seen: list[float] = []
    outputs: list[Tensor] = []
    gradient = math.nan
    for step in range(STEPS + 1):
        with torch.autocast(place, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(images.to(wide))  # (B, 1, H, W)
        loss = losses.combine(losses.sums(logits, masks), ALPHA)
        seen.append(float(loss.item()))
        outputs.append(logits.detach())
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = gradient if step else _norm(model)
        adam.step()
    shown = {"outputs": _some(outputs[0]), "last": _some(outputs[-1])}
    return {"losses": [_finite(one) for one in seen], **shown, "gradient": _finite(gradient)}


def _norm(model: nn.Module) -> float:
    squares = [weight.grad.double().square().sum().item() for weight in model.parameters() if weight.grad is not None]
    return math.sqrt(math.fsum(squares))


def _some(logits: Tensor) -> list[float | None]:
    flat = logits.double().cpu().flatten()  # (B * H * W,)
    return [_finite(float(value)) for value in flat[:: flat.numel() // SHOWN][:SHOWN]]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _digest(*parts: Tensor) -> str:
    found = hashlib.sha256()
    for part in parts:
        values = part.detach().contiguous().numpy()
        found.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()[:16]


def _name(place: str) -> str:
    if place == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _software() -> dict[str, Any]:
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None  # type: ignore[no-untyped-call]
    versions = {"torch": str(torch.__version__), "cuda": torch.version.cuda, "cudnn": cudnn}
    return {**versions, "numpy": np.__version__, "python": platform.python_version(), "machine": platform.machine()}
