"""What a sweep will cost: sizes counted from the network's form against those of real checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator import price
from orchestrator.placement import Block, Offer, place
from trainer.unet import UNet

GIGABYTE = 10**9


@pytest.mark.parametrize(("width", "depth", "classes"), [(64, 4, 1), (16, 3, 1), (8, 2, 3)])
def test_checkpoint_sizes_are_those_of_real_ones(tmp_path: Path, width: int, depth: int, classes: int) -> None:
    net = UNet(width, depth, classes + 1 if classes > 1 else 1)
    adam = torch.optim.Adam(net.parameters())
    sum(parameter.sum() for parameter in net.parameters()).backward()
    adam.step()
    torch.save(net.state_dict(), tmp_path / "best.pt")
    torch.save({"model": net.state_dict(), "optimiser": adam.state_dict()}, tmp_path / "last.pt")
    told = price.checkpoint_bytes({"width": width, "depth": depth}, classes)
    for name, size in zip(("best.pt", "last.pt"), told, strict=True):
        real = (tmp_path / name).stat().st_size
        assert size <= real <= size * 1.02 + 60_000, f"{name}: {size} told, {real} on disk"


def test_hours_bytes_and_files_by_home() -> None:
    blocks = [Block("", (str(number),)) for number in range(6)]
    placed = place(blocks, [Offer("grace", "arm", 1, 3600.0), Offer("ada", "arm", 1, 3600.0)])
    homes, lanes = {"grace": "shared", "ada": "shared"}, {"grace": 1, "ada": 1}
    cost = price.price(placed, homes, lanes, gpus=1, checkpoints=(GIGABYTE, 3 * GIGABYTE))
    assert cost.gpu_seconds == {"grace": 3 * 3600.0, "ada": 3 * 3600.0} and cost.seconds["ada"] == 3 * 3600.0
    assert cost.new_bytes == {"shared": 6 * GIGABYTE}
    assert cost.peak_bytes == {"shared": 6 * GIGABYTE + 2 * 4 * GIGABYTE}
    free = {"shared": {"free_bytes": 20 * GIGABYTE, "free_files": None}}
    assert price.lacking(cost, free) == []
    told = price.describe(cost, free)
    assert told[0] == "grace: done in about 3 h 00, 3.0 GPU-hours"
    assert told[-1] == "disk: 6.0 GB of checkpoints, 54 files; 20.0 GB free"


def test_what_does_not_fit_is_named() -> None:
    cost = price.price(
        place([Block("", ("a",))], [Offer("grace", "arm", 1)]), {"grace": "h"}, {"grace": 1}, 0, (GIGABYTE, GIGABYTE)
    )
    (bytes_lack,) = price.lacking(cost, {"h": {"free_bytes": 2 * GIGABYTE, "free_files": 10**6}})
    assert bytes_lack == "the jobs need 3.0 GB on disk, 2.0 GB are free"
    (files_lack,) = price.lacking(cost, {"h": {"free_bytes": None, "free_files": 3}})
    assert files_lack == "the jobs write 9 files, 3 more may be made"
    assert price.lacking(cost, {}) == []  # nobody knows: the jobs themselves will tell
