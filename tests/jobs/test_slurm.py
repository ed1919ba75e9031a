"""Slurm's words as its programs print them, from programs in PATH that print them; the real one: test_slurm_lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import slurm
from jobs.errors import OrchError

Program = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Priority", "jobs of higher priority go first (Slurm: Priority)"),
        ("(Resources)", "it is next, and waits until its cores, cards and memory are free (Slurm: (Resources))"),
        ("QOSMaxJobsPerUserLimit", "a limit of your account or QOS is reached (Slurm: QOSMaxJobsPerUserLimit)"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "a node that it needs is down, drained or reserved"),
        ("SomethingNew", "Slurm: SomethingNew"),
    ],
)
def test_reasons_are_told_in_words_beside_slurms_own(reason: str, expected: str) -> None:
    assert slurm.words(reason).startswith(expected)


def test_one_squeue_serves_all_who_ask_and_its_silence_too(program: Program, tmp_path: Path) -> None:
    count = tmp_path / "asked"
    program(
        "squeue", f"#!/bin/sh\necho x >> {count}\necho '12_3|RUNNING|many.abc|None'\necho '12_4|PENDING|many.abc|A|B'"
    )
    program("sacct", "#!/bin/sh\nexit 1")
    assert slurm.queue(0.0)["12_4"] == slurm.Task("12_4", "PENDING", "many.abc", "A|B")
    assert slurm.look("12_3") == ("held", "") and len(count.read_text().split()) == 1
    program("squeue", f"#!/bin/sh\necho x >> {count}\necho 'squeue: error: no controller' >&2\nexit 1")
    assert slurm.look("12_9") == ("unknown", "squeue: squeue: error: no controller")
    before = count.read_text()
    assert slurm.look("12_9")[0] == "unknown" and count.read_text() == before, "not asked again at once"
    with pytest.raises(OrchError, match="no controller"):
        slurm.queue(0.0)


def test_cards_are_counted_once_for_each_node(program: Program) -> None:
    lines = ["n1|64|gpu:h100:4(S:0-1)", "n1|64|gpu:h100:4(S:0-1)", "n2|32+|gpu:2,shard:8", "n3|8|(null)"]
    program("sinfo", "#!/bin/sh\ncat <<EOF\n" + "\n".join(lines) + "\nEOF")
    assert slurm.capacity("gpu") == (104, 6)


@pytest.mark.parametrize(
    ("told", "minutes"),
    [("2-12:30:00", 3630), ("8:00:00", 480), ("30:00", 30), ("infinite", 525_600), ("n/a", None), ("", None)],
)
def test_what_a_partition_allows(program: Program, told: str, minutes: int | None) -> None:
    program("sinfo", f"#!/bin/sh\necho 'gpu|gpu|{told}'")
    assert slurm.longest("gpu") == minutes and slurm.longest() is None


def test_a_program_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OrchError, match="sinfo cannot be started"):
        slurm.capacity()
    assert slurm.longest() is None
    assert slurm.endings("1") == {} and not slurm.cancel(["1_0"]) and slurm.cancel([])
