"""Slots: all or nothing, never twice, free with the last process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.folder import HostFolder
from jobs.slots import Slots, set_limit

CARDS = """#!{python} -I
import sys
rows = [dict(zip({names!r}, row)) for row in {rows!r}]
columns = next(word for word in sys.argv if word.startswith("--query-gpu=")).partition("=")[2].split(",")
for row in rows:
    print(", ".join(row[column] for column in columns))
"""
NAMES = ("index", "uuid", "name", "driver_version", "memory.total", "memory.used", "utilization.gpu", "compute_cap")


def stand_in(*uuids: str) -> str:
    """Return an nvidia-smi that knows these cards."""
    rows = [(str(place), uuid, "A10", "545", "23028", "1", "0", "8.6") for place, uuid in enumerate(uuids)]
    return CARDS.format(python=sys.executable, names=NAMES, rows=rows)


def test_the_limit_of_jobs_holds(local: HostFolder) -> None:
    set_limit(local, 3)
    slots = Slots(local)
    leases = [slots.lease({"cpus": 1}) for _ in range(4)]
    assert [lease is not None for lease in leases] == [True, True, True, False]
    assert sorted(lease.device["slot"] for lease in leases if lease) == [0, 1, 2]
    leases[1].close()  # type: ignore[union-attr]
    again = slots.lease({"cpus": 1})
    assert again is not None
    assert again.device["slot"] == 1
    for lease in (leases[0], leases[2], again):
        lease.close()  # type: ignore[union-attr]


def test_a_job_that_asks_for_more_cores_than_there_are_gets_all(local: HostFolder) -> None:
    set_limit(local, 2)
    slots = Slots(local)
    lease = slots.lease({"cpus": 10_000})
    assert lease is not None
    assert lease.device["cpus"] == slots.cpus
    assert slots.lease({"cpus": 1}) is None
    lease.close()


def test_what_cannot_be_had_whole_takes_nothing(local: HostFolder) -> None:
    set_limit(local, 4)
    slots = Slots(local)
    for _ in range(5):
        assert slots.lease({"cpus": 1, "gpus": 99}) is None
    leases = [slots.lease({"cpus": 1}) for _ in range(4)]
    assert all(leases)
    for lease in leases:
        lease.close()  # type: ignore[union-attr]


def test_a_card_is_leased_once_and_by_its_uuid(local: HostFolder, program: Callable[[str, str], Path]) -> None:
    program("nvidia-smi", stand_in("GPU-a", "GPU-b"))
    set_limit(local, 8)
    slots = Slots(local)
    leases = [slots.lease({"gpus": 1}) for _ in range(3)]
    assert [lease.device["gpus"] if lease else None for lease in leases] == [["GPU-a"], ["GPU-b"], None]
    other_home = Slots(HostFolder(str(Path(local.path).with_name("another"))))
    assert other_home.lease({"gpus": 1}) is None
    for lease in leases[:2]:
        lease.close()  # type: ignore[union-attr]
    both = other_home.lease({"gpus": 2})
    assert both is not None
    assert both.device["gpus"] == ["GPU-a", "GPU-b"]
    both.close()


def test_the_reason_stands_beside_the_choice(local: HostFolder) -> None:
    lease = Slots(local).lease({})
    assert lease is not None
    assert lease.device["why"] == "no GPU asked for"
    lease.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": "x"}', '{"jobs": -1}'])
def test_a_damaged_limit_counts_as_none(local: HostFolder, text: str) -> None:
    Path(local.path, "limits.json").write_text(text)
    lease = Slots(local).lease({"cpus": 1})
    assert lease is not None
    lease.close()
