"""The verbs of the agent, over a real wire."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until

from jobs.attempt import read_exit
from jobs.errors import ContractError, NotFound, OrchError, UsageError

RECORD = {"contract": 1, "name": "s", "created": 1.0, "updated": 1.0, "cells": []}


def actions(reply: dict[str, Any]) -> list[str]:
    return [answer["action"] for answer in reply["jobs"]]


def test_a_home_is_made_once_and_is_private(host: LocalHost) -> None:
    identity = json.loads(Path(host.home.identity).read_text())
    assert set(identity) == {"contract", "id", "secret", "inode"}
    with host.connect():
        assert host.about["id"] == identity["id"]
    assert stat.S_IMODE(Path(host.home.identity).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(host.home.path).stat().st_mode) == 0o700


def test_a_home_that_is_not_there_is_not_made_unasked(host: LocalHost) -> None:
    with pytest.raises(NotFound, match="no orch home"):
        host.wire.call("open", home=host.home.path + "x", create=False)
    assert not Path(host.home.path + "x").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}'])
def test_a_damaged_identity_is_never_replaced(host: LocalHost, text: str) -> None:
    """Another id would mean other locks: living jobs would count as dead."""
    Path(host.home.identity).write_text(text)
    with pytest.raises(ContractError, match="damaged"):
        host.wire.call("open", home=host.home.path)
    assert Path(host.home.identity).read_text() == text


def test_a_home_of_a_newer_orch_is_refused(host: LocalHost) -> None:
    Path(host.home.identity).write_text('{"contract": 2, "id": "x", "secret": "y"}')
    with pytest.raises(ContractError, match="newer orch"):
        host.wire.call("open", home=host.home.path)


def test_what_was_said_of_each_job(host: LocalHost) -> None:
    slow, quick = host.job("slow", ("/bin/sleep", "60")), host.job("quick", ("/bin/true",))
    assert actions(host.submit(slow, quick, parallel=2)) == ["queued", "queued"]
    until(lambda: (host.state(slow), host.state(quick)) == ("running", "done"))
    assert actions(host.submit(slow, quick)) == ["runs already", "done already"]
    assert actions(host.submit(quick, again=[quick["id"]])) == ["queued"]
    until(lambda: host.report(quick)["attempt"] == 2 and host.state(quick) == "done")


def test_a_job_that_waits_is_not_queued_again(host: LocalHost) -> None:
    jobs = [host.job(f"j{number}", ("/bin/sleep", "60")) for number in range(3)]
    host.submit(*jobs, parallel=1)
    until(lambda: host.states() == ["queued", "queued", "running"])
    assert actions(host.submit(*jobs)) == ["runs already", "waits already", "waits already"]
    assert len(host.wire.call("show", sweep="s", job=jobs[2]["id"])["queued"]) == 1


def test_a_failed_job_goes_on_from_its_last_checkpoint(host: LocalHost) -> None:
    job = host.job("f", sh('test -e "$ORCH_RUN/../attempt-01/last.pt" && exit 0; touch "$ORCH_RUN/last.pt"; exit 1'))
    assert host.run(job)["verdict"]["state"] == "failed"
    host.submit(job)
    until(lambda: host.report(job)["attempt"] == 2 and host.state(job) == "done")
    assert json.loads(Path(host.folder(job, 2).job).read_text())["resume"] == host.folder(job).path
    assert json.loads(Path(host.folder(job).job).read_text())["resume"] is None


@pytest.mark.parametrize("name", ["../s", "a/b", "", "a\n"])
def test_a_sweep_cannot_leave_its_folder(host: LocalHost, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a sweep's name"):
        host.submit(host.job("x", ("/bin/true",), sweep=name))


def test_a_job_for_cards_that_are_not_there_is_refused(host: LocalHost) -> None:
    """It would stand at the head of the queue for ever."""
    with pytest.raises(UsageError, match="needs 99 GPUs"):
        host.submit(host.job("x", ("/bin/true",), resources={"gpus": 99}))


def test_no_jobs_side_by_side_is_refused(host: LocalHost) -> None:
    with pytest.raises(UsageError, match="side by side"):
        host.submit(parallel=-1)


def test_the_sweeps_record_keeps_when_it_was_made(host: LocalHost) -> None:
    for created in (1.0, 2.0):
        host.wire.call("submit", record={**RECORD, "created": created, "updated": created}, jobs=[])
    (record,) = next(host.wire.stream("collect"))
    assert (record["created"], record["updated"]) == (1.0, 2.0)


def test_news_come_once(host: LocalHost) -> None:
    job = host.job("a", sh('echo \'{"seq":0,"kind":"note","text":"x"}\' > "$ORCH_RUN/events.jsonl"'))
    report = host.run(job)
    assert [event["text"] for event in report["events"]] == ["x"]
    assert report["spec"]["label"] == "a"
    assert report["exit"]["status"] == 0
    assert [report for chunk in host.wire.stream("collect") for report in chunk] == []
    known = [["s", job["id"], 1, report["offset"], True]]
    with host.connect() as wire:
        assert [report for chunk in wire.stream("collect", known=known) for report in chunk] == []
        assert len([report for chunk in wire.stream("collect") for report in chunk]) == 0
    with host.connect() as wire:
        assert len([report for chunk in wire.stream("collect") for report in chunk]) == 1


def test_damaged_events_are_told_at_the_end_whichever_look_met_them(host: LocalHost) -> None:
    """Injected: a line that is no event, taken in while the job ran. Told: with its last report, too."""
    script = 'echo nonsense >> "$ORCH_RUN/events.jsonl"; until [ -e go ]; do sleep 0.02; done'
    job = host.job("a", sh(script))
    host.submit(job)
    until(lambda: host.report(job)["verdict"].get("warning") == "events.jsonl has 1 damaged lines")
    (host.work / "go").touch()
    until(lambda: host.state(job) == "done")
    assert host.report(job)["verdict"]["warning"] == "events.jsonl has 1 damaged lines"


def test_what_left_the_queue_without_beginning_is_told_once(host: LocalHost) -> None:
    """Injected: the batch of a job that waits loses its end, as on a disk that broke. Told: that it waits no more."""
    jobs = [host.job("a", ("/bin/sleep", "60")), host.job("b", ("/bin/true",))]
    host.submit(jobs[0], parallel=1)
    host.submit(jobs[1])
    until(lambda: host.states() == ["queued", "running"])
    batch = sorted(Path(host.home.queue(host.about["host"])).iterdir())[-1]
    batch.write_bytes(batch.read_bytes()[:-9])
    known = [["s", job["id"], 1, 0, False] for job in jobs]
    with host.connect() as wire:
        told = [
            [(one["job"], one["verdict"]["state"]) for one in chunk] for chunk in wire.stream("collect", known=known)
        ]
        assert sorted(told[-1]) == sorted([(jobs[0]["id"], "running"), (jobs[1]["id"], "gone")])
        assert "gone" not in str(list(wire.stream("collect")))
    host.submit(jobs[1])
    assert host.state(jobs[1]) == "queued"


def test_what_was_edited_after_the_end_is_told(host: LocalHost) -> None:
    job = host.job("a", sh('echo \'{"contract":1,"values":{"dice":0.5}}\' > "$ORCH_RUN/result.json"'))
    assert host.run(job)["verdict"]["warning"] == ""
    Path(host.folder(job).result).write_text('{"contract":1,"values":{"dice":0.99}}')
    host.wire.close()
    host.wire, host.known = host.connect(), {}
    assert host.report(job)["verdict"]["warning"] == "edited by hand after its end: result.json"


def test_damaged_run_folders_hide_no_other(host: LocalHost) -> None:
    """Injected: each file of a run folder replaced by nonsense or a folder, 10 runs. Lost: those files; no report."""
    jobs = [host.job(f"j{number}", ("/bin/true",)) for number in range(11)]
    host.run(*jobs, parallel=2)
    host.settle()
    for number, name in enumerate(["job.json", "exit.json", "result.json", "cases.json", "events.jsonl"]):
        for job, make in zip(jobs[2 * number : 2 * number + 2], (nonsense, folder_of_it), strict=True):
            make(Path(host.folder(job).path, name))
    host.wire.close()
    host.wire, host.known = host.connect(), {}
    assert len(host.collect()) == 11
    assert host.state(jobs[-1]) == "done"
    assert host.state(jobs[0]) == host.state(jobs[1]) == "failed"
    for job in jobs:
        assert host.wire.call("show", sweep="s", job=job["id"])["attempts"][0]["files"]
        host.submit(job)


def nonsense(path: Path) -> None:
    path.write_text('[{"nonsense": [1, "\\ud800"]}]\n')


def folder_of_it(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def test_logs_of_any_size_and_any_attempt(host: LocalHost) -> None:
    job = host.job("a", sh("yes é | head -n 50000; echo end"))
    host.run(job)
    text = "".join(host.wire.stream("log", sweep="s", job=job["id"]))
    assert text == host.log(job)
    with pytest.raises(NotFound, match="no attempt 2"):
        list(host.wire.stream("log", sweep="s", job=job["id"], number=2))
    rest = "".join(host.wire.stream("log", sweep="s", job=job["id"], offset=len(host.log(job).encode()) - 4))
    assert rest == "end\n"


def test_stopping_what_is_not_there_stops_nothing(host: LocalHost) -> None:
    job = host.job("a", ("/bin/sleep", "60"))
    host.submit(job)
    until(lambda: host.state(job) == "running")
    with pytest.raises(NotFound, match="no job nonsense"):
        host.wire.call("stop", jobs=[["s", job["id"]], ["s", "nonsense"]])
    assert host.state(job) == "running"


@pytest.mark.parametrize("verb", ["open", "submit", "collect", "stop", "show", "log", "note"])
def test_an_operating_system_error_in_any_verb_is_translated(host: LocalHost, verb: str) -> None:
    """The one door: whatever file trouble a verb meets is told as an error of ours that names the path."""
    job = host.job("a", ("/bin/true",))
    host.run(job)
    home = Path(host.home.path)
    (home / "queue").rename(home / "queue.away")
    (home / "queue").mkdir()
    (home / "queue" / host.about["host"]).write_text("a file where a folder must be")
    runs = home / "runs" / "s" / job["id"]
    runs.rename(runs.with_suffix(".away"))
    runs.symlink_to("loop-" + runs.name)
    runs.with_name("loop-" + runs.name).symlink_to(runs.name)
    (home / "journal.jsonl").mkdir()
    arguments: dict[str, dict[str, Any]] = {
        "open": {"home": host.home.path},
        "submit": {"record": None, "jobs": [job]},
        "stop": {"jobs": [["s", job["id"]]]},
        "show": {"sweep": "s", "job": job["id"]},
        "log": {"sweep": "s", "job": job["id"]},
        "note": {"sweep": "s", "job": None, "kind": "note", "text": "x"},
    }
    with pytest.raises(OrchError) as caught:
        list(host.wire.stream(verb, **arguments.get(verb, {})))
    assert caught.value.code in {"DISK", "NOT_FOUND"}
    assert host.wire.call("probe")["contract"] == 1


def test_a_look_that_broke_off_is_told_again(host: LocalHost) -> None:
    """Injected: once, a folder of runs that cannot be listed, after another sweep was looked at. Lost: no report."""
    job = host.job("a", ("/bin/true",))
    host.submit(job)
    until(lambda: read_exit(host.folder(job)), what="it has ended")
    host.settle()
    loop = Path(host.home.runs, "zz")
    loop.symlink_to(loop)
    with pytest.raises(OrchError, match="symbolic links"):
        host.collect()
    loop.unlink()
    assert host.state(job) == "done"


LINE = {"t": 1.0, "kind": "metrics", "values": dict.fromkeys(("loss", "dice", "val_loss", "val_dice", "lr"), 0.123456)}


@pytest.mark.parametrize(("lines", "more"), [(50_000, ""), (40, "x" * 400_000)], ids=["many", "long"])
def test_what_a_long_training_has_logged_comes_in_bounded_frames(host: LocalHost, lines: int, more: str) -> None:
    """10 to 16 MB of events of one job, of which no index knows; the agent's memory does not grow with them."""
    job = host.job("long", ("/bin/true",))
    host.submit(job)
    until(lambda: read_exit(host.folder(job), host.local) is not None)
    before = set(host.agents())
    with Path(host.folder(job).events).open("w") as file:
        for seq in range(lines):
            file.write(json.dumps({"seq": seq, "step": seq, **LINE, "more": more}) + "\n")
    with host.connect() as wire:
        (agent,) = set(host.agents()) - before
        _, *chunks = wire.stream("collect")
        status = Path(f"/proc/{agent}/status").read_text()
    assert sum(len(report["events"]) for chunk in chunks for report in chunk) == lines
    assert max(len(json.dumps(chunk)) for chunk in chunks) < 3 << 19
    assert int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) < 60_000
