"""Accumulated gradients are those of the whole batch; only batch normalisation differs, and that is what is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainer.accumulate import backward, said
from trainer.unet import UNet, build


def batch(classes: int, size: int = 10) -> tuple[Tensor, Tensor]:
    """Slices whose masks differ much in size, the first one empty: a mean of ratios would go wrong."""
    draw = torch.Generator().manual_seed(3)
    images = torch.randn(size, 1, 16, 16, generator=draw)
    masks = torch.zeros(size, 16, 16, dtype=torch.uint8)
    for number in range(1, size):
        masks[number, :number, 2 : 2 + number] = 1 + number % classes
    return images, masks


def plain(classes: int) -> UNet:
    """The network without batch normalisation."""
    model = build(width=4, depth=2, classes=classes, seed=1)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return model


def gradient(model: UNet, classes: int, alpha: float, micro: int) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, maps, and all gradients as one vector."""
    images, masks = batch(classes)
    model.zero_grad(set_to_none=True)
    loss, maps = backward(model, model, images, masks, alpha, micro)
    return loss, maps, torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("micro", [1, 3, 5, 9])
def test_without_normalisation_the_gradient_is_that_of_the_whole_batch(micro: int, classes: int, alpha: float) -> None:
    model = plain(classes)
    loss, maps, whole = gradient(model, classes, alpha, 10)
    other, same, parts = gradient(model, classes, alpha, micro)
    assert torch.allclose(loss, other, rtol=1e-6)
    assert torch.equal(maps, same)
    assert (whole - parts).norm() <= 1e-5 * whole.norm()


def test_several_steps_give_the_same_weights() -> None:
    models = [plain(1), plain(1)]
    for model, micro in zip(models, (10, 4), strict=True):
        rule = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(5):
            gradient(model, 1, 0.5, micro)
            rule.step()
    first, second = (torch.cat([weight.detach().flatten() for weight in model.parameters()]) for model in models)
    assert (first - second).norm() <= 1e-5 * first.norm()


def test_with_given_statistics_normalisation_makes_no_difference() -> None:
    model = build(width=4, depth=2, classes=1, seed=1).eval()
    whole, parts = gradient(model, 1, 0.5, 10)[2], gradient(model, 1, 0.5, 5)[2]
    assert (whole - parts).norm() <= 1e-5 * whole.norm()


def test_batch_normalisation_differs_and_counts_each_slice_once() -> None:
    model = build(width=4, depth=2, classes=1, seed=1)
    layer = next(one for one in model.modules() if isinstance(one, nn.BatchNorm2d))
    whole = gradient(model, 1, 0.5, 10)[2]
    assert int(layer.num_batches_tracked) == 1  # type: ignore[arg-type]
    parts = gradient(model, 1, 0.5, 5)[2]
    assert int(layer.num_batches_tracked) == 3, "the pass without gradients counts nothing"  # type: ignore[arg-type]
    assert (whole - parts).norm() > 1e-3 * whole.norm()
    assert layer.track_running_stats


def test_the_words_tell_what_differs() -> None:
    assert said(32, 8).startswith("8 of 32 slices are computed at once (micro-batch)")
    assert "batch normalisation takes its mean and variance over 8" in said(32, 8)
