"""The loss against its formula, its limits, and its independence of how the data is batched."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from trainer.losses import combine, sums


def example(outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, outputs, 6, 5, generator=generator)
    return logits, torch.randint(0, max(outputs, 2), (4, 6, 5), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("outputs", [1, 3])
def test_cross_entropy_is_torch_s_own(outputs: int) -> None:
    logits, masks = example(outputs)
    expected = (
        F.binary_cross_entropy_with_logits(logits[:, 0], masks.float())
        if outputs == 1
        else F.cross_entropy(logits, masks.long())
    )
    assert torch.allclose(combine(sums(logits, masks), 0.0), expected)


def test_dice_by_hand() -> None:
    logits = torch.tensor([[[[20.0, 20.0], [-20.0, -20.0]]]])  # says 1 1 / 0 0
    masks = torch.tensor([[[1, 0], [1, 0]]], dtype=torch.uint8)
    assert combine(sums(logits, masks), 1.0).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


@pytest.mark.parametrize("outputs", [1, 3])
def test_alpha_weighs_both_parts(outputs: int) -> None:
    part = sums(*example(outputs))
    both = 0.3 * combine(part, 1.0) + 0.7 * combine(part, 0.0)
    assert torch.allclose(combine(part, 0.3), both)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_right_answer_costs_nothing_and_empty_masks_too(outputs: int) -> None:
    _, masks = example(outputs)
    for truth in (masks, torch.zeros_like(masks)):
        sure = (
            (truth[:, None].float() * 2 - 1) * 40
            if outputs == 1
            else F.one_hot(truth.long(), outputs).permute(0, 3, 1, 2) * 80.0
        )
        assert combine(sums(sure, truth), 0.5).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_loss_of_a_part_is_not_a_mean_over_batches(outputs: int) -> None:
    logits, masks = example(outputs)
    whole = combine(sums(logits, masks), 0.5)
    joined = combine(sums(logits[:1], masks[:1]) + sums(logits[1:], masks[1:]), 0.5)
    assert torch.allclose(whole, joined, atol=1e-6)


def test_gradients_are_finite_for_huge_logits() -> None:
    logits = torch.full((1, 3, 4, 4), 1e4).bfloat16().requires_grad_()
    combine(sums(logits, torch.ones(1, 4, 4, dtype=torch.uint8)), 0.5).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
