"""Several people on one orch home on group storage: no double start, one truth, keepers that leave each other alone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import sh, until

# The other users cannot read every Python's library, so all of it is loaded before.
from jobs import (  # noqa: F401
    aftermath,
    begun,
    cards,
    collector,
    events,
    gc,
    gpu,
    handing,
    handover,
    integrity,
    keeper,
    limits,
    moving,
    releasing,
    stop,
    submitting,
    waits,
    watcher,
)
from jobs import host as this_host
from jobs.agent import Agent
from jobs.atomic import digest, file_sha256, write_json
from jobs.errors import OrchError
from jobs.queue import Queue
from jobs.spec import Cell, JobSpec, Resources

ANA = 20000 + 2 * (os.getpid() % 10000)  # nobody else's on this machine, nor those of another worker of pytest
BEN, GROUP = ANA + 1, 6000

pytestmark = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="two users need root")


@pytest.fixture
def group(open_ground: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home on storage of a group to which both users belong; nothing of theirs lives afterwards."""
    import resource  # noqa: F401  (wait4 imports it)

    bytes(4).decode("utf-32-be")  # as json takes an empty exit record
    monkeypatch.setenv("ORCH_LOCAL", str(open_ground))
    path = open_ground / "orch"
    path.mkdir()
    os.chown(path, ANA, GROUP)
    path.chmod(0o2770)
    yield path
    for pid in _processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    until(lambda: not _processes(), what="nobody of them lives")


def _processes() -> list[int]:
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in found if this_host.owner(pid) in (ANA, BEN)]


def begin(user: int, work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin a piece of work in a process of another user, a member of the group; the result is waited for."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = b""
        try:
            os.umask(0o022)
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            said = json.dumps({"said": work()}).encode()
        except BaseException:
            said = json.dumps({"failed": traceback.format_exc()}).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)

    def result() -> Any:
        with os.fdopen(reading, "rb") as handle:
            said = json.loads(handle.read())
        os.waitpid(child, 0)
        assert "failed" not in said, said["failed"]
        return said["said"]

    return result


def as_user(user: int, work: Callable[[], Any]) -> Any:
    return begin(user, work)()


def agent(home: Path) -> Agent:
    found = Agent(io.BytesIO())
    found.open(str(home))
    return found


def job(label: str, script: str, sweep: str = "s") -> dict[str, Any]:
    cell = Cell("command", {"label": label})
    return JobSpec(sweep, label, {}, cell, sh(script), "/", resources=Resources()).to_json()


def submit(home: Path, *jobs: dict[str, Any], **more: Any) -> list[str]:
    answers = submitting.submit(agent(home), None, list(jobs), **more)["jobs"]
    return [answer["action"] for answer in answers]


def truth(home: Path) -> dict[str, str]:
    """What a fresh look tells, by label."""
    chunks = list(agent(home).collect())[1:]
    return {report["spec"]["label"]: report["verdict"]["state"] for chunk in chunks for report in chunk}


def settle() -> None:
    """Wait until their jobs have ended, and keepers and watchers have left."""
    until(lambda: not _processes(), 60, "all of them have left")


def test_two_people_see_one_truth_while_jobs_run_and_after(group: Path, open_ground: Path) -> None:
    go = open_ground / "go"
    long = job("long", f"while ! test -e {go}; do sleep 0.05; done")
    assert as_user(ANA, lambda: submit(group, long, job("fails", "exit 3"))) == ["queued", "queued"]
    wanted = {"long": "running", "fails": "failed"}
    until(lambda: as_user(ANA, lambda: truth(group)) == wanted)
    assert as_user(BEN, lambda: truth(group)) == wanted
    assert as_user(BEN, lambda: submit(group, long)) == ["runs already"]
    (said,) = as_user(BEN, lambda: agent(group).stop([("s", long["id"])]))["jobs"]
    assert said["action"] == f"is {ANA}'s: only they can stop it"
    as_user(BEN, lambda: agent(group).note("s", None, "note", "seen"))
    go.touch()
    settle()
    wanted["long"] = "done"
    assert as_user(BEN, lambda: truth(group)) == as_user(ANA, lambda: truth(group)) == wanted


def test_another_persons_home_is_refused_in_words(group: Path) -> None:
    """Also as a place for a handover."""
    own = group.parent / "own"
    own.mkdir(0o700)
    os.chown(own, ANA, ANA)
    as_user(ANA, lambda: submit(own, job("a", "true")))
    settle()
    own.chmod(0o755)

    def refused(work: Callable[[], Any]) -> str:
        try:
            work()
        except OrchError as error:
            return error.message
        return ""

    assert "somebody else's" in as_user(BEN, lambda: refused(lambda: agent(own)))
    assert "home of one person" in as_user(BEN, lambda: refused(lambda: _handed(group, own)))


def test_what_is_written_is_the_groups_and_nobody_elses(group: Path) -> None:
    as_user(ANA, lambda: submit(group, job("a", 'echo x > "$ORCH_RUN/made"')))
    until(lambda: as_user(BEN, lambda: truth(group)) == {"a": "done"})
    settle()
    as_user(BEN, lambda: submit(group, job("b", "true")))
    settle()
    for path in [group, *group.rglob("*")]:
        about = path.lstat()
        assert about.st_gid == GROUP and not about.st_mode & 0o007, path
        assert about.st_mode & stat.S_IRGRP, path
        assert path.is_file() or about.st_mode & 0o2070 == 0o2070, path


def test_the_same_jobs_submitted_by_two_at_once_start_once(group: Path, open_ground: Path) -> None:
    """Injected: 6 times, two people submit the same 5 jobs at the same moment. Started twice, or lost: none."""
    book = open_ground / "book"
    book.touch()
    book.chmod(0o666)
    for number in range(6):
        jobs = [job(f"{number}-{one}", f"echo {number}-{one} >> {book}") for one in range(5)]
        results = [begin(user, lambda jobs=jobs: submit(group, *jobs, parallel=2)) for user in (ANA, BEN)]
        said = [result() for result in results]
        assert {"queued"} <= {one for each in said for one in each}, said
    settle()
    lines = book.read_text().split()
    assert sorted(lines) == sorted(f"{number}-{one}" for number in range(6) for one in range(5))
    assert set(as_user(BEN, lambda: truth(group)).values()) == {"done"}


def test_each_keeper_serves_its_own_user(group: Path, open_ground: Path) -> None:
    """A job runs as whoever queued it, also when the other's keeper is at work; one that leaves stops nobody."""
    book = open_ground / "book"
    book.touch()
    book.chmod(0o666)
    stay = job("stay", f"while ! test -e {open_ground}/go; do sleep 0.05; done")
    as_user(ANA, lambda: submit(group, stay, job("ana", f"id -u >> {book}"), parallel=1))
    as_user(BEN, lambda: submit(group, job("ben", f"id -u >> {book}"), parallel=1))
    until(lambda: book.read_text() == f"{BEN}\n", what="ben's job ran, ana's waits")
    time.sleep(0.2)
    assert as_user(BEN, lambda: truth(group)) == {"stay": "running", "ana": "queued", "ben": "done"}
    (open_ground / "go").touch()
    settle()
    assert book.read_text().split() == [str(BEN), str(ANA)]


def test_a_lock_that_cannot_be_read_is_no_proof(group: Path, open_ground: Path) -> None:
    """Injected: a cleaner takes the lock file of a running job, then its folder is closed. Started twice: none."""
    long = job("long", f"while ! test -e {open_ground}/go; do sleep 0.05; done")
    as_user(ANA, lambda: submit(group, long))
    until(lambda: as_user(BEN, lambda: truth(group)) == {"long": "running"})
    (lock,) = open_ground.glob(f"orch-{ANA}/*/locks/s-*")
    lock.unlink()
    assert as_user(BEN, lambda: truth(group)) == {"long": "unreachable"}
    (said,) = as_user(BEN, lambda: submit(group, long))
    assert said == f"it is {ANA}'s, and its lock is gone: only they can tell"
    (open_ground / f"orch-{ANA}").chmod(0o700)
    (said,) = as_user(BEN, lambda: submit(group, long))
    assert said == f"it is {ANA}'s, whose locks cannot be read"
    (open_ground / "go").touch()
    until(lambda: as_user(BEN, lambda: truth(group)) == {"long": "done"})
    settle()


def test_old_code_of_one_is_parked_by_another_and_brought_back_by_either(group: Path) -> None:
    def make() -> str:
        name = _snapshot(group, "echo here")
        os.utime(group / "code" / name, (1e9, 1e9))
        return name

    name = as_user(ANA, make)
    parked = as_user(BEN, lambda: gc.gc_park(agent(group), 0, "ben"))["parked"]
    assert [item["what"] for item in parked] == [f"code/{name}"]
    assert as_user(ANA, lambda: gc.gc_restore(agent(group), parked[0]["name"]))["restored"]["by"] == "ben"
    assert as_user(BEN, lambda: submit(group, _of(group, "a", name))) == ["queued"]
    assert as_user(ANA, lambda: gc.gc_park(agent(group), 0, "ana"))["parked"] == [], "ben has just dated it"
    settle()
    assert as_user(ANA, lambda: truth(group)) == {"a": "done"}


def test_a_handover_disturbs_no_colleagues_keeper(group: Path, open_ground: Path) -> None:
    """Ana hands her own home over while ben's jobs run in the group's: both go on, and ben sees what she did."""
    own, go = open_ground / "own", open_ground / "go"
    own.mkdir()
    os.chown(own, ANA, ANA)
    own.chmod(0o700)
    as_user(BEN, lambda: submit(group, job("bens", f"while ! test -e {go}; do sleep 0.05; done", "t"), parallel=1))
    as_user(BEN, lambda: submit(group, job("next", "true", "t")))
    as_user(
        ANA, lambda: submit(own, job("anas", 'echo \'{"contract":1,"values":{"dice":1}}\' > "$ORCH_RUN/result.json"'))
    )
    until(lambda: as_user(ANA, lambda: truth(own)) == {"anas": "done"})
    before = as_user(BEN, lambda: truth(group))
    assert before == {"bens": "running", "next": "queued"}

    done = as_user(ANA, lambda: _handed(own, group))
    assert (done["new"], done["added"], done["sweeps"][0]["attempts"]) == (False, False, 1)
    assert as_user(BEN, lambda: truth(group)) == {**before, "anas": "done"}
    go.touch()
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"bens": "done", "next": "done", "anas": "done"}
    for path in group.rglob("*"):
        assert path.lstat().st_gid == GROUP and path.lstat().st_mode & 0o040, path


def _handed(own: Path, group: Path) -> dict[str, Any]:
    stream = handover.handover(agent(own), str(group), {}, [])
    while True:
        try:
            next(stream)
        except StopIteration as stopped:
            return dict(stopped.value)


# --- A colleague who wants to run something as somebody else ----------------------------------------------------------


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


def _snapshot(home: Path, text: str, main: str = "") -> str:
    """A code snapshot as a laptop sends it: `code.sh` prints a text."""
    found = agent(home).home
    source = Path(found.path, "code", ".made", "code.sh")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    hashes = {"code.sh": file_sha256(source)}
    name = digest({"files": hashes, "main": main})
    write_json(f"{found.code}/{name}.json", {"contract": 1, "hash": name, "files": hashes})
    if not Path(found.code, name).exists():
        source.parent.rename(Path(found.code, name))
    return name


def _of(home: Path, label: str, name: str) -> dict[str, Any]:
    return {**job(label, ". ./code.sh"), "cwd": f"{home}/code/{name}"}


def test_a_colleagues_code_runs_as_it_was_verified_not_as_it_is_now(group: Path, open_ground: Path) -> None:
    """Injected: ana alters her snapshot after ben's first job, while his second one waits. Run: the old code, twice."""
    book = open_ground / "book"
    book.touch()
    book.chmod(0o666)
    name = as_user(
        ANA, lambda: _snapshot(group, f"echo good >> {book}; while ! test -e {open_ground}/go; do sleep 0.05; done")
    )
    as_user(BEN, lambda: submit(group, _of(group, "a", name), parallel=1))
    until(lambda: book.read_text() == "good\n")
    as_user(BEN, lambda: submit(group, _of(group, "b", name)))
    as_user(ANA, lambda: (group / "code" / name / "code.sh").write_text(f"echo evil >> {book}"))
    (open_ground / "go").touch()
    settle()
    assert book.read_text() == "good\ngood\n"
    assert set(as_user(BEN, lambda: truth(group)).values()) == {"done"}


def test_altered_code_is_not_run_and_is_put_aside(group: Path, open_ground: Path) -> None:
    """Injected: ana edits ben's snapshot before its first job. Run: nothing; the same content sent again runs."""
    name = as_user(BEN, lambda: _snapshot(group, "echo good"))
    as_user(ANA, lambda: (group / "code" / name / "code.sh").write_text(f"id -u > {open_ground}/ran"))
    as_user(BEN, lambda: submit(group, _of(group, "a", name)))
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "failed"}
    shown = as_user(BEN, lambda: agent(group).show("s", _of(group, "a", name)["id"]))["attempts"][0]["exit"]["failure"]
    assert shown["kind"] == "not_verified"
    assert f"the code {name} is not what its hash says: code.sh was changed; it is not run" in shown["evidence"]
    assert not (open_ground / "ran").exists()
    assert len(list((group / "code").glob(f".altered-{name}-*"))) == 1
    assert as_user(BEN, lambda: _snapshot(group, "echo good")) == name
    as_user(BEN, lambda: submit(group, _of(group, "a", name)))
    settle()
    assert as_user(BEN, lambda: truth(group)) == {"a": "done"}


def test_a_file_beside_the_code_is_not_imported(group: Path, open_ground: Path) -> None:
    """Injected: ana puts a module of hers beside ben's verified code."""
    name = as_user(BEN, lambda: _snapshot(group, "ls"))
    as_user(ANA, lambda: (group / "code" / name / "json.py").write_text("x"))
    as_user(BEN, lambda: submit(group, _of(group, "a", name)))
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
