"""What Slurm's programs are given, and how their answers are read: programs in PATH that talk, cut and flood."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import absences, slurm, slurm_client
from jobs.errors import OrchError
from jobs.folder import HostFolder

Program = Callable[[str, str], Path]
ME = os.getuid()
STEERING = [
    "SQUEUE_STATES",
    "SQUEUE_PARTITION",
    "SQUEUE_FORMAT",
    "SQUEUE_USERS",
    "SBATCH_PARTITION",
    "SBATCH_ARRAY_INX",
    "SLURM_CLUSTERS",
    "SLURM_JOB_ID",
    "SACCT_FORMAT",
    "SINFO_FORMAT",
    "SCANCEL_NAME",
    "SCONTROL_ALL",
    "SRUN_X",
    "SALLOC_X",
    "SLURM_TIME_FORMAT",
]


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    slurm_client.forget_answers()


def test_what_steers_slurm_does_not_reach_it_and_what_finds_it_does(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: fifteen variables that change what Slurm's programs do or print. None arrives."""
    for name in STEERING:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/here.conf")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    program("sinfo", "#!/bin/sh\nenv")
    for seen in (
        slurm_client.run(["sinfo"]),
        "\n".join(f"{k}={v}" for k, v in slurm_client.environment(None, True).items()),
    ):
        names = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
        assert not set(STEERING) & set(names) and names["SLURM_CONF"] == "/etc/here.conf"
    assert "LC_ALL=C" in slurm_client.run(["sinfo"]).splitlines()
    assert slurm_client.environment(None, True)["LC_ALL"] == "fr_FR.UTF-8", "it would reach the jobs"
    assert slurm_client.unsteered()[0] == "env" and "SLURM_CLUSTERS" in slurm_client.unsteered()


def test_the_shell_of_the_batch_counts_before_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Injected: a process with a wrong PATH and SLURM_CONF. What the queueing command had is taken, whole."""
    monkeypatch.setenv("SLURM_CONF", "/etc/wrong.conf")
    given = slurm_client.environment({"PATH": str(tmp_path)})
    assert given["PATH"] == str(tmp_path) and "SLURM_CONF" not in given
    (tmp_path / "squeue").write_text("#!/bin/sh\necho '1_0|RUNNING|s.a|None'")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "1_0" in slurm_client.listing(0.0, {"PATH": f"{tmp_path}:/usr/bin:/bin"}).tasks
    with pytest.raises(OrchError, match="those of the command that queued"):
        slurm_client.listing(0.0, {"PATH": "/elsewhere"})


def test_words_around_an_answer_are_passed_over_and_told() -> None:
    """Injected: a greeting, a header, colours, carriage returns, a row of another user, a quota. One row is ours."""
    text = (
        "Last login: Mon from 10.0.0.1\nJOBID|STATE|NAME|UID/REASON\n"
        f"\x1b[32m12_3|RUNNING|s.abc|{ME}/None\x1b[0m\r\n12_4|RUNNING|s.abc|{ME + 1}/None\n12% of quota | ok\n"
    )
    found = slurm_client.read(slurm_client._plain(text.encode()))
    assert set(found.tasks) == {"12_3"} and found.tasks["12_3"].user == ME
    assert found.noise.startswith("Last login")


@pytest.mark.parametrize(
    "row", ["12|RUNNING|s.abc|None", "1.234_0|RUNNING|s.abc|None", "123+|RUNNING|s.abc|None", "98_0|PENDING|s.abc|x"]
)
def test_an_id_that_was_cut_says_that_something_lives_and_not_what(row: str) -> None:
    found = slurm_client.read(row)
    assert found.task("1234_0", "s.abc") is None and found.is_unclear("1234", "s.abc")
    assert not found.is_unclear("1234", "s.other")


def test_twice_in_one_answer_what_lives_counts() -> None:
    for rows in (["1_0|COMPLETED|s.a|None", "1_0|RUNNING|s.a|None"], ["1_0|RUNNING|s.a|None", "1_0|FAILED|s.a|None"]):
        task = slurm_client.read("\n".join(rows)).task("1_0", "s.a")
        assert task and task.alive


@given(st.text())
def test_any_answer_can_be_read(text: str) -> None:
    found = slurm_client.read(text)
    assert all(task.id == key and key[0].isdigit() for key, task in found.tasks.items())


def test_a_program_that_floods_or_sleeps_is_ended_with_its_children(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: squeue that prints without end, one whose child holds its pipe. Neither takes more than its limit."""
    monkeypatch.setattr(slurm_client, "OUTPUT_MOST", 1 << 20)
    program("squeue", "#!/bin/sh\nyes 1_0")
    with pytest.raises(OrchError, match="prints more than 1 MB"):
        slurm_client.run(["squeue"])
    program("squeue", "#!/bin/sh\nsleep 60 & sleep 60")
    before = time.monotonic()
    with pytest.raises(OrchError, match="does not answer within 1 s"):
        slurm_client.run(["squeue"], 1.0)
    assert time.monotonic() - before < 10


def test_an_end_is_believed_on_a_witness_with_the_same_name(program: Program, tmp_path: Path) -> None:
    """Injected: under our id squeue, controller and books tell of another job that ended. Ours is not proved ended."""
    here = HostFolder(str(tmp_path / "place"))
    program("squeue", "#!/bin/sh\necho '7_0|COMPLETED|theirs.x|None'")
    program(
        "scontrol",
        "#!/bin/sh\necho 'JobId=7 ArrayJobId=7 ArrayTaskId=0 JobName=theirs.x UserId=b(4711) JobState=FAILED'",
    )
    program("sacct", f"#!/bin/sh\necho '7_0|FAILED|theirs.x|{ME}'; echo '7_0|FAILED|s.a|4711'")
    assert slurm.fate(slurm.Handle("7_0", "s.a"), here).lock == "unknown"
    slurm_client.forget_answers()
    program("sacct", f"#!/bin/sh\necho 'Welcome'; echo '7_0|CANCELLED by 0|s.a|{ME}'")
    assert slurm.fate(slurm.Handle("7_0", "s.a"), here)[:2] == ("free", "CANCELLED")


def test_the_controller_counts_before_a_cached_squeue(program: Program, tmp_path: Path) -> None:
    """Injected: squeue lists nothing (a cache from before), or an end that is not ours to believe; scontrol knows."""
    here = HostFolder(str(tmp_path / "place"))
    program("sacct", "#!/bin/sh\nexit 1")
    line = f"JobId=8 ArrayJobId=7 ArrayTaskId=0-3,9%2 JobName=s.a UserId=me({ME}) JobState=RUNNING Reason=None"
    program("scontrol", f"#!/bin/sh\necho '{line}'")
    for rows in ("", "echo '7_9|FAILED|s.a|None'"):
        slurm_client.forget_answers()
        program("squeue", f"#!/bin/sh\n{rows}")
        assert slurm.fate(slurm.Handle("7_9", "s.a"), here).lock == "held"


@pytest.mark.parametrize(
    ("rows", "controller", "cluster", "ends"),
    [
        ("", "exit 0", "", False),  # an empty answer proves nothing
        ("echo '99_0|RUNNING|other.x|None'", "exit 0", "", True),  # others are listed whole
        ("echo '99_0|RUNNING|other.x|None'; echo '7_0|RUNN'", "exit 0", "", False),  # a row was cut
        ("", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "", True),
        ("", "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1", "", False),
        ("echo '99_0|RUNNING|other.x|None'", "echo 'ClusterName = b'", "a", False),  # another cluster's silence
    ],
)
def test_absence_counts_after_several_good_looks_over_minutes(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: str,
    controller: str,
    cluster: str,
    ends: bool,
) -> None:
    """Injected: a job that nobody tells of, looked for ten times over 270 s."""
    now = [1000.0]
    monkeypatch.setattr(absences.time, "monotonic", lambda: now[0])
    here = HostFolder(str(tmp_path / "place"))
    for name, text in (("squeue", rows), ("scontrol", controller), ("sacct", "exit 1")):
        program(name, f"#!/bin/sh\n{text}")
    seen = []
    for _ in range(10):
        slurm_client.forget_answers()
        seen.append(slurm.fate(slurm.Handle("7_0", "s.a", cluster), here).lock)
        now[0] += 30.0
    assert seen == (["unknown"] * 4 + ["free"] * 6 if ends else ["unknown"] * 10)


def test_looks_close_together_are_one_and_a_sight_ends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(absences.time, "monotonic", lambda: now[0])
    here = HostFolder(str(tmp_path / "place"))
    for _ in range(50):
        assert not absences.missed(here, "7_0")
    now[0] += 130
    assert not absences.missed(here, "7_0"), "two looks"
    absences.found(here, "7_0")
    now[0] += 130
    assert not absences.missed(here, "7_0"), "it was there meanwhile"
    now[0] = 5.0
    assert not absences.missed(here, "7_0"), "another boot"
    Path(here.path, "absent-7.json").write_text('{"7_0": ["x", 1]}')
    assert not absences.missed(here, "7_0")


def test_scancel_is_told_whose_job_of_which_name_is_meant(program: Program, tmp_path: Path) -> None:
    program("scancel", f'#!/bin/sh\necho "$@" > {tmp_path}/said')
    assert slurm_client.cancel(["7_0"], "s.a", "TERM")
    assert (tmp_path / "said").read_text().split() == [f"--user={ME}", "--name=s.a", "--batch", "--signal=TERM", "7_0"]
    program(
        "squeue", "#!/bin/sh\necho '7_1|PENDING|s.a|None'; echo '7_2|PENDING|other.b|None'; echo '7_3|FAILED|s.a|None'"
    )
    assert slurm_client.cancel(["7_0", "7_1", "7_2", "7_3"], "s.a")
    assert (tmp_path / "said").read_text().split() == ["7_1"], "neither another array's, nor what is not listed"
