"""An orch home that is away, moved, replaced or copied: nothing is made in its place, nothing runs twice or is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, make_home, sh, until

from jobs.attempt import publish, read_exit, record_exit, replay_spool
from jobs.errors import ContractError, HomeMismatch, HomeMissing, NotFound, OrchError
from jobs.folder import Home, HostFolder
from jobs.home_identity import check, make_folder
from jobs.homes import open_home
from jobs.queue import Queue

Move = Callable[[], None]


class Disk:
    """A disk with one orch home at its root, that can be taken away and brought back."""

    def __init__(self, point: Path, contents: Path) -> None:
        self.point, self.contents = point, contents
        self.mounted = 0

    def mount(self) -> None:
        subprocess.run(["mount", "--bind", str(self.contents), str(self.point)], check=True)
        self.mounted += 1

    def away(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.point)], check=True)
        self.mounted -= 1


@pytest.fixture
def disk(host: LocalHost, tmp_path: Path) -> Iterator[Disk]:
    """The host's home, moved to a disk of its own that is mounted in its place."""
    if os.getuid() != 0:
        pytest.skip("needs root to mount: sudo .venv/bin/python -m pytest tests/jobs -k home_identity")
    contents, point = tmp_path / "contents", Path(host.home.path)
    point.rename(contents)
    point.mkdir()
    found = Disk(point, contents)
    try:
        found.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    yield found
    while found.mounted:
        found.away()


def counting(host: LocalHost, count: int, seconds: float = 1.0) -> list[dict[str, Any]]:
    script = 'echo j{} >> starts; sleep {:g}; echo \'{{"contract":1,"values":{{}}}}\' > "$ORCH_RUN/result.json"; exit 0'
    return [host.job(f"j{n}", sh(script.format(n, seconds))) for n in range(count)]


def starts(host: LocalHost) -> Counter[str]:
    path = host.work / "starts"
    return Counter(path.read_text().split() if path.exists() else ())


def below(path: str) -> list[str]:
    return sorted(str(found) for found in Path(path).rglob("*"))


def test_a_disk_that_is_away_while_its_queue_drains(host: LocalHost, disk: Disk) -> None:
    """Injected: the home's disk unmounted, twice, while one job runs and others wait; a command meanwhile.

    Made below the mount point: nothing. Begun while it was away: nothing. Begun twice: none. Lost: none.
    """
    jobs = counting(host, 4)
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    for _ in range(2):
        before = starts(host)
        disk.away()
        time.sleep(2.5)
        assert below(host.home.path) == []
        assert sum(starts(host).values()) - sum(before.values()) <= 1  # one that was just being begun
        with pytest.raises(HomeMissing, match="not there") as caught:
            host.wire.call("open", home=host.home.path)
        assert "mount it" in caught.value.hint
        assert below(host.home.path) == []
        disk.mount()
        host.connect().close()
        until(lambda before=before: len(starts(host)) > len(before), 30, "the queue goes on")
    assert host.finish(4) == ["done"] * 4
    host.settle()
    assert starts(host) == Counter(f"j{n}" for n in range(4))
    assert {(read_exit(host.folder(job)) or {}).get("status") for job in jobs} == {0}


def test_a_keeper_that_waits_for_its_disk_goes_on_without_a_command(host: LocalHost, disk: Disk) -> None:
    """Injected: the disk unmounted and mounted again; nobody calls `orch` afterwards. Lost: nothing."""
    jobs = counting(host, 3, 0.5)
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    host.wire.close()
    disk.away()
    until(lambda: "begins anew" in Path(host.local.keeper_log).read_text())
    disk.mount()
    until(lambda: len(starts(host)) == 3, 40)
    until(lambda: not host.keepers(), 40)
    assert starts(host) == Counter(["j0", "j1", "j2"])


def test_an_agent_whose_home_goes_away_refuses_every_verb(host: LocalHost, disk: Disk) -> None:
    """Injected: the disk unmounted under a connection. Each verb that needs the home says so, and makes nothing."""
    job = counting(host, 1)[0]
    disk.away()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("submit", {"record": None, "jobs": [job]}),
        ("note", {"sweep": "s", "job": None, "kind": "note", "text": "x"}),
        ("stop", {"jobs": [("s", job["id"])]}),
        ("show", {"sweep": "s", "job": job["id"]}),
        ("brief", {"sweep": "s", "slurm": []}),
        ("take_patch", {"name": "x.patch", "text": "x"}),
        ("gc_look", {"kinds": ["code"], "rule": "best", "older": 0.0}),
    ]
    for verb, arguments in calls:
        with pytest.raises(HomeMissing):
            host.wire.call(verb, **arguments)
    with pytest.raises(HomeMissing):
        host.collect()
    assert below(host.home.path) == []


def test_another_home_in_the_place_of_ours_is_left_alone(host: LocalHost, disk: Disk, tmp_path: Path) -> None:
    """Injected: another home, with jobs in its queue, mounted over ours while ours drains. It is not drained by us."""
    other = tmp_path / "other"
    home, identity = open_home(str(other))
    theirs = counting(host, 2)
    Queue(home, host.about["host"]).add([{**job, "sweep": "theirs", "attempt": 1, "resume": None} for job in theirs])
    jobs = counting(host, 3)
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    disk.contents = other
    disk.mount()
    time.sleep(2.5)
    assert not (other / "runs").exists()
    with pytest.raises(HomeMismatch, match="another orch home"):
        host.wire.call("open", home=host.home.path, expected=host.about["id"])
    with pytest.raises(HomeMismatch):
        host.submit(*jobs)
    disk.away()
    assert identity["id"] != host.about["id"]
    with host.connect():
        assert host.finish(3) == ["done"] * 3
    assert starts(host) == Counter(["j0", "j1", "j2"])


def test_a_home_that_is_renamed_while_its_queue_drains(host: LocalHost) -> None:
    """Injected: `mv` of the home while a job runs and others wait. Made at the old path: nothing; all run once."""
    jobs = counting(host, 4, 0.8)
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    old, new = Path(host.home.path), Path(host.home.path + "-moved")
    old.rename(new)
    time.sleep(2)
    assert not old.exists()
    host.home = Home(str(new))
    host.wire.close()
    host.wire, host.known = host.connect(), {}
    states = host.finish(4)
    assert not old.exists()
    assert states == ["done"] * 4
    assert starts(host) == Counter(f"j{n}" for n in range(4))
    assert all((read_exit(host.folder(job)) or {})["status"] == 0 for job in jobs)


def test_a_copy_runs_nothing_until_it_is_taken_for_a_home_of_its_own(host: LocalHost) -> None:
    """Injected: `cp -a` of a home whose queue waits; then `orch home adopt` on the copy. Run twice unasked: nothing."""
    jobs = counting(host, 3, 0.6)
    host.submit(*jobs, parallel=1)
    host.identity(jobs[0])
    copy = host.home.path + "-copy"
    subprocess.run(["cp", "-a", host.home.path, copy], check=True)
    before = below(copy)
    for _ in range(2):
        with pytest.raises(HomeMismatch, match="is a copy of") as caught:
            host.wire.call("open", home=copy)
        assert "orch home adopt" in caught.value.hint
    host.wire.call("open", home=host.home.path)
    assert host.finish(3) == ["done"] * 3
    assert below(copy) == before
    assert starts(host) == Counter(["j0", "j1", "j2"])
    told = host.wire.call("adopt_home", home=copy)
    assert told["action"] == "copy" and told["id"] != host.about["id"]
    host.wire.call("open", home=copy)
    until(lambda: starts(host) == Counter({"j0": 1, "j1": 2, "j2": 2}), 30, "what waited in the copy, now claimed")
    assert host.wire.call("open", home=host.home.path)["id"] == host.about["id"]


@pytest.mark.parametrize("memory", [True, False])
def test_a_home_whose_files_are_other_ones_must_be_claimed(host: LocalHost, memory: bool) -> None:
    """Injected: a home in which jobs wait copied, the first one deleted; with and without the host's memory."""
    waiting = [{**job, "attempt": 1, "resume": None} for job in counting(host, 1)]
    Queue(host.home, "elsewhere", host.about["id"]).add(waiting)
    copy = host.home.path + "-new"
    subprocess.run(["cp", "-a", host.home.path, copy], check=True)
    shutil.rmtree(host.home.path)
    if not memory:
        shutil.rmtree(host.local.path)
    with pytest.raises(HomeMismatch, match="these files are other ones" if memory else "copied or restored"):
        host.wire.call("open", home=copy)
    told = host.wire.call("adopt_home", home=copy)
    assert (told["action"], told["id"]) == ("moved", host.about["id"])
    assert host.wire.call("open", home=copy)["id"] == host.about["id"]


def test_a_home_that_is_renamed_or_reached_by_a_link_is_no_copy(host: LocalHost) -> None:
    link = host.home.path + "-link"
    Path(link).symlink_to(host.home.path)
    assert host.wire.call("open", home=link)["id"] == host.about["id"]
    Path(host.home.path).rename(host.home.path + "-moved")
    assert host.wire.call("open", home=host.home.path + "-moved")["id"] == host.about["id"]


def test_homes_of_before_which_hold_no_inode_are_opened(host: LocalHost, tmp_path: Path) -> None:
    home = make_home(tmp_path / "old", HostFolder("/0123456789abcdef"))
    assert host.wire.call("open", home=home.path)["id"] == "0123456789abcdef"


def test_a_home_that_this_host_knows_is_not_made_anew(host: LocalHost) -> None:
    """Injected: a home deleted; opened again, with and without leave to make one. Only a person begins a new one."""
    shutil.rmtree(host.home.path)
    for create in (True, False):
        with pytest.raises(HomeMissing):
            host.wire.call("open", home=host.home.path, create=create)
    assert not Path(host.home.path).exists()
    told = host.wire.call("new_home", home=host.home.path)
    assert told["id"] != host.about["id"]
    assert host.wire.call("open", home=host.home.path)["id"] == told["id"]
    with pytest.raises(OrchError, match="is an orch home already"):
        host.wire.call("new_home", home=host.home.path)


def test_a_home_that_nobody_knows_is_made_without_a_question(host: LocalHost) -> None:
    fresh = host.home.path + "-fresh"
    with pytest.raises(NotFound):
        host.wire.call("open", home=fresh, create=False)
    assert host.wire.call("open", home=fresh)["id"] != host.about["id"]


def test_nothing_is_ever_made_where_the_home_is_not(tmp_path: Path, local: HostFolder) -> None:
    """Injected: a home without its folder, without home.json, with another's, with a torn one. Made: nothing."""
    home = Home(str(tmp_path / "place"))
    folder = home.attempt("s", "0123456789abcdef", 1)
    makers: list[Callable[[], object]] = [
        lambda: make_folder(home, home.queue("h"), local.home_id),
        lambda: publish(folder, {"argv": ["x"]}, {}, local),
        lambda: Queue(home, "h", local.home_id).add([]),
        lambda: check(home, local.home_id),
    ]
    for text in (None, "", '{"contract": 1, "id": "another", "secret": "00"}', "{", "[]", '"home-id"'):
        if text is not None:
            Path(home.path).mkdir(exist_ok=True)
        if text:
            Path(home.identity).write_text(text)
        before = below(str(tmp_path / "place"))
        for make in makers:
            with pytest.raises((HomeMissing, HomeMismatch)):
                make()
        assert below(str(tmp_path / "place")) == before
    make_home(Path(home.path), local)
    assert publish(folder, {"argv": ["x"]}, {}, local)


def test_an_exit_record_waits_for_the_right_home(tmp_path: Path, local: HostFolder) -> None:
    """Injected: another home, with a run folder of the same name, in the place of ours at a job's end; then ours moved.

    Written into the other: nothing. Lost: nothing: it comes into ours, where that stands now.
    """
    ours, other = make_home(tmp_path / "home", local), make_home(tmp_path / "other", HostFolder("/another"))
    record = {"status": 7, "stopped": False, "failure": None, "files": {}}
    folder = ours.attempt("s", "0123456789abcdef", 1)
    assert publish(folder, {"argv": ["x"]}, {}, local)
    theirs = other.attempt("s", "0123456789abcdef", 1)
    assert publish(theirs, {"argv": ["x"]}, {}, HostFolder(str(tmp_path / "another")))
    Path(ours.path).rename(tmp_path / "moved")
    Path(other.path).rename(ours.path)
    record_exit(folder, record, local)
    assert replay_spool(local, ours) == 0
    assert read_exit(folder) is None
    moved = Home(str(tmp_path / "moved"))
    assert replay_spool(local, moved) == 1
    assert (read_exit(moved.attempt("s", "0123456789abcdef", 1)) or {})["status"] == 7


def test_errors_of_homes_keep_their_exit_codes() -> None:
    """3 where something known is not there, 1 where something else is."""
    assert (HomeMissing.exit_code, HomeMismatch.exit_code, issubclass(HomeMismatch, ContractError)) == (3, 1, True)
