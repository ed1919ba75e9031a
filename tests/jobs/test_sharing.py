"""Several people on one orch home on group storage: no double start, one truth, keepers that leave each other alone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_host import until
from two_users import (
    ANA,
    BEN,
    GROUP,
    agent,
    as_user,
    begin,
    group,
    job,
    made_code,
    needs_root,
    settle,
    submit,
    truth,
    uses_code,
)

from jobs import gc, handover
from jobs.errors import OrchError

__all__ = ["group"]
pytestmark = needs_root


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
        name = made_code(group, "echo here")
        os.utime(group / "code" / name, (1e9, 1e9))
        return name

    name = as_user(ANA, make)
    parked = as_user(BEN, lambda: gc.gc_park(agent(group), 0, "ben"))["parked"]
    assert [item["what"] for item in parked] == [f"code/{name}"]
    assert as_user(ANA, lambda: gc.gc_restore(agent(group), parked[0]["name"]))["restored"]["by"] == "ben"
    assert as_user(BEN, lambda: submit(group, uses_code(group, "a", name))) == ["queued"]
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
