"""Two versions of orch on one home: what one began the other tells, and what does not fit is said with the repair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_host import ENDED, LocalHost, make_home, sh, until

from jobs import PROTOCOL, READS, protocol
from jobs import host as machine
from jobs.atomic import read_json, write_json
from jobs.attempt import publish, record_exit
from jobs.collector import Collector
from jobs.errors import ContractError
from jobs.folder import Home, HostFolder
from jobs.lease import holding
from jobs.queue import Queue
from jobs.spec import Cell, JobSpec

ROOT = Path(__file__).parents[2]
OLD = {"before the lists": "fa5ed0c^", "before the number": "7ea030d"}
JOBS = 20
DRIVER = """
import json, sys, collections
from pathlib import Path
old, home, local, work, what = sys.argv[1:6]
sys.path[:0] = [old, old + "/tests/jobs"]
from local_host import LocalHost
import jobs
assert jobs.__file__.startswith(old), jobs.__file__
host = LocalHost(Path(home), Path(local), Path(work))
if what == "submit":
    host.submit(*[host.job("j%d" % n, ("/bin/sh", "-c", sys.argv[6])) for n in range(int(sys.argv[7]))], parallel=2)
if what == "stop":
    found = [("s", key.split("/")[1]) for key in host.collect()]
    host.wire.call("stop", jobs=found, by="me")
print(json.dumps({key: row["verdict"]["state"] for key, row in host.collect().items()}))
host.wire.close()
"""


@pytest.fixture(params=sorted(OLD))
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The tree of an older orch."""
    path = tmp_path / "older"
    path.mkdir()
    command = ["git", "-C", str(ROOT), "archive", OLD[request.param], "jobs", "tests/jobs/local_host.py"]
    tree = subprocess.run(command, capture_output=True, check=False)
    if tree.returncode:
        pytest.skip(f"this clone does not hold {OLD[request.param]}: git fetch --unshallow")
    subprocess.run(["tar", "x", "-C", str(path)], input=tree.stdout, check=True)
    return path


def drive(older: Path, host: LocalHost, *what: str) -> dict[str, str]:
    """Let the older orch look, after it has done something."""
    command = [sys.executable, "-c", DRIVER, str(older), host.home.path, str(host.root), str(host.work), *what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=older)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def runs(host: LocalHost) -> int:
    """Count what the programs themselves have written down."""
    return len((host.work / "ran").read_text().splitlines())


@pytest.mark.slow
def test_what_an_older_keeper_begins_is_told(host: LocalHost, older: Path) -> None:
    """Injected: 20 jobs and the keeper of an older orch, looks of this one meanwhile. Lost, hidden or doubled: none."""
    drive(older, host, "submit", "echo $$ >> ran; sleep 0.2", str(JOBS))
    until(lambda: "queued" in host.states(), what="a look in between")
    assert host.finish(JOBS) == ["done"] * JOBS
    assert runs(host) == JOBS


@pytest.mark.slow
def test_what_an_older_keeper_runs_is_stopped(host: LocalHost, older: Path) -> None:
    """Injected: 6 jobs of an older keeper. Left running or waiting after a stop: none."""
    drive(older, host, "submit", "sleep 60", "6")
    until(lambda: "running" in host.states(), what="one runs")
    host.wire.call("stop", jobs=[tuple(key.split("/")) for key in host.collect()], by="me")
    assert host.finish(6) == ["stopped"] * 6
    host.settle()


@pytest.mark.slow
def test_an_older_orch_looks_at_and_stops_what_this_one_began(host: LocalHost, older: Path) -> None:
    """Injected: an older laptop that looks, then stops 6 jobs of this keeper. Lost or hidden on either side: none."""
    host.submit(*[host.job(f"j{number}", sh("echo $$ >> ran; sleep 60")) for number in range(6)], parallel=2)
    until(lambda: host.states().count("running") == 2, what="two run")
    assert sorted(drive(older, host, "states").values()) == ["queued"] * 4 + ["running"] * 2
    drive(older, host, "stop")
    assert host.finish(6) == ["stopped"] * 6
    assert sorted(drive(older, host, "states").values()) == ["stopped"] * 6
    assert runs(host) == 2


@pytest.mark.parametrize("looks", [0, 1])
@pytest.mark.parametrize("known", ["queued", "nothing"])
def test_an_attempt_that_no_list_names_is_told(tmp_path: Path, looks: int, known: str) -> None:
    """Injected: an attempt without a line, of a job that a look had seen waiting or that none had. Lost: none."""
    local = HostFolder(str(tmp_path / "local" / "home-id"))
    home = make_home(tmp_path / "home", local)
    job = JobSpec("s", "a", {}, Cell("command", {}), ("/bin/true",), str(tmp_path)).to_json()
    queue, folder = Queue(home, machine.name()), home.attempt("s", job["id"], 1)
    collector = Collector(home, local, [])
    if known == "nothing":
        assert states(collector) == []
        collector.unlisted = True
    batch = queue.add([{**job, "attempt": 1}])
    if known == "queued":
        assert states(collector) == ["queued"]
        for _ in range(looks):
            assert states(collector) == []
    publish_unlisted(home, job, local)
    for path in Path(home.path).glob("queue/**/*"):  # what the keeper does when all of a batch has begun
        if path.is_file() and path.name == str(batch).rpartition("/")[2]:
            path.unlink()
    record_exit(folder, {"status": 0, "stopped": False, "began": True, "started": 1.0, "ended": 2.0}, local)
    assert states(collector) == ["done"]
    assert states(collector) == []


def publish_unlisted(home: Home, job: dict[str, Any], local: HostFolder) -> None:
    """Publish as an older keeper does: with the real functions, and the list as it was before."""
    folder = home.attempt("s", job["id"], 1)
    lists = {path: path.read_bytes() for path in Path(home.begun(machine.name())).iterdir()}
    Path(local.attempt_lock(folder)).parent.mkdir(parents=True)
    with holding(local.attempt_lock(folder)):
        assert publish(folder, job, {}, local)
    for path, data in lists.items():
        path.write_bytes(data)


def keep_busy(host: LocalHost) -> dict[str, Any]:
    """Queue two jobs of which one waits for the other, and the keeper for both; return the first."""
    jobs = [host.job(label, sh("while ! test -e go; do sleep 0.01; done")) for label in ("first", "second")]
    host.submit(*jobs, parallel=1)
    return jobs[0]


def states(collector: Collector) -> list[str]:
    """Look once."""
    return [report["verdict"]["state"] for report in collector.reports()]


def test_a_keeper_tells_its_number_and_an_older_one_has_one(host: LocalHost) -> None:
    """Injected: a keeper that tells nothing, as older ones do. Lost: nothing; nobody is warned."""
    assert protocol.spoken(host.local) is None
    job = keep_busy(host)
    assert protocol.spoken(host.local) == (PROTOCOL, READS, "0.1.0")
    Path(host.local.keeper_speaks).unlink()
    assert protocol.spoken(host.local) == protocol.OLDEST
    host.connect().close()
    assert host.about["warning"] == ""
    (host.work / "go").touch()
    until(lambda: host.state(job) in ENDED, what="it ended")
    host.settle()
    assert protocol.spoken(host.local) is None


@pytest.mark.parametrize("reads", [(3, 3), (2, 3)])
def test_a_newer_keeper_that_does_not_fit_gets_no_jobs(host: LocalHost, reads: tuple[int, int]) -> None:
    """Injected: a living keeper of a later number, that reads ours or does not. Queued where it does not: nothing."""
    keep_busy(host)
    said = {**(read_json(host.local.keeper_speaks) or {}), "protocol": 3, "reads": reads, "version": "0.9"}
    write_json(host.local.keeper_speaks, said)
    with host.connect() as wire:
        if reads[0] <= PROTOCOL:
            assert host.about["warning"] == ""
            host.submit(host.job("b", ("/bin/true",)), wire=wire)
        else:
            assert "orch 0.9) speaks protocol 3" in host.about["warning"] and "orch stop" in host.about["warning"]
            with pytest.raises(ContractError, match="speaks protocol 3") as refusal:
                host.submit(host.job("b", ("/bin/true",)), wire=wire)
            assert "update orch" in refusal.value.hint
    (host.work / "go").touch()
    count = 3 if reads[0] <= PROTOCOL else 2
    assert host.finish(count) == ["done"] * count


@pytest.mark.parametrize("said", ["", "[]", '{"protocol": 3}', '{"protocol": "x", "reads": 1, "pid": 1, "start": 1}'])
def test_a_number_that_makes_no_sense_is_none(host: LocalHost, said: str) -> None:
    """Injected: a damaged file of the keeper's. Refused or hidden: nothing."""
    job = keep_busy(host)
    Path(host.local.keeper_speaks).write_text(said)
    assert protocol.spoken(host.local) == protocol.OLDEST
    (host.work / "go").touch()
    until(lambda: host.state(job) == "done", what="it ended")
