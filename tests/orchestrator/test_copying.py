"""What a laptop decides when it copies a data set: room before the first byte, files that change on their way."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
from ground import Ground

from jobs.errors import DataError, DiskError
from jobs.folder import Home
from orchestrator import copying
from orchestrator.config import Settings
from orchestrator.copying import Offer, Sender
from orchestrator.dispatch import Contact
from orchestrator.origins import Here, Volume

BIG = 24_000_000  # bytes: more than may be under way


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (Offer(False, ((Volume("f", 10**9), 0),), 10**8, None), "1.0 GB; 100.0 MB are free"),
        (Offer(False, ((Volume("f", 10), 0),), None, 1), "1 file; 1 more may be made there"),
    ],
)
def test_no_room_is_told_before_the_first_byte(offered: Offer, words: str) -> None:
    with pytest.raises(DiskError, match=words) as error:
        copying.refuse_lacking("ada", offered)
    assert "free some space on ada" in error.value.hint


def test_what_had_come_needs_no_room() -> None:
    copying.refuse_lacking("ada", Offer(False, ((Volume("f", 10**9), 10**9),), 10, 10))


def test_a_file_that_changes_on_its_way_is_refused(ground: Ground) -> None:
    """Injected: the last bytes change after the first have arrived. Kept of it on the far side: nothing."""
    folder = ground.base / "ada"
    (folder / "local").mkdir(parents=True)
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", f"  ada: {{way: fake, address: {json.dumps(str(folder))}}}")
    path = ground.project / "P07.nii.gz"
    path.write_bytes(os.urandom(BIG))
    label = ground.project / "P07 mask.nii.gz"
    label.write_bytes(b"")
    about = {
        f"{role}_sha256": sha256(one.read_bytes()).hexdigest() for role, one in (("image", path), ("label", label))
    }
    origin = Here({"name": "liver", "hash": "d" * 16, "cases": [{"image": str(path), "label": str(label), **about}]})

    def change(_: int) -> None:
        with path.open("r+b") as handle:
            handle.seek(-10, os.SEEK_END)
            handle.write(bytes(10))

    with Contact(Settings.of({}), host="ada") as contact:
        offered = copying.offer(contact, "liver", origin, False)
        with pytest.raises(DataError, match=r"P07\.nii\.gz changed"):
            Sender(contact, "liver", origin, change).send(offered.due)
    assert list((folder / ".orch/data/liver/files").iterdir()) == []


def test_a_record_under_another_name_is_none(tmp_path: Path) -> None:
    """Injected: in a group's home, records whose host is a path, another host, or no text. Believed: none of them."""
    home = Home(str(tmp_path))
    copying.note(home, "liver", {"host": "gpu.lab", "whole": True})
    folder = Path(home.copies("liver"))
    for name, host in (("a", "../../../../.ssh/rc"), ("b", "gpu.lab"), ("c", ["c"]), ("d", None)):
        (folder / f"{name}.json").write_text(json.dumps({"host": host, "forget": True}))
    assert copying.remembered(home, "liver") == {"gpu.lab": {"host": "gpu.lab", "whole": True}}
    assert copying.half_forgotten(home) == []
