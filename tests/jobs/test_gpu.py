"""GPUs as a stand-in `nvidia-smi` tells of them: a real program in PATH, with the ways of the real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import gpu

Place = Callable[[str, str], Path]

TABLE = {
    "index": "0",
    "uuid": "GPU-11",
    "name": "NVIDIA A10",
    "driver_version": "545.23.08",
    "memory.total": "23028",
    "memory.used": "100",
    "utilization.gpu": "7",
    "compute_cap": "8.6",
}


def stand_in(*cards: dict[str, str], unknown: str = "") -> str:
    """Return an nvidia-smi that answers the CSV query for the cards; a query with the `unknown` column fails."""
    return f"""#!python
import sys
columns = next(word for word in sys.argv if word.startswith("--query-gpu=")).partition("=")[2].split(",")
if {unknown!r} in columns:
    print('Field "{unknown}" is not a valid field to query.')
    sys.exit(2)
for card in {cards!r}:
    print(", ".join(card[column] for column in columns))
"""


def test_a_card_is_read_whole(program: Place) -> None:
    program("nvidia-smi", stand_in(TABLE))
    assert gpu.cards() == [gpu.Card(0, "GPU-11", "NVIDIA A10", "545.23.08", 23028, 100, 7, "8.6")]


def test_several_cards_keep_the_order_of_the_driver(program: Place) -> None:
    program("nvidia-smi", stand_in({**TABLE, "index": "1", "uuid": "GPU-b"}, TABLE))
    assert [card.uuid for card in gpu.cards()] == ["GPU-b", "GPU-11"]


@pytest.mark.parametrize("nothing", ["[N/A]", "[Not Supported]", ""])
def test_not_available_is_none_and_never_zero(program: Place, nothing: str) -> None:
    columns = ("memory.total", "memory.used", "utilization.gpu", "compute_cap")
    program("nvidia-smi", stand_in({**TABLE, **dict.fromkeys(columns, nothing)}))
    (card,) = gpu.cards()
    assert (card.memory_total_mb, card.memory_used_mb, card.utilization, card.capability) == (None, None, None, None)


def test_a_comma_in_the_name_shifts_no_column(program: Place) -> None:
    program("nvidia-smi", stand_in({**TABLE, "name": "GH200, 96 GB"}))
    (card,) = gpu.cards()
    assert (card.name, card.memory_total_mb) == ("GH200, 96 GB", 23028)


def test_an_old_driver_that_lacks_a_column_is_asked_again_for_less(program: Place) -> None:
    program("nvidia-smi", stand_in(TABLE, unknown="compute_cap"))
    (card,) = gpu.cards()
    assert (card.uuid, card.memory_total_mb, card.capability) == ("GPU-11", 23028, None)


def test_without_the_program_there_is_no_card_and_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.look() == gpu.Look([], "no nvidia-smi in PATH")


def test_a_program_that_appears_later_is_found(program: Place) -> None:
    assert gpu.cards() == []
    program("nvidia-smi", stand_in(TABLE))
    assert len(gpu.cards()) == 1


def test_a_driver_in_trouble_is_quoted(program: Place) -> None:
    program("nvidia-smi", "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    assert gpu.look() == gpu.Look(
        [], "nvidia-smi ended with 18 and said: Failed to initialize NVML: Driver/library version mismatch"
    )


def test_a_program_for_another_machine_is_a_reason_not_an_error(program: Place) -> None:
    program("nvidia-smi", "\x7fELF this is no program")
    assert gpu.look().cards == []
    assert "cannot be started" in gpu.look().reason


def test_a_hanging_driver_costs_the_timeout_and_no_more(program: Place) -> None:
    program("nvidia-smi", "#!/bin/sh\nexec sleep 60\n")
    began = time.monotonic()
    seen = gpu.look(timeout=0.2)
    assert time.monotonic() - began < 5
    assert seen == gpu.Look([], "nvidia-smi did not answer within 0.2 s: the driver may hang")


def test_a_card_is_plain_json() -> None:
    assert gpu.Card(0, "GPU-1", "A10", "545").to_json()["memory_total_mb"] is None
