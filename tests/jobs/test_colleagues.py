"""A colleague on the group's home who wants to run something as somebody else, or to hide what is there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from local_host import until
from two_users import (
    ANA,
    BEN,
    agent,
    as_user,
    group,
    job,
    made_code,
    needs_root,
    settle,
    submit,
    truth,
    uses_code,
)

from jobs import host as this_host
from jobs.agent import Agent
from jobs.errors import OrchError
from jobs.inspection import show
from jobs.queue import Queue

__all__ = ["group"]
pytestmark = needs_root


@pytest.fixture
def evil(open_ground: Path) -> dict[str, Any]:
    """A job that tells as whom it ran."""
    (open_ground / "ran").touch()
    (open_ground / "ran").chmod(0o666)
    return job("evil", f"id -u >> {open_ground}/ran")


def _batch(user: int, evil: dict[str, Any]) -> bytes:
    head = {"contract": 1, "boot_id": this_host.boot_id(), "user": user, "jobs": 1}
    entry = {**evil, "attempt": 1, "resume": None, "retry": None}
    return "".join(json.dumps(line) + "\n" for line in (head, entry)).encode()


def _queue(group: Path) -> Path:
    return group / "queue" / this_host.name()


def _put(group: Path, data: bytes) -> None:
    """Ana puts a file of hers into the queue."""
    _queue(group).joinpath(f"{time.time_ns():020d}-0.jsonl").write_bytes(data)


def _link(group: Path, target: Path) -> None:
    _queue(group).joinpath(f"{time.time_ns():020d}-1.jsonl").symlink_to(target)


def _edit_a_log_of_his(group: Path, evil: dict[str, Any]) -> None:
    """Ben's file, into which his group may write, becomes a batch."""
    (log,) = group.glob("runs/s/*/attempt-01/log.txt")
    log.write_bytes(_batch(BEN, evil))
    log.rename(_queue(group) / f"{time.time_ns():020d}-2.jsonl")


def test_nobody_queues_a_job_in_a_colleagues_name(group: Path, open_ground: Path, evil: dict[str, Any]) -> None:
    """Injected: 4 ways to put a batch with ben's number into the queue. Run as ben: none; ben's own job runs."""
    as_user(BEN, lambda: submit(group, job("first", "true")))
    settle()
    hers = open_ground / "hers"
    hers.write_bytes(_batch(BEN, evil))
    as_user(ANA, lambda: _put(group, _batch(BEN, evil)))
    as_user(ANA, lambda: _put(group, _batch(BEN, evil).replace(b"\n", b" \n", 1)))
    as_user(ANA, lambda: _link(group, hers))
    as_user(ANA, lambda: _edit_a_log_of_his(group, evil))
    as_user(BEN, lambda: truth(group))
    assert as_user(BEN, lambda: submit(group, job("mine", "true"))) == ["queued"]
    settle()
    assert (open_ground / "ran").read_text() == ""
    assert as_user(BEN, lambda: truth(group)).get("mine") == "done"
    assert len(list(_queue(group).glob("*.damaged"))) == 3, "the link is nobody's batch"
    (log,) = open_ground.glob(f"orch-{BEN}/*/keeper.log")
    assert f"but its file is {ANA}'s: its jobs are not run" in log.read_text()
    assert "may have been written to by others" in log.read_text()


def test_a_batch_is_its_owners_alone_to_write(group: Path, open_ground: Path, evil: dict[str, Any]) -> None:
    """Injected: ana writes into ben's waiting batch, and swaps it for one of hers. Run as ben: none of hers."""
    stay = job("stay", f"while ! test -e {open_ground}/go; do sleep 0.05; done")
    as_user(BEN, lambda: submit(group, stay, job("next", "true"), parallel=1))

    def write() -> str:
        for batch in _queue(group).glob("*.jsonl"):
            with contextlib.suppress(PermissionError):
                batch.write_bytes(_batch(BEN, evil))
                return "written"
            batch.unlink()
            batch.write_bytes(_batch(BEN, evil))
        return "refused"

    assert as_user(ANA, write) == "refused"
    (open_ground / "go").touch()
    as_user(BEN, lambda: truth(group))
    settle()
    as_user(BEN, lambda: truth(group))
    settle()
    assert (open_ground / "ran").read_text() == ""


def test_a_colleagues_code_runs_as_it_was_verified_not_as_it_is_now(group: Path, open_ground: Path) -> None:
    """Injected: ana alters her snapshot after ben's first job, while his second one waits. Run: the old code, twice."""
    book = open_ground / "book"
    book.touch()
    book.chmod(0o666)
    name = as_user(
        ANA, lambda: made_code(group, f"echo good >> {book}; while ! test -e {open_ground}/go; do sleep 0.05; done")
    )
    as_user(BEN, lambda: submit(group, uses_code(group, "a", name), parallel=1))
    until(lambda: book.read_text() == "good\n")
    as_user(BEN, lambda: submit(group, uses_code(group, "b", name)))
    as_user(ANA, lambda: (group / "code" / name / "code.sh").write_text(f"echo evil >> {book}"))
    (open_ground / "go").touch()
    settle()
    assert book.read_text() == "good\ngood\n"
    assert set(as_user(BEN, lambda: truth(group)).values()) == {"done"}


def test_altered_code_is_not_run_and_is_put_aside(group: Path, open_ground: Path) -> None:
    """Injected: ana edits ben's snapshot before its first job. Run: nothing; the same content sent again runs."""
    name = as_user(BEN, lambda: made_code(group, "echo good"))
    as_user(ANA, lambda: (group / "code" / name / "code.sh").write_text(f"id -u > {open_ground}/ran"))
    as_user(BEN, lambda: submit(group, uses_code(group, "a", name)))
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "failed"}
    shown = as_user(BEN, lambda: show(agent(group), "s", uses_code(group, "a", name)["id"]))["attempts"][0]["exit"][
        "failure"
    ]
    assert shown["kind"] == "not_verified"
    assert f"the code {name} is not what its hash says: code.sh was changed; it is not run" in shown["evidence"]
    assert not (open_ground / "ran").exists()
    assert len(list((group / "code").glob(f".altered-{name}-*"))) == 1
    assert as_user(BEN, lambda: made_code(group, "echo good")) == name
    as_user(BEN, lambda: submit(group, uses_code(group, "a", name)))
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "done"}


def test_a_file_beside_the_code_is_not_imported(group: Path, open_ground: Path) -> None:
    """Injected: ana puts a module of hers beside ben's verified code."""
    name = as_user(BEN, lambda: made_code(group, "ls"))
    as_user(ANA, lambda: (group / "code" / name / "json.py").write_text("x"))
    as_user(BEN, lambda: submit(group, uses_code(group, "a", name)))
    settle()
    (log,) = group.glob("runs/s/*/attempt-01/log.txt")
    assert log.read_text() == "code.sh\n"


def test_a_colleagues_environment_runs_only_if_one_trusts_them(group: Path) -> None:
    def make() -> None:
        home = agent(group).home
        (Path(home.path) / "envs/x86_64/0123456789abcdef/bin").mkdir(parents=True)
        python = Path(home.path) / "envs/x86_64/0123456789abcdef/bin/python"
        python.write_text("#!/bin/sh\ntrue\n")
        python.chmod(0o770)

    as_user(ANA, make)
    uses_it = {**job("a", "true"), "argv": [f"{group}/envs/x86_64/0123456789abcdef/bin/python"]}

    def refused() -> str:
        try:
            submit(group, uses_it)
        except OrchError as error:
            return f"{error.message} {error.hint}"
        return ""

    said = as_user(BEN, refused)
    assert f"was made by {ANA}, whom you have not said to trust" in said and f"`trust: [{ANA}]`" in said
    assert as_user(ANA, lambda: submit(group, uses_it)) == ["queued"]
    settle()

    def trusting() -> list[str]:
        Agent(io.BytesIO()).open(str(group), trust=[str(ANA)])
        return submit(group, {**uses_it, **job("b", "true", "t"), "argv": uses_it["argv"]})

    assert as_user(BEN, trusting) == ["queued"]
    settle()
    assert set(as_user(BEN, lambda: truth(group)).values()) == {"done"}


def test_an_untrusted_queue_hides_nothing(group: Path) -> None:
    """Injected: a closed file, a pipe, a folder, a path in place of a name, in the queue. Looks that fail: none."""
    as_user(BEN, lambda: submit(group, job("a", "true")))

    def put() -> None:
        _queue(group).joinpath("1.jsonl").write_bytes(b"x")
        _queue(group).joinpath("1.jsonl").chmod(0)
        os.mkfifo(_queue(group) / "2.jsonl")
        _queue(group).joinpath("3.jsonl").mkdir()
        _put(group, b'{"contract": 1}\n{"sweep": "../..", "id": "../x", "attempt": 1}\n')
        _put(group, b'{"contract": 1}\n{"sweep": "s", "id": "x", "attempt": "1"}\n')
        _put(group, b"[" * 5000 + b"\n" + b"[" * 5000)

    as_user(ANA, put)
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "done"}
    assert as_user(BEN, lambda: submit(group, job("b", "true"))) == ["queued"]
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "done", "b": "done"}
    assert as_user(BEN, lambda: [entry.key for entry in Queue(agent(group).home, this_host.name()).waiting()]) == []


def _forge(group: Path, name: str) -> None:
    """Ana puts a record of an end beside ben's running attempt, or in its place."""
    (folder,) = group.glob("runs/s/*/attempt-01")
    record: dict[str, Any] = {
        "status": 0,
        "stopped": False,
        "began": True,
        "started": 1.0,
        "ended": 2.0,
        "failure": None,
    }
    if name == "job.json":
        record = {**json.loads((folder / name).read_text()), "claim": {"host": this_host.name(), "boot_id": "before"}}
    with contextlib.suppress(PermissionError):
        (folder / name).write_text(json.dumps({**record, "contract": 1, "proof": "it is over"}))
        if name != "ended.json":
            raise AssertionError("a colleague may write into it")
        return
    (folder / name).unlink()
    (folder / name).write_text(json.dumps({**record, "contract": 1}))


@pytest.mark.parametrize("name", ["exit.json", "ended.json", "job.json"])
def test_a_forged_end_begins_no_second_attempt(group: Path, open_ground: Path, name: str) -> None:
    """Injected: 3 records of ana's by which ben's running attempt would have ended. Begun beside it: none."""
    long = job("long", f"echo >> {open_ground}/began; while ! test -e {open_ground}/go; do sleep 0.05; done")
    as_user(BEN, lambda: submit(group, long))
    until((open_ground / "began").exists)
    as_user(ANA, lambda: _forge(group, name))
    said = as_user(BEN, lambda: truth(group)).get("long") if name != "job.json" else None
    assert said in ("running", None)
    assert as_user(BEN, lambda: submit(group, long)) != ["queued"]
    (open_ground / "go").touch()
    settle()
    assert (open_ground / "began").read_text() == "\n"


def test_no_record_or_log_is_written_through_a_colleagues_link(group: Path, open_ground: Path) -> None:
    """Injected: ana puts links to a file of ben's in the place of his running job's records. Written to it: nothing."""
    precious = open_ground / "bashrc"
    precious.write_text("ben's own\n")
    os.chown(precious, BEN, BEN)
    script = f"echo >> {open_ground}/began; while ! test -e {open_ground}/go; do sleep 0.05; done; echo said"
    as_user(BEN, lambda: submit(group, job("long", script)))
    until((open_ground / "began").exists)

    def link() -> None:
        (folder,) = group.glob("runs/s/*/attempt-01")
        for name in ("exit.json", "log.txt", "events.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).unlink()
            (folder / name).symlink_to(precious)

    as_user(ANA, link)
    (open_ground / "go").touch()
    settle()
    assert precious.read_text() == "ben's own\n"
    assert as_user(BEN, lambda: truth(group)) == {"long": "done"}, "the record waits in the spool"
