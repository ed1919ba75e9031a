"""Copies of data sets are taken in piece by piece: on full disks, after cuts, from senders that lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, fill

from jobs.errors import DiskError, UsageError

NAME, HASH = "liver", "d" * 16


@pytest.fixture
def full(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    """An agent whose home lies on a disk of 1 MiB."""
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    found = LocalHost(small_disk / "home", tmp_path / "local", tmp_path)
    yield found
    found.close()


def named(data: bytes) -> str:
    return sha256(data).hexdigest() + ".nii.gz"


def piece(host: LocalHost, data: bytes, offset: int, block: bytes) -> None:
    host.wire.answer(host.wire.post_bytes("take_piece", block, name=NAME, file=named(data), offset=offset))


def offered(host: LocalHost, *files: bytes, **more: Any) -> dict[str, int]:
    asked = [(named(data), len(data)) for data in files]
    return dict(host.wire.call("offer_copy", name=NAME, hash=HASH, files=asked, **more)["missing"])


def document(data: bytes) -> dict[str, Any]:
    case = {"case": "c-1", "group": "p-1", "image": named(data), "label": named(data)}
    sums = {"image_sha256": named(data)[:64], "label_sha256": named(data)[:64]}
    return {"contract": 1, "hash": HASH, "classes": ["duct"], "sizes": {}, "cases": [{**case, **sums}], "copy": {}}


def test_a_full_disk_keeps_what_came_and_goes_on(full: LocalHost, small_disk: Path) -> None:
    """Injected: the far disk is full after some pieces. Lost: nothing; the rest joins on once there is room."""
    data = os.urandom(500_000)
    assert offered(full, data) == {named(data): 0}
    piece(full, data, 0, data[:100_000])
    fill(small_disk / "filler")
    with pytest.raises(DiskError, match="disk is full"):
        piece(full, data, 100_000, data[100_000:])
    (small_disk / "filler").unlink()
    (begun,) = offered(full, data).values()
    assert 100_000 <= begun < len(data)
    piece(full, data, begun, data[begun:])
    assert full.wire.call("seal_file", name=NAME, file=named(data)) == {"whole": True}
    assert full.wire.call("keep_copy", name=NAME, document=document(data))["cases"] == 1
    assert offered(full, data, replace=True) == {}


def test_what_is_not_the_file_never_gets_its_name(host: LocalHost) -> None:
    data = os.urandom(5000)
    offered(host, data)
    piece(host, data, 0, os.urandom(5000))
    assert host.wire.call("seal_file", name=NAME, file=named(data)) == {"whole": False}
    assert offered(host, data) == {named(data): 0} and not any(Path(host.home.data_files(NAME)).iterdir())
    with pytest.raises(UsageError, match="1 of 1 files have not come"):
        host.wire.call("keep_copy", name=NAME, document=document(data))


def test_an_empty_file_is_a_file(host: LocalHost) -> None:
    assert offered(host, b"") == {named(b""): 0}
    assert host.wire.call("seal_file", name=NAME, file=named(b"")) == {"whole": True}
    assert offered(host, b"") == {}


@pytest.mark.parametrize("file", ["../../home.json", "x.nii.gz", "a" * 64 + ".nii/../x", "a" * 64 + ".nii\n"])
def test_a_name_leads_nowhere_else(host: LocalHost, file: str) -> None:
    with pytest.raises(UsageError, match="cannot name a volume"):
        host.wire.call("take_piece", name=NAME, file=file, offset=0, data="")
    with pytest.raises(UsageError, match="cannot name a data set"):
        host.wire.call("take_piece", name="../x", file="a" * 64 + ".nii", offset=0, data="")


def test_a_link_in_the_place_of_a_part_is_not_followed(host: LocalHost, tmp_path: Path) -> None:
    data = os.urandom(100)
    folder = Path(host.home.data_files(NAME))
    folder.mkdir(parents=True)
    (folder / f".{named(data)}.{os.uname().nodename}.part").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError):
        piece(host, data, 0, data)
    assert not (tmp_path / "victim").exists()


def test_a_piece_must_join_on(host: LocalHost) -> None:
    data = os.urandom(100)
    with pytest.raises(UsageError, match="does not join on"):
        piece(host, data, 50, data[50:])


def test_one_at_a_time_and_a_waiter_leaves_with_its_client(host: LocalHost) -> None:
    """Injected: the second client leaves while it waits. The first one is not disturbed."""
    data = os.urandom(100)
    offered(host, data)
    second = host.connect()
    stream = second.stream("offer_copy", name=NAME, hash=HASH, files=[(named(data), len(data))])
    assert next(stream) == 0, "it waits"
    second.close()
    piece(host, data, 0, data)
    assert host.wire.call("seal_file", name=NAME, file=named(data)) == {"whole": True}
    host.wire.call("keep_copy", name=NAME, document=document(data))
    third = host.connect()
    assert third.call("offer_copy", name=NAME, hash=HASH, files=[(named(data), len(data))])["missing"] == []
    third.close()
