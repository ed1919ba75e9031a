"""An attempt on disk: published once, its end never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_host import fill, make_home

from jobs import host
from jobs.attempt import (
    EXIT_SIZE,
    cancel,
    evidence,
    publish,
    read_exit,
    read_job,
    record_exit,
    replay_spool,
)
from jobs.errors import DiskError
from jobs.folder import Home, HostFolder, RunFolder
from jobs.lease import take
from jobs.results import handed_in, read_cases, read_result
from jobs.state import judge

ROOT = Path(__file__).resolve().parents[2]
JOB = {"sweep": "s", "id": "0123456789abcdef", "result_required": False}
RECORD: dict[str, Any] = {"status": 0, "stopped": False, "failure": None, "files": {}}

PUBLISH = """
import json, sys
from jobs.attempt import publish
from jobs.folder import HostFolder, RunFolder
folder, local = RunFolder(sys.argv[1]), HostFolder(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([publish(RunFolder(path), {"id": "x"}, {}, local) for path in json.loads(sys.argv[3])]))
"""


@pytest.fixture
def published(folder: RunFolder, local: HostFolder) -> RunFolder:
    assert publish(folder, JOB, {"gpus": []}, local)
    return folder


def state(folder: RunFolder, local: HostFolder) -> str:
    return judge(evidence(folder, read_job(folder) or {}, local)).state


def test_of_eight_publishers_one_wins_each_time(hostile_path: Path, local: HostFolder) -> None:
    """Injected: 8 processes that publish the same 40 attempts at once. Begun twice: none; left over: nothing."""
    home = make_home(hostile_path, local)
    paths = json.dumps([home.attempt("s", f"{number:04d}", 1).path for number in range(40)])
    command = [sys.executable, "-c", PUBLISH, str(hostile_path), local.path, paths]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    starters = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(8)]  # type: ignore[call-overload]
    for starter in starters:
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        starter.stdin.write("go\n")
        starter.stdin.flush()
    won = [json.loads(starter.communicate()[0]) for starter in starters]
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 40
    for number in range(40):
        assert [entry.name for entry in Path(home.job("s", f"{number:04d}")).iterdir()] == ["attempt-01"]


def test_a_published_attempt_is_whole(published: RunFolder, local: HostFolder) -> None:
    names = {entry.name: entry.stat().st_size for entry in Path(published.path).iterdir()}
    assert set(names) == {"job.json", "exit.json", "log.txt"}
    assert names["exit.json"] == EXIT_SIZE
    job = read_job(published)
    assert job is not None
    assert (job["attempt"], job["claim"]["host"], job["claim"]["boot_id"]) == (1, host.name(), host.boot_id())
    assert job["claim"]["local"] == local.path
    assert read_exit(published) is None


def test_a_killed_publisher_leaves_nothing_that_counts(folder: RunFolder, local: HostFolder) -> None:
    """Injected: SIGKILL between filling and naming the folder. Lost: nothing; the next publisher wins."""
    parent = Path(folder.path).parent
    (parent / ".attempt-01.token").mkdir(parents=True)
    (parent / ".attempt-01.token" / "job.json").write_text('{"ha')
    assert Home(str(parent.parents[2])).attempts("s", folder.job_id) == []
    assert publish(folder, JOB, {}, local)


def test_a_full_disk_refuses_before_anything_has_begun(small_disk: Path, local: HostFolder) -> None:
    """Injected: a full disk, 3 tries. Begun: nothing; left over: nothing; after space is freed it works."""
    folder = make_home(small_disk, local).attempt("s", "0123", 1)
    Path(folder.path).parent.mkdir(parents=True)
    fill(small_disk / "filler")
    for _ in range(3):
        with pytest.raises(DiskError, match="the disk is full") as caught:
            publish(folder, JOB, {}, local)
        assert "nothing is lost" in caught.value.hint
    assert list(Path(folder.path).parent.iterdir()) == []
    (small_disk / "filler").unlink()
    assert publish(folder, JOB, {}, local)


def test_the_exit_record_is_written_on_a_full_disk(small_disk: Path, local: HostFolder) -> None:
    """Injected: a disk that is full when the job ends. Lost: nothing: the record's place was reserved."""
    folder = make_home(small_disk, local).attempt("s", "0123", 1)
    assert publish(folder, JOB, {}, local)
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space"):
        (small_disk / "another").write_bytes(b"x" * 4096)
    record_exit(folder, {**RECORD, "status": 3}, local)
    assert (read_exit(folder) or {})["status"] == 3
    assert not Path(local.spool).exists()


def test_evidence_of_any_length_fits_into_the_reserved_place(published: RunFolder, local: HostFolder) -> None:
    long = {"kind": "code_error", "evidence": "é" * 5000, "hint": "x"}
    record_exit(published, {**RECORD, "status": 1, "failure": long}, local)
    assert Path(published.exit).stat().st_size == EXIT_SIZE
    assert (read_exit(published) or {})["failure"]["kind"] == "code_error"


def test_a_record_that_cannot_be_written_is_spooled_counts_at_once_and_comes_home(
    published: RunFolder, local: HostFolder
) -> None:
    """Injected: a run folder that is away while the job ends. Lost: nothing."""
    away = published.path + ".away"
    Path(published.path).rename(away)
    record_exit(published, {**RECORD, "status": 4}, local)
    assert replay_spool(local, published.home) == 0
    Path(away).rename(published.path)
    assert read_exit(published) is None
    assert evidence(published, JOB, local).exit_status == 4
    assert replay_spool(local, published.home) == 1
    assert (read_exit(published) or {})["status"] == 4
    assert list(Path(local.spool).iterdir()) == []
    assert replay_spool(local, published.home) == 0


@pytest.mark.parametrize("evidence", ["short", "é" * 5000])
def test_a_spooled_record_reads_like_the_one_that_comes_home(
    published: RunFolder, local: HostFolder, evidence: str
) -> None:
    """Else the index, which has read the one, would differ from the run folder, which holds the other."""
    away = published.path + ".away"
    Path(published.path).rename(away)
    record_exit(published, {**RECORD, "status": 4, "failure": {"kind": "unknown", "evidence": evidence}}, local)
    Path(away).rename(published.path)
    spooled = read_exit(published, local)
    assert replay_spool(local, published.home) == 1
    assert spooled == read_exit(published) and spooled


def test_half_written_spool_files_stop_nobody(published: RunFolder, local: HostFolder) -> None:
    Path(local.spool).mkdir()
    for name, text in {"a.json": "{", "b.json": "[]", "c.json": '{"folder": 3}', "d.json": '{"x": 1}'}.items():
        (Path(local.spool) / name).write_text(text)
    assert replay_spool(local, published.home) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"status": "0", "stopped": false}',
        '{"status": 0}',
        '{"stopped": true}',
        "[" * 99999,
        '{"status": 0, "stopped": false, "failure": "x"}',
        "\x00" * EXIT_SIZE,
    ],
)
def test_an_exit_record_edited_by_hand_counts_as_none(published: RunFolder, local: HostFolder, text: str) -> None:
    Path(published.exit).write_text(text)
    assert read_exit(published) is None
    assert state(published, local) == "interrupted"


@pytest.mark.parametrize("name", ["exit", "result", "cases", "job", "events"])
def test_a_folder_in_the_place_of_a_file_is_no_record(published: RunFolder, local: HostFolder, name: str) -> None:
    path = Path(getattr(published, name))
    path.unlink(missing_ok=True)
    path.mkdir()
    assert (read_exit(published), read_cases(published), handed_in(published)) == (None, None, {})
    assert read_result(published)[1] is None
    assert state(published, local) in {"interrupted", "unreachable"}


@pytest.mark.parametrize("claim", ["x", [], None, {"host": 3}])
def test_a_claim_edited_by_hand_proves_nothing(published: RunFolder, local: HostFolder, claim: object) -> None:
    assert judge(evidence(published, {**JOB, "claim": claim}, local)).state == "unreachable"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"contract": 1, "values": {}}', "valid"),
        ("{", "invalid"),
        ('{"contract": 2, "values": {}}', "invalid"),
        ('{"contract": 1}', "invalid"),
        ("[]", "invalid"),
        ('{"contract": 1, "values": []}', "invalid"),
    ],
)
def test_results(published: RunFolder, text: str, word: str) -> None:
    assert read_result(published)[0] == "none"
    Path(published.result).write_text(text)
    assert read_result(published)[0] == word


def test_a_held_lock_is_running_and_a_free_one_the_proof_of_an_end(published: RunFolder, local: HostFolder) -> None:
    lock = take(local.attempt_lock(published))
    assert state(published, local) == "running"
    os.close(lock or 0)
    seen = evidence(published, read_job(published) or {}, local)
    assert (seen.lock, seen.proof) == ("free", "the attempt's lock is free")


def test_a_lock_file_that_was_cleaned_away_proves_nothing_while_it_is_held(
    published: RunFolder, local: HostFolder
) -> None:
    """Injected: the lock file deleted under a living job. Counted dead: no; when the job is killed: yes."""
    lock = take(local.attempt_lock(published)) or 0
    code = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(code, pass_fds=[lock], stdin=subprocess.PIPE) as child:
        os.close(lock)
        Path(local.attempt_lock(published)).unlink()
        assert state(published, local) == "running"
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert state(published, local) == "interrupted"


def test_the_lock_is_looked_for_where_the_attempt_began(
    published: RunFolder, local: HostFolder, tmp_path: Path
) -> None:
    """Somebody who sets another ORCH_LOCAL must not take a living job for dead."""
    lock = take(local.attempt_lock(published))
    assert state(published, HostFolder(str(tmp_path / "elsewhere"))) == "running"
    os.close(lock or 0)


def test_another_boot_is_proof_and_another_host_is_none(published: RunFolder, local: HostFolder) -> None:
    job = read_job(published) or {}
    rebooted = {**job, "claim": {**job["claim"], "boot_id": "another"}}
    assert evidence(published, rebooted, local).proof == "the host was booted since"
    lock = take(local.attempt_lock(published))
    assert "two machines are called" in evidence(published, rebooted, local).proof
    elsewhere = {**job, "claim": {**job["claim"], "host": "grace"}}
    assert judge(evidence(published, elsewhere, local)).state == "unreachable"
    os.close(lock or 0)


def test_a_cancelled_attempt_never_begins(folder: RunFolder, local: HostFolder) -> None:
    assert cancel(folder, JOB, local)
    assert not publish(folder, JOB, {}, local)
    assert not cancel(folder, JOB, local)
    assert judge(evidence(folder, read_job(folder) or {}, local)).reason == "stopped before it began"


def test_cases_are_rows(published: RunFolder) -> None:
    Path(published.cases).write_text('{"contract": 1, "cases": [{"case": "c-1"}, 3]}')
    assert read_cases(published) == [{"case": "c-1"}]
    for text in ("[]", "{}", '{"cases": 3}', "x"):
        Path(published.cases).write_text(text)
        assert read_cases(published) is None


def test_what_was_handed_in_is_known_by_its_hash(published: RunFolder) -> None:
    Path(published.result).write_text("1")
    before = handed_in(published)
    Path(published.result).write_text("2")
    assert before.keys() == {"result.json"}
    assert before != handed_in(published)
