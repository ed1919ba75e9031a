"""The network: the classic sizes, shapes, seeds and layout."""

from __future__ import annotations

import pytest
import torch

from trainer.unet import UNet, build, labels


def test_the_lab_s_network_has_64_to_1024_channels() -> None:
    with torch.device("meta"):
        model = UNet()
    assert sum(weight.numel() for weight in model.parameters()) == 31_036_481
    assert model.state_dict()["down.4.0.weight"].shape == (1024, 512, 3, 3)


@pytest.mark.parametrize(("depth", "classes", "outputs"), [(1, 1, 1), (3, 2, 3), (4, 1, 1)])
def test_logits_have_the_size_of_the_slice(depth: int, classes: int, outputs: int) -> None:
    model = build(4, depth, classes, seed=0)
    assert model(torch.zeros(2, 1, 32, 48)).shape == (2, outputs, 32, 48)


def test_the_seed_decides_the_first_weights_and_leaves_torch_s_own_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = build(4, 2, 1, 7), build(4, 2, 1, 7), build(4, 2, 1, 8)
    assert torch.equal(torch.rand(3), expected)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_convolutions_run_channels_last() -> None:
    model, seen = build(4, 2, 1, 0), []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels > 1:
            module.register_forward_hook(
                lambda _, __, out: seen.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    model(torch.zeros(2, 1, 16, 16))
    assert len(seen) == 10 and all(seen)


def test_labels_are_the_likeliest_class() -> None:
    assert labels(torch.tensor([[[[-1.0, 0.5]]]])).tolist() == [[[0, 1]]]
    assert labels(torch.tensor([[[[3.0]], [[1.0]], [[4.0]]]])).tolist() == [[[2]]]
