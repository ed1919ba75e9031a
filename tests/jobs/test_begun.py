"""Lists of begun attempts: a look need not open every folder, and misses nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, make_home, sh

from jobs import begun
from jobs import host as machine
from jobs.attempt import publish, record_exit
from jobs.collector import Collector
from jobs.errors import DiskError
from jobs.folder import Home, HostFolder
from jobs.lease import holding
from jobs.queue import Queue
from jobs.spec import Cell, JobSpec
from jobs.wire import Wire

NOBODY: frozenset[str] = frozenset()


@pytest.fixture
def orch_home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", HostFolder("/home-id"))


def own(orch_home: Home) -> Path:
    """The one list of this boot."""
    begun.note(orch_home.attempt("s", "a0", 1))
    (path,) = Path(orch_home.begun(machine.name())).iterdir()
    return path


def test_attempts_are_read_in_their_order(orch_home: Home) -> None:
    first = begun.ends(orch_home, NOBODY)
    for number in (1, 2):
        begun.note(orch_home.attempt("s", "a1", number))
    second = begun.ends(orch_home, NOBODY)
    assert first and second
    assert begun.between(orch_home, first, second) == [("s", "a1", 1), ("s", "a1", 2)]
    assert begun.between(orch_home, second, second) == []


def test_a_list_of_another_boot_is_deleted_and_means_a_look_at_everything(orch_home: Home) -> None:
    before = Path(orch_home.begun(machine.name()), "an-earlier-boot-12345678")
    before.parent.mkdir(parents=True)
    before.write_text("s a1 1\n")
    since = {f"{machine.name()}/an-earlier-boot-12345678": 7}
    now = begun.ends(orch_home, NOBODY)
    assert now
    (name,) = now
    assert name.startswith(f"{machine.name()}/{machine.boot_id()}-")
    assert begun.between(orch_home, since, now) is None
    assert not before.exists()


@pytest.mark.parametrize("damage", ["deleted", "shorter"])
def test_a_list_that_is_not_what_it_was_means_a_look_at_everything(orch_home: Home, damage: str) -> None:
    path = own(orch_home)
    since = begun.ends(orch_home, NOBODY)
    if damage == "deleted":
        path.unlink()
        begun.note(orch_home.attempt("s", "a1", 1))  # another list, of the same length
    else:
        os.truncate(path, 3)
    now = begun.ends(orch_home, NOBODY)
    assert since and now and begun.between(orch_home, since, now) is None


@pytest.mark.parametrize("line", [b"s a1\n", b"s a1 one\n", b"\xff a 1\n", b"s a1 1 s a2 1\n"])
def test_a_line_without_sense_means_a_look_at_everything(orch_home: Home, line: bytes) -> None:
    path = own(orch_home)
    since = begun.ends(orch_home, NOBODY)
    path.write_bytes(path.read_bytes() + line)
    now = begun.ends(orch_home, NOBODY)
    assert since and now and begun.between(orch_home, since, now) is None


def test_a_line_that_is_being_written_is_read_when_it_is_whole(orch_home: Home) -> None:
    path = own(orch_home)
    since = begun.ends(orch_home, NOBODY)
    before = path.read_text()
    path.write_text(before + "s a1 1\ns a")
    now = begun.ends(orch_home, NOBODY)
    assert since and now and begun.between(orch_home, since, now) == [("s", "a1", 1)]
    path.write_text(before + "s a1 1\ns a2 1\n")
    later = begun.ends(orch_home, NOBODY)
    assert later and begun.between(orch_home, now, later) == [("s", "a2", 1)]


def test_lists_of_hosts_that_are_asked_themselves_are_left_to_them(orch_home: Home) -> None:
    for name in ("ada", "grace"):
        Path(orch_home.begun(name)).mkdir(parents=True)
        Path(orch_home.begun(name), "boot").write_text("s a1 1\n")
    told = begun.ends(orch_home, frozenset({"ada"})) or {}
    assert {name.partition("/")[0] for name in told} == {"grace", machine.name()}


def test_no_attempt_appears_that_is_on_no_list(orch_home: Home, tmp_path: Path) -> None:
    """Injected: lists that cannot be written (a file has their folder's name). Begun without a line: none."""
    Path(orch_home.begun("")).mkdir(parents=True)
    Path(orch_home.begun(machine.name())).write_text("")
    folder = orch_home.attempt("s", "a1", 1)
    with pytest.raises(DiskError):
        publish(folder, {"id": "a1"}, {}, HostFolder(str(tmp_path / "home-id")))
    assert not Path(folder.path).exists()
    assert begun.ends(orch_home, NOBODY) is None


class Look:
    """What an index keeps between two looks, and what it is told."""

    def __init__(self) -> None:
        self.since: dict[str, int] | None = None
        self.rows: dict[tuple[str, str, int], dict[str, Any]] = {}

    def take(self, wire: Wire, sweeps: list[str] | None = None) -> list[tuple[str, int, str]]:
        """Look once; return label, attempt and state of what was told."""
        open_ends = [row for key, row in self.rows.items() if not (self.since and _final(row))]
        known = [[*_key(row), row["offset"], _final(row)] for row in open_ends]
        told: list[dict[str, Any]] = []
        stream = wire.stream("collect", known=known, since=self.since, sweeps=sweeps)
        end = None
        while end is None:
            try:
                told += [item for item in next(stream) if "verdict" in item]
            except StopIteration as stop:
                end = stop.value
        self.since = end.get("since")
        if end.get("again"):
            return self.take(wire, sweeps)
        self.rows.update({_key(row): row for row in told})
        return sorted((row["job"], row["attempt"], row["verdict"]["state"]) for row in told)


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["sweep"], row["job"], row["attempt"]


def _final(row: dict[str, Any]) -> bool:
    return row["verdict"]["state"] in ("done", "failed", "stopped", "interrupted")


def done(host: LocalHost, *labels: str, sweep: str = "s") -> list[tuple[str, int, str]]:
    """Run no-op jobs to their end; return what a look tells of them."""
    jobs = [host.job(label, ("/bin/true",), sweep=sweep) for label in labels]
    host.run(*jobs)
    return sorted((job["id"], 1, "done") for job in jobs)


def test_a_later_look_opens_only_what_is_new(host: LocalHost) -> None:
    """What has ended is not named to the host, nor looked for: its folders may even be away."""
    look = Look()
    first = done(host, "a", "b")
    with host.connect() as wire:
        assert look.take(wire) == first
    shutil.move(Path(host.home.runs, "s"), host.work / "away")
    second = done(host, "c")
    with host.connect() as wire:
        assert look.take(wire) == second
        assert look.take(wire) == []


def test_what_ran_at_the_last_look_is_told_when_it_ends(host: LocalHost) -> None:
    look = Look()
    job = host.job("a", sh("while ! test -e go; do sleep 0.01; done"))
    host.submit(job)
    host.identity(job)
    with host.connect() as wire:
        assert look.take(wire) == [(job["id"], 1, "running")]
    (host.work / "go").touch()
    host.finish(1)
    with host.connect() as wire:
        assert look.take(wire) == [(job["id"], 1, "done")]


def test_a_host_that_cannot_go_on_says_so_and_tells_everything(host: LocalHost) -> None:
    """Injected: the lists are gone (a home that was put back from a copy). Lost: nothing."""
    look = Look()
    first = done(host, "a")
    with host.connect() as wire:
        look.take(wire)
        shutil.rmtree(Path(host.home.begun("x")).parent)
        second = done(host, "b")
        assert look.take(wire) == second
    with host.connect() as wire:
        assert Look().take(wire) == sorted(first + second)


def test_a_look_at_one_sweep_leaves_the_others_for_later(host: LocalHost) -> None:
    first, second = done(host, "a"), done(host, "b", sweep="t")
    look = Look()
    with host.connect() as wire:
        assert look.take(wire, ["t"]) == second
        assert look.since is None
        third = done(host, "c", sweep="t")
        assert look.take(wire, ["t"]) == third
        assert look.take(wire) == first
        assert look.since


def test_what_was_noted_and_never_appeared_hides_nothing(host: LocalHost) -> None:
    """Injected: a watcher killed between its line and its folder. Lost: nothing."""
    look = Look()
    with host.connect() as wire:
        look.take(wire)
        begun.note(host.home.attempt("s", "0123456789abcdef", 1))
        first = done(host, "a")
        assert look.take(wire) == first
    second = done(host, "b")
    with host.connect() as wire:
        assert [item for item in look.take(wire) if item not in first] == second


@pytest.mark.parametrize("looks", [1, 2, 3])
@pytest.mark.parametrize("first", ["line", "look"])
def test_looks_between_the_line_and_the_folder_lose_nothing(
    orch_home: Home, tmp_path: Path, looks: int, first: str
) -> None:
    """Injected: a watcher that is slow between its line and its folder; a connection that looks before or meanwhile."""
    local = HostFolder(str(tmp_path / "home-id"))
    job = JobSpec("s", "a", {}, Cell("command", {}), ("/bin/true",), str(tmp_path)).to_json()
    folder = orch_home.attempt("s", job["id"], 1)
    Queue(orch_home, machine.name()).add([{**job, "attempt": 1}])
    collector = Collector(orch_home, local, [])
    if first == "line":
        begun.note(folder)
    assert states(collector) == ["queued"]
    if first == "look":
        begun.note(folder)
    for _ in range(looks):
        assert states(collector) == []
    line = collector.since
    assert publish(folder, job, {}, local)
    assert len(states(collector)) == 1
    assert collector.since != line


def test_a_job_that_a_full_look_found_running_is_followed_to_its_end(orch_home: Home, tmp_path: Path) -> None:
    """Injected: a second list, as when two watchers each make the first one; the look at everything that follows."""
    local = HostFolder(str(tmp_path / "home-id"))
    job = JobSpec("s", "a", {}, Cell("command", {}), ("/bin/true",), str(tmp_path)).to_json()
    folder = orch_home.attempt("s", job["id"], 1)
    Queue(orch_home, machine.name()).add([{**job, "attempt": 1}])
    collector = Collector(orch_home, local, [])
    assert states(collector) == ["queued"]
    Path(orch_home.begun(machine.name()), machine.boot_id() + "-another").touch()
    Path(local.attempt_lock(folder)).parent.mkdir(parents=True)
    with holding(local.attempt_lock(folder)):
        assert publish(folder, job, {}, local)
        assert states(collector) == ["running"]
    record_exit(folder, {"status": 0, "stopped": False, "began": True, "started": 1.0, "ended": 2.0}, local)
    assert states(collector) == ["done"]


def test_a_folder_that_a_file_server_shows_before_its_files_is_told_of_again(orch_home: Home, tmp_path: Path) -> None:
    """Injected: an attempt whose job.json is not to be seen at two looks (NFS), then is. Lost: nothing."""
    local = HostFolder(str(tmp_path / "home-id"))
    job = JobSpec("s", "a", {}, Cell("command", {}), ("/bin/true",), str(tmp_path)).to_json()
    folder = orch_home.attempt("s", job["id"], 1)
    assert publish(folder, job, {}, local)
    record_exit(folder, {"status": 0, "stopped": False, "began": True, "started": 1.0, "ended": 2.0}, local)
    shutil.move(folder.job, tmp_path / "aside")
    collector = Collector(orch_home, local, [])
    assert [states(collector) for _ in range(2)] == [["failed"], []]
    shutil.move(tmp_path / "aside", folder.job)
    assert [states(collector) for _ in range(2)] == [["done"], []]


def states(collector: Collector) -> list[str]:
    return [report["verdict"]["state"] for report in collector.reports()]


def test_records_come_when_they_change(host: LocalHost) -> None:
    record = {"name": "s", "created": 1.0, "updated": 1.0, "cells": []}
    host.wire.call("submit", record=record, jobs=[])
    stamps: dict[str, int] = {}
    seen = []
    for updated in (1.0, 1.0, 2.0):
        host.wire.call("submit", record={**record, "updated": updated}, jobs=[]) if updated > 1 else None
        stream = host.wire.stream("collect", stamps=stamps)
        seen.append(len(next(stream)))
        try:
            while True:
                next(stream)
        except StopIteration as stop:
            stamps = stop.value["stamps"]
    assert seen == [1, 0, 1]
