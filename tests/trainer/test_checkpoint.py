"""Checkpoints: whole at every moment, loadable without pickles, and refused when damaged."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from jobs.atomic import file_sha256, read_json, write_json
from jobs.errors import ContractError, DiskError
from jobs.folder import RunFolder
from trainer import checkpoint


@pytest.fixture
def folder(hostile_path: Path) -> RunFolder:
    return RunFolder(str(hostile_path))


def write(folder: RunFolder, value: float, size: int = 4) -> None:
    checkpoint.save(folder, "last", {"model": {"w": torch.full((size,), value)}, "epoch": 3}, {"epoch": 3})


def test_what_was_written_is_read_back_and_vouched_for(folder: RunFolder) -> None:
    write(folder, 1.5)
    content = checkpoint.load(folder, "last")
    assert content is not None and content["epoch"] == 3 and content["model"]["w"].tolist() == [1.5] * 4
    path = Path(folder.checkpoint("last"))
    about = read_json(path.with_suffix(".json")) or {}
    assert about["sha256"] == file_sha256(path) and about["epoch"] == 3
    assert torch.load(path, weights_only=True)["model"]["w"].shape == (4,)
    assert sorted(item.name for item in path.parent.iterdir()) == ["last.json", "last.pt"]


def test_none_is_there_at_first_and_after_it_was_dropped(folder: RunFolder) -> None:
    assert checkpoint.load(folder, "last") is None
    write(folder, 1)
    checkpoint.drop(folder, "last")
    assert checkpoint.load(folder, "last") is None and not list(Path(folder.path).iterdir())


def test_a_power_cut_between_the_sidecar_and_the_file_leaves_the_former_one_valid(folder: RunFolder) -> None:
    path = Path(folder.checkpoint("last"))
    write(folder, 1)
    former = path.read_bytes()
    write(folder, 2)
    path.write_bytes(former)  # the sidecar is new, the file is still the former one
    content = checkpoint.load(folder, "last")
    assert content is not None and content["model"]["w"][0] == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "sidecar"])
def test_a_damaged_file_is_refused_with_the_way_out(folder: RunFolder, damage: str) -> None:
    write(folder, 1)
    path = Path(folder.checkpoint("last"))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:100] if damage == "cut" else data)
    if damage == "sidecar":
        path.with_suffix(".json").unlink()
    with pytest.raises(ContractError, match="damaged") as caught:
        checkpoint.load(folder, "last")
    assert "orch retry" in caught.value.hint


@pytest.mark.parametrize("text", [b"no zip at all", b""])
def test_a_foreign_file_with_a_right_hash_is_refused(folder: RunFolder, text: bytes) -> None:
    path = Path(folder.checkpoint("best"))
    path.write_bytes(text)
    write_json(path.with_suffix(".json"), {"sha256": file_sha256(path)})
    with pytest.raises(ContractError, match="no checkpoint"):
        checkpoint.load(folder, "best")


def test_a_newer_format_is_refused(folder: RunFolder) -> None:
    path = Path(folder.checkpoint("best"))
    torch.save({"format": 99}, path)
    write_json(path.with_suffix(".json"), {"sha256": file_sha256(path)})
    with pytest.raises(ContractError, match="format 99"):
        checkpoint.load(folder, "best")


def test_a_full_disk_is_told_and_the_former_checkpoint_stays(folder: RunFolder) -> None:
    write(folder, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a file may not grow further: EFBIG
    try:
        with pytest.raises(DiskError, match="cannot write"):
            write(folder, 2, size=1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    content = checkpoint.load(folder, "last")
    assert content is not None and content["model"]["w"][0] == 1
    assert sorted(item.name for item in Path(folder.path).iterdir()) == ["last.json", "last.pt"]


def test_a_later_attempt_gets_its_own_copy(folder: RunFolder, tmp_path: Path) -> None:
    write(folder, 1)
    (tmp_path / "next").mkdir()
    target = RunFolder(str(tmp_path / "next"))
    for which in ("last", "best"):
        checkpoint.inherit(folder, target, which)
    write(target, 2)
    first, second = checkpoint.load(folder, "last"), checkpoint.load(target, "last")
    assert first is not None and second is not None and checkpoint.load(target, "best") is None
    assert first["model"]["w"][0] == 1 and second["model"]["w"][0] == 2
