"""The queue: one file for each submit, nothing forgotten, no number used twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from local_host import fill

from jobs import host
from jobs.errors import ContractError
from jobs.folder import Home
from jobs.queue import Queue


def job(number: int, attempt: int = 1) -> dict[str, Any]:
    return {"sweep": "s", "id": f"{number:016x}", "attempt": attempt, "label": f"é {number}\n"}


@pytest.fixture
def queue(hostile_path: Path) -> Queue:
    return Queue(Home(str(hostile_path)), "this host")


def begin(queue: Queue, number: int, attempt: int = 1) -> None:
    Path(queue.home.attempt("s", f"{number:016x}", attempt).path).mkdir(parents=True)


def reboot(queue: Queue, batch: str) -> None:
    """Let a batch have been written before the last boot."""
    path = Path(queue.folder, batch)
    header, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps({**json.loads(header), "boot_id": "the boot before"}) + "\n" + rest)


def test_batches_are_served_in_the_order_of_their_submits(queue: Queue) -> None:
    assert queue.batches() == []
    names = [queue.add([job(number)]) for number in range(20)]
    assert queue.batches() == names
    assert [entry.job for entry in queue.waiting()] == [job(number) for number in range(20)]


def test_an_entry_is_served_when_its_folder_exists(queue: Queue) -> None:
    batch = queue.add([job(0), job(1), job(2)])
    begin(queue, 1)
    assert [entry.key[1][-1] for entry in queue.due(batch)] == ["0", "2"]
    assert [entry.key[1][-1] for entry in queue.waiting()] == ["0", "2"]


def test_after_a_reboot_no_number_begins_twice(queue: Queue) -> None:
    """Injected: a boot between submit and start. An entry without a folder may have begun and lost it: next number."""
    batch = queue.add([job(0), job(1, attempt=4)])
    begin(queue, 0)
    reboot(queue, batch)
    assert [entry.key for entry in queue.due(batch)] == [("s", f"{1:016x}", 5)]
    header, entries = queue._read(batch)
    assert header["boot_id"] == host.boot_id()
    assert [entry.job["attempt"] for entry in entries] == [5]
    assert [entry.key for entry in queue.due(batch)] == [("s", f"{1:016x}", 5)]


def test_a_batch_all_of_which_was_served_is_left_as_it_is_after_a_reboot(queue: Queue) -> None:
    batch = queue.add([job(0)])
    begin(queue, 0)
    reboot(queue, batch)
    assert queue.due(batch) == []


def test_a_deleted_batch_has_no_entries_and_may_be_deleted_again(queue: Queue) -> None:
    batch = queue.add([job(0)])
    queue.delete(batch)
    queue.delete(batch)
    assert (queue.entries(batch), queue.due(batch), queue.batches()) == ([], [], [])


@pytest.mark.parametrize("data", [b"", b"x", b"[]\n{}", b'{"contract": 1}\n{"sweep": "s"}\n', b'{"contract": 1}\n{"sw'])
def test_a_damaged_batch_stops_nobody(queue: Queue, data: bytes) -> None:
    good = queue.add([job(0)])
    Path(queue.folder, "0.jsonl").write_bytes(data)
    with pytest.raises(ContractError, match="damaged"):
        queue.due("0.jsonl")
    assert [entry.batch for entry in queue.waiting()] == [good]
    assert Path(queue.folder, queue.set_aside("0.jsonl")).read_bytes() == data
    assert queue.batches() == [good]


def test_a_full_disk_adds_nothing(small_disk: Path) -> None:
    """Injected: a full disk at a submit. Lost: nothing: the submit fails, no half batch is there."""
    queue = Queue(Home(str(small_disk)), "h")
    queue.add([job(0)])
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space"):
        queue.add([job(number) for number in range(100)])
    assert len(queue.batches()) == 1
    assert len(list(Path(queue.folder).iterdir())) == 1
