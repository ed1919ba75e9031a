"""The gradient of a whole batch's loss, computed a micro-batch at a time where memory is short.

The loss is no mean over samples: its Dice part is a ratio of sums over the whole batch. So the sums are taken first,
without gradients; the slope of the loss at these sums is then followed back through each micro-batch. The result is the
gradient of the whole batch up to the order of summation, at the price of a second forward pass.

Batch normalisation is the exception: it takes its mean and variance over what is computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .losses import Sums, combine, sums
from .unet import labels

Forward = Callable[[Tensor], Tensor]  # slices (B, 1, H, W) to logits (B, outputs, H, W)


def backward(
    model: nn.Module, forward: Forward, images: Tensor, masks: Tensor, alpha: float, micro: int
) -> tuple[Tensor, Tensor]:
    """Add the gradient of the batch's loss to the weights.

    Parameters
    ----------
    model, forward:
        The network, and how it is applied (autocast).
    images, masks:
        (B, 1, H, W) and (B, H, W).
    alpha:
        Weight of the Dice loss.
    micro:
        Slices computed at once.

    Returns
    -------
    tuple
        The loss (), and the predicted label maps (B, H, W) uint8.
    """
    if micro >= len(images):
        logits = forward(images)
        loss = combine(sums(logits, masks), alpha)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), labels(logits.detach())
    parts = list(zip(torch.split(images, micro), torch.split(masks, micro), strict=True))
    with torch.no_grad(), _statistics_kept(model):
        whole = reduce(add, (sums(forward(part), truth) for part, truth in parts))
    loss, slopes = _slopes(whole, alpha)
    predicted = []
    for part, truth in parts:
        logits = forward(part)
        found = sums(logits, truth)
        torch.autograd.backward([found.overlap, found.total, found.entropy], slopes)
        predicted.append(labels(logits.detach()))
    return loss, torch.cat(predicted)


def _slopes(whole: Sums, alpha: float) -> tuple[Tensor, list[Tensor]]:
    """Return the loss at some sums, and its slope along each of them."""
    places = [value.detach().requires_grad_() for value in (whole.overlap, whole.total, whole.entropy)]
    loss = combine(Sums(places[0], places[1], places[2], whole.pixels), alpha)
    return loss.detach(), list(torch.autograd.grad(loss, places))


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Normalise by each batch's own statistics, but do not count them: this pass is made twice."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def said(batch: int, micro: int) -> str:
    """Return in words how a batch is computed, and what that changes."""
    return (
        f"{micro} of {batch} slices are computed at once (micro-batch): the gradient is that of all {batch}, but batch "
        f"normalisation takes its mean and variance over {micro}, so the numbers differ from a run that computes all "
        "at once"
    )
