"""What is held on one host: whom a hold concerns, how it ends, and what a damaged file does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from local_host import fill

from jobs.folder import HostFolder
from jobs.holds import HELD, Hold, Holds, alike_reason, has_room, mark_sick, release_gpus


def job(sweep: str = "s", code: str | None = "c", gpus: int = 0, ident: str = "1") -> dict[str, Any]:
    return {"sweep": sweep, "id": ident, "provenance": {"code": code}, "resources": {"gpus": gpus}}


def test_a_hold_for_people_concerns_the_same_code_only(local: HostFolder) -> None:
    assert not Holds(local)
    Holds(local).hold("s", Hold("code_error", "2 failed alike", code="c"))
    holds = Holds(local)
    assert holds.why(job()) == f"{HELD}2 failed alike (orch release s)"
    assert [holds.hold_of(one) for one in (job(code="d"), job(code=None), job("t"))] == [None] * 3
    assert holds.probed() == {}
    assert Holds(local).release(["s", "t"]) == ["s"]
    assert Holds(local).hold_of(job()) is None
    assert bool(Holds(local)), "everybody shall hear that it is over"
    Holds(local).forget({"t"})
    assert not Holds(local)


def test_a_hold_for_room_concerns_the_whole_sweep(local: HostFolder, tmp_path: Path) -> None:
    Holds(local).hold("s", Hold("disk_full", "full", str(tmp_path)))
    assert all(Holds(local).hold_of(job(code=code)) for code in ("c", "d", None))
    assert list(Holds(local).probed()) == ["s"]
    Holds(local).release(["s"])
    assert Holds(local).probed() == {}
    Holds(local).hold("s", Hold("disk_full", "full again", str(tmp_path)))
    assert "full again" in Holds(local).why(job())


def test_the_first_reason_stays_while_it_holds(local: HostFolder) -> None:
    for text in ("first", "second"):
        Holds(local).hold("s", Hold("code_error", text, code="c"))
    assert "first" in Holds(local).why(job())


def test_siblings_are_counted_once_each_until_they_are_released(local: HostFolder) -> None:
    counts = [Holds(local).count_alike(job(ident=ident), "code_error", "E") for ident in "1121"]
    assert counts == [1, 1, 2, 2]
    assert Holds(local).count_alike(job(ident="3"), "code_error", "F") == 1
    assert Holds(local).count_alike(job(ident="3", code="d"), "code_error", "E") == 1
    Holds(local).release(["s"])
    assert Holds(local).count_alike(job(ident="3"), "code_error", "E") == 1
    assert alike_reason(1, "code_error", "E") is None
    assert alike_reason(2, "code_error", "E") == "2 jobs of this sweep failed alike, with code error: E"


def test_only_so_many_kinds_of_failure_are_remembered(local: HostFolder) -> None:
    for number in range(200):
        Holds(local).count_alike(job(ident=str(number)), "code_error", str(number))
    assert Path(local.holds).stat().st_size < 10_000


def test_a_sick_host_keeps_gpu_jobs_of_all_homes_back_until_it_is_booted(local: HostFolder) -> None:
    mark_sick(local, "gpu_lost", "GPU is lost")
    other = HostFolder(str(Path(local.path).with_name("another")))
    for place in (local, other):
        holds = Holds(place)
        assert "GPU is lost (orch release --gpus)" in holds.why(job(gpus=1))
        assert holds.hold_of(job(gpus=0)) is None
    text = Path(local.sick).read_text()
    Path(local.sick).write_text(text.replace('"boot_id": "', '"boot_id": "another '))
    assert not Holds(local)
    assert release_gpus(local) is False
    mark_sick(local, "gpu_lost", "GPU is lost")
    assert release_gpus(other) is True
    assert not Holds(local)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"sweeps": []}', '{"sweeps": {"s": {"reason": 1}}}', '{"sweeps": {"s": 7}}']
)
def test_a_damaged_file_holds_nobody(local: HostFolder, text: str) -> None:
    for path in (local.holds, local.sick):
        Path(path).write_text(text)
    assert not Holds(local)
    assert Holds(local).hold_of(job(gpus=1)) is None


def test_room_is_what_a_disk_takes(small_disk: Path, tmp_path: Path) -> None:
    assert has_room(str(tmp_path))
    assert has_room(str(small_disk / "not" / "there" / "yet"))
    fill(small_disk / "ballast")
    assert not has_room(str(small_disk))
    (small_disk / "ballast").unlink()
    assert has_room(str(small_disk))
    assert list(small_disk.iterdir()) == []
