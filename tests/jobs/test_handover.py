"""`orch handover` on a host: everything arrives whole, nothing is changed at home, nothing there is written over."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from local_host import LocalHost, sh, until
from lumber import python, record, snapshot

from jobs.agent import Agent
from jobs.errors import OrchError, UsageError
from jobs.folder import Home
from jobs.handover import handover

Tree = dict[str, tuple[int, str]]


def tree(path: Path) -> Tree:
    """Every file below a folder: its mode and the SHA-256 of its bytes."""
    found: Tree = {}
    for one in sorted(path.rglob("*")):
        if one.is_symlink() or not one.is_file():
            found[str(one.relative_to(path))] = (one.lstat().st_mode, "")
        else:
            content = hashlib.sha256(one.read_bytes()).hexdigest()
            found[str(one.relative_to(path))] = (one.stat().st_mode, content)
    return found


def proofs(host: LocalHost) -> list[Any]:
    return list(host.wire.call("handover_proofs")["ended"])


def look(host: LocalHost, to: Path, **named: str) -> dict[str, Any]:
    return dict(host.wire.call("handover_look", to=str(to), named=named, ended=proofs(host)))


def hand_over(host: LocalHost, to: Path, **named: str) -> dict[str, Any]:
    stream = host.wire.stream("handover", to=str(to), named=named, ended=proofs(host))
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return dict(stop.value)


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """Where the group's home will be."""
    storage = tmp_path / "group"
    storage.mkdir()
    os.chown(storage, -1, 6000)
    return storage / "orch"


@pytest.fixture
def there(group: Path, host: LocalHost) -> Iterator[LocalHost]:
    """The group's home, used on the same machine; made when first asked for."""
    group.mkdir(parents=True)
    group.chmod(0o2770)
    found = LocalHost(group, host.root, host.work)
    yield found
    found.close()


@pytest.fixture
def left(host: LocalHost) -> LocalHost:
    """A home with a done, a failed and an interrupted job, code, data, a split, a note."""
    code = snapshot(host)
    program = code / "main.py"
    program.chmod(0o700)
    snapshot(host, 1)  # nobody names it
    done, failed = host.job("done", python(code)), host.job("failed", ("/bin/false",))
    host.submit(done, failed)
    host.finish(2)
    lost = host.job("lost", sh("echo here; exec sleep 600"))
    host.submit(lost)
    until(lambda: host.state(lost) == "running")
    identity = host.identity(lost)
    for name in ("watcher", "job"):
        os.kill(identity[name][0], signal.SIGKILL)
    until(lambda: host.state(lost) == "interrupted")
    host.wire.call("submit", record=record(code.name), jobs=[])
    host.wire.call("note", sweep="s", job=None, kind="note", text="mind the third patient")
    folder = Path(host.folder(done).path)
    (folder / "work").mkdir()
    (folder / "work" / ".hidden").write_text("x")
    (folder / "work" / "volumes").symlink_to("/")
    register(host, "liver", "cafe")
    host.settle()
    return host


def register(host: LocalHost, name: str, contents: str) -> None:
    folder = Path(host.home.data, name)
    (folder / "files").mkdir(parents=True)
    volume = folder / "files" / "ab.nii.gz"
    volume.write_text(contents)
    cases = [{"case": "c-1", "group": "p-1", "image": str(volume), "label": "/elsewhere/label.nii.gz"}]
    (folder / "manifest.json").write_text(json.dumps({"name": name, "hash": contents, "cases": cases}))
    (folder / "split-0.json").write_text("{}")


def states(host: LocalHost) -> dict[str, str]:
    """What a look at a home tells that has never been looked at, by label."""
    wire = host.connect()
    try:
        _, *chunks = wire.stream("collect")
    finally:
        wire.close()
    return {report["spec"]["label"]: report["verdict"]["state"] for chunk in chunks for report in chunk}


def test_all_arrives_and_nothing_changes_at_home(left: LocalHost, group: Path) -> None:
    before, told = tree(Path(left.home.path)), states(left)
    plan = look(left, group)
    assert (plan["new"], plan["open"], plan["conflicts"]) == (True, [], []) and not group.exists()
    done = hand_over(left, group)
    assert done["copy"]["files"] and not done["added"]
    assert tree(Path(left.home.path)) == before

    new = LocalHost(group, left.root, left.work)
    try:
        assert states(new) == told
        assert new.about["id"] == done["id"] != left.about["id"]
        assert json.loads((group / "home.json").read_text())["secret"] == _secret(left)
        assert (group / "journal.jsonl").read_text().count("third patient") == 1
        there = tree(group)
        for name, (_, content) in before.items():
            if name.startswith(("runs/", "sweeps/")) and content:
                assert there[name][1] == content, name
        assert "code/0000000000000001/main.py" not in there, "nobody names it"
        assert there["code/0000000000000000/main.py"][0] & 0o777 == 0o770, "it stays a program"
        image = json.loads((group / "data/liver/manifest.json").read_text())["cases"][0]["image"]
        assert image == str(group / "data/liver/files/ab.nii.gz") and Path(image).exists()
    finally:
        new.close()
    assert done["left_out"] and done["left_out"][0].endswith("work/volumes")


def _secret(host: LocalHost) -> str:
    return str(json.loads(Path(host.home.identity).read_text())["secret"])


def test_a_second_time_brings_what_is_new(left: LocalHost, group: Path) -> None:
    hand_over(left, group)
    again = hand_over(left, group)
    assert again["copy"] == {"bytes": 0, "files": 0} and again["here"]["files"]
    left.submit(left.job("late", ("/bin/true",)))
    until(lambda: states(left).get("late") == "done")
    left.wire.call("note", sweep="s", job=None, kind="note", text="one more")
    left.settle()
    assert hand_over(left, group)["copy"]["files"] == 3, "job.json, exit.json, log.txt"
    assert (group / "journal.jsonl").read_text().count('"text"') == 2


def test_hosts_that_look_by_their_lists_see_what_was_brought(left: LocalHost, there: LocalHost) -> None:
    """The group's home has been looked at before; the next look reads only the lists of what began since."""
    there.run(there.job("theirs", ("/bin/true",), sweep="t"))
    there.settle()
    ((*_, last),) = [_looked(there, None)]
    assert last["since"] is not None
    hand_over(left, Path(there.home.path))
    chunks = _looked(there, last["since"])
    assert {report["spec"]["label"] for chunk in chunks[1:-1] for report in chunk} == {"done", "failed", "lost"}


def _looked(host: LocalHost, since: dict[str, int] | None) -> list[Any]:
    """All chunks of a look in a connection of its own, and its last word."""
    wire = host.connect()
    try:
        stream, found = wire.stream("collect", since=since), []
        while True:
            try:
                found.append(next(stream))
            except StopIteration as stop:
                return [*found, stop.value]
    finally:
        wire.close()


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_nothing_is_handed_over_while_jobs_run_or_wait(host: LocalHost, group: Path) -> None:
    running, waiting = host.job("r", sh("exec sleep 600")), host.job("w", ("/bin/true",))
    host.submit(running, waiting, parallel=1)
    until(lambda: host.states() == ["queued", "running"])
    assert {row["job"] for row in look(host, group)["open"]} == {running["id"], waiting["id"]}
    with pytest.raises(OrchError, match="and 1 more") as caught:
        hand_over(host, group)
    assert "orch stop s" in caught.value.hint and not group.exists()
    host.wire.call("stop", jobs=[("s", job["id"]) for job in (running, waiting)], grace=0.3)
    until(lambda: states(host) == {"r": "stopped", "w": "stopped"})
    host.settle()
    assert hand_over(host, group)["added"] is False


def test_a_sweep_of_the_same_name_stays_and_ours_gets_another(left: LocalHost, there: LocalHost) -> None:
    group = Path(there.home.path)
    there.run(there.job("theirs", ("/bin/true",)))
    there.wire.call("submit", record=record(""), jobs=[])
    there.settle()
    before = tree(group)
    with pytest.raises(OrchError, match="sweep s") as caught:
        hand_over(left, group)
    assert "--as s=s-2" in caught.value.hint and tree(group) == before
    with pytest.raises(UsageError, match="cannot be the other name"):
        hand_over(left, group, s="../s")
    assert not look(left, group)["same_names"]

    hand_over(left, group, s="s-2")
    assert states(there) == {"theirs": "done", "done": "done", "failed": "failed", "lost": "interrupted"}
    after = tree(group)
    assert all(after[name] == what for name, what in before.items() if "begun/" not in name), "theirs is as it was"
    brought = there.home.attempts("s-2", left.job("done", python(Path(left.home.code, "0" * 16)))["id"])
    assert json.loads(Path(brought[0].job).read_text())["sweep"] == "s-2"
    assert json.loads(Path(there.home.sweep("s-2")).read_text())["name"] == "s-2"
    assert '"sweep":"s-2"' in Path(there.home.journal).read_text()
    assert hand_over(left, group)["copy"]["files"] == 0, "the other name is remembered"


def test_data_of_the_same_name_is_not_written_over(left: LocalHost, there: LocalHost) -> None:
    """The same contents are registered there already: that registration counts. Other contents are refused."""
    group = Path(there.home.path)
    register(there, "liver", "beef")
    with pytest.raises(OrchError, match="data liver"):
        hand_over(left, group)
    manifest = Path(there.home.manifest("liver"))
    manifest.write_text(manifest.read_text().replace("beef", "cafe"))
    before = tree(group / "data")
    done = hand_over(left, group)
    assert done["known"] == ["liver"] and tree(group / "data") == before


def test_places_that_cannot_be_the_groups(left: LocalHost, there: LocalHost) -> None:
    with pytest.raises(UsageError, match="lie in each other"):
        hand_over(left, Path(left.home.path, "orch"))
    Path(there.home.path).chmod(0o700)
    with pytest.raises(UsageError, match="home of one person") as caught:
        hand_over(left, Path(there.home.path))
    assert "chmod" in caught.value.hint


# --- Cuts ------------------------------------------------------------------------------------------------------------


def _killed_at(number: int, agent: Agent, to: str, ended: list[Any]) -> bool:
    """Hand over in a child that is killed before the Nth distinct line that follows the plan; whether it was."""
    child = os.fork()
    if not child:
        try:
            os.umask(0o077)
            _trace(number)
            for _ in handover(agent, to, {}, ended):
                pass
            sys.settrace(None)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def _agent(home: str) -> Agent:
    agent, umask = Agent(io.BytesIO()), os.umask(0o077)
    try:
        agent.open(home)
    finally:
        os.umask(umask)
    return agent


def _trace(number: int) -> None:
    seen: set[tuple[str, int]] = set()
    begun: list[bool] = []

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        if len(seen) >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_name == "begin":
            begun.append(True)
        ours = begun and Path(frame.f_code.co_filename).name in ("handover.py", "begun.py", "homes.py")
        return line if ours else None

    sys.settrace(call)


def test_an_attempt_that_grows_while_it_is_copied_does_not_appear_in_halves(
    left: LocalHost, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: once its other files have been copied, a program that outlived its job writes into a run folder."""
    monkeypatch.setattr("jobs.handover.TICK", -1.0)  # a word after each file
    done = next(folder for folder in left.home.run_folders() if Path(folder.path, "work").is_dir())
    umask = os.umask(0o077)
    try:
        stream = handover(_agent(left.home.path), str(group), {}, proofs(left))
        while not list(group.glob(f"runs/s/{done.job_id}/.*/log.txt")):
            next(stream)
        Path(done.path, "late").write_text("x")
        with pytest.raises(StopIteration) as stopped:
            while True:
                next(stream)
    finally:
        os.umask(umask)
    there = Home(str(group))
    assert stopped.value.value["added"] and len(list(there.run_folders())) == 2
    assert not Path(there.attempt("s", done.job_id, 1).path).exists()
    assert hand_over(left, group)["added"] is False
    assert Path(there.attempt("s", done.job_id, 1).path, "late").read_text() == "x"


@pytest.mark.slow
def test_killed_before_each_line_and_run_again(left: LocalHost, tmp_path: Path) -> None:
    """Injected: SIGKILL before each line that follows the plan (some 170), each followed by the same again.

    Lost: nothing. What is visible in between is whole; in the end all is there, and nothing but that.
    """
    agent, before, ended = _agent(left.home.path), tree(Path(left.home.path)), proofs(left)
    whole, number = tmp_path / "whole" / "orch", 0
    whole.parent.mkdir()
    assert not _killed_at(10**9, agent, str(whole), ended)
    wanted = _comparable(whole)
    while True:
        number += 1
        to = tmp_path / f"cut-{number}"
        if not _killed_at(number, agent, str(to), ended):
            break
        for folder in Home(str(to)).run_folders():
            inside = {one.name for one in Path(folder.path).rglob("*")}
            assert inside >= {"job.json", "exit.json", "log.txt"}, (number, inside)
        assert not _killed_at(10**9, agent, str(to), ended)
        assert _comparable(to) == wanted, number
    assert number > 100 and tree(Path(left.home.path)) == before


def _comparable(home: Path) -> Tree:
    """What must be the same in each copy: not its identity, its pages and lists, nor the time of a proof."""
    found = tree(home)
    names = [name for name in found if not name.startswith(("home.json", "handovers", "begun"))]
    skipped = ("ended.json", "manifest.json", "journal.jsonl")  # a time, paths, and sequence numbers
    return {name: (found[name][0], "" if name.endswith(skipped) else found[name][1]) for name in names}
