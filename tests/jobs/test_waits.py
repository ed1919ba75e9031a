"""When the keeper looks again: less and less often by itself, and no less because somebody asks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from jobs.folder import HostFolder
from jobs.waits import LOOK_FIRST, LOOK_MOST, InUse, Patience, Waits

JOB: dict[str, Any] = {"sweep": "s", "id": "a", "attempt": 2, "label": "rotate/3", "resources": {"gpus": 1}}


class Taken:
    """Slots whose card somebody uses, until a time when given."""

    def __init__(self, until: float | None = None) -> None:
        self.until, self.looks = until, 0

    def lease(self, resources: Any) -> None:
        self.looks += 1
        raise InUse("GPU 0 is used by bob", self.until)


def look(patience: Patience, slots: Any, job: dict[str, Any] = JOB) -> None:
    with pytest.raises(InUse):
        patience.lease(slots, job)


def test_looks_that_people_ask_for_put_off_no_other(local: HostFolder) -> None:
    patience, slots = Patience(local), Taken()
    for _ in range(50):
        look(patience, slots)
        patience.soon()
    look(patience, slots)
    assert slots.looks == 51
    assert patience.seconds() == pytest.approx(LOOK_FIRST, abs=1)
    look(patience, slots)
    assert slots.looks == 51, "not again before its time"


def test_a_time_that_is_known_is_waited_for(local: HostFolder) -> None:
    patience = Patience(local)
    look(patience, Taken(time.time() + 60))
    assert patience.seconds() == pytest.approx(60, abs=2)
    far = Patience(local)
    look(far, Taken(time.time() + 86400))
    assert far.seconds() == pytest.approx(LOOK_MOST, abs=2), "a clock may be set meanwhile"


def test_what_is_told_reaches_whoever_asks_and_ends(local: HostFolder) -> None:
    patience = Patience(local)
    look(patience, Taken())
    patience.tell()
    assert Waits(local).why(JOB) == "waits: GPU 0 is used by bob"
    later = {**JOB, "retry": {"kind": "foreign_pressure", "not_before": time.time() + 100}, "id": "b"}
    look(patience, Taken(), later)
    patience.tell()
    assert Waits(local).why(later).startswith("waits: it stepped aside, tries again at ")
    assert Waits(local).why({**JOB, "resources": {}}) == ""
    patience.forget()
    assert Waits(local).why(JOB) == ""
    assert not Waits(local).concern(JOB)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_damaged_words_count_as_none(local: HostFolder, text: str) -> None:
    Path(local.waits).write_text(text)
    assert Waits(local).why(JOB) == ""
    Patience(local).tell()
