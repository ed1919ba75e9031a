"""Slurm's words as its programs print them, from programs in PATH that print them; the real one: test_slurm_lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import envs, slurm, slurm_client, slurmparts
from jobs.errors import OrchError
from jobs.folder import Home, HostFolder

Program = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    slurm_client.forget_answers()


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
    program("scontrol", "#!/bin/sh\nexit 1")
    assert slurm_client.listing(0.0).tasks["12_4"] == slurm_client.Task("12_4", "PENDING", "many.abc", "A|B")
    here = HostFolder(str(tmp_path / "place"))
    assert slurm.look(slurm.Handle("12_3"), here) == ("held", "") and len(count.read_text().split()) == 1
    program("squeue", f"#!/bin/sh\necho x >> {count}\necho 'squeue: error: no controller' >&2\nexit 1")
    slurm_client.forget_answers()
    assert slurm.look(slurm.Handle("12_9"), here) == ("unknown", "squeue: squeue: error: no controller")
    before = count.read_text()
    assert slurm.look(slurm.Handle("12_9"), here)[0] == "unknown" and count.read_text() == before, "not asked at once"
    with pytest.raises(OrchError, match="no controller"):
        slurm_client.listing(0.0)


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
    assert slurm_client.witnesses("1") == slurm_client.Told({})
    assert not slurm_client.cancel(["1_0"]) and slurm_client.cancel([])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"partition": "gpu"}, "x86_64"),
        ({"partition": "gh"}, "aarch64"),
        ({"partition": "gh", "arch": "x86_64"}, "x86_64"),
        ({"partition": "new"}, envs.architecture()),
        ({}, "x86_64" if envs.architecture() == "x86_64" else "aarch64"),
    ],
)
def test_a_partition_has_the_processor_of_its_nodes(
    program: Program, orch_home: Home, asked: dict[str, str], expected: str
) -> None:
    """Two nodes of each kind, and one that was never up: it has no Arch yet."""
    rows = ["Arch=x86_64 Gres=gpu:h100:4 Partitions=gpu,all", "Arch=aarch64 Gres=gpu:gh200:1(S:0) Partitions=gh,all"]
    rows = [f"NodeName=n{number} {row}" for number, row in enumerate([*rows, *rows, "Gres=(null) Partitions=new"])]
    program("scontrol", "#!/bin/sh\ncat <<EOF\n" + "\n".join(rows) + "\nEOF")
    program("sinfo", "#!/bin/sh\necho 'n1|64|gpu:h100:4'")
    found = slurmparts.part(orch_home, asked)
    assert (found["arch"], found["login_arch"]) == (expected, envs.architecture())
    kinds = {"gpu": ["h100"], "gh": ["gh200"], "new": []}.get(asked.get("partition", ""), ["gh200", "h100"])
    assert [card["name"] for card in found["cards"]] == kinds and found["environment"] is None
