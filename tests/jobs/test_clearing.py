"""Which checkpoints, environments and half-made folders may go, and which never do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from local_host import LocalHost, sh, until
from lumber import age, look, names, park

from jobs import host as machine
from jobs.aside import aside, dead
from jobs.host_identity import machine as identity
from jobs.moves import weigh

# --- Checkpoints -----------------------------------------------------------------------------------------------------

MODELS = "for n in best last; do echo m > $ORCH_RUN/$n.pt; echo '{}' > $ORCH_RUN/$n.json; done; "
FAILS_FIRST = MODELS + "case $ORCH_RUN in *attempt-01) exit 1;; esac"


def files(host: LocalHost, job: dict[str, Any], attempt: int) -> set[str]:
    return names(host.folder(job, attempt).path)


def old_runs(host: LocalHost) -> None:
    age(Path(host.home.runs))


def test_by_default_checkpoints_of_superseded_attempts_go(host: LocalHost) -> None:
    job = host.job("j", sh(FAILS_FIRST))
    host.run(job)
    host.run(job)
    assert host.report(job)["verdict"]["state"] == "done"
    assert look(host) == {}, "they are not old"
    old_runs(host)
    (item,) = park(host)["parked"]
    assert item["kind"] == "checkpoint" and len(item["pieces"]) == 4 and "attempt 2 counts" in item["why"]
    assert files(host, job, 1) == {"job.json", "exit.json", "log.txt"}
    assert {"best.pt", "best.json", "last.pt"} <= files(host, job, 2)
    host.wire.call("gc_restore", name=item["name"])
    assert {"best.pt", "last.json"} <= files(host, job, 1)


def test_best_keeps_the_best_model_of_each_job(host: LocalHost) -> None:
    job = host.job("j", sh(FAILS_FIRST))
    host.run(job)
    host.run(job)
    old_runs(host)
    park(host, rule="best")
    assert not {"best.pt", "last.pt"} & files(host, job, 1)
    assert files(host, job, 2) & {"best.pt", "best.json", "last.pt"} == {"best.pt", "best.json"}
    assert look(host, rule="best") == {}


def test_the_only_model_of_a_job_stays(host: LocalHost) -> None:
    """The attempt that counts has no model of its own; a job without a result keeps its newest ones."""
    first = host.job("first", sh("case $ORCH_RUN in *attempt-01) " + MODELS + " exit 1;; esac"))
    never = host.job("never", sh("exec 2>&1; " + MODELS + "exit 1"))
    for _ in range(2):
        host.run(first)
        host.run(never)
    old_runs(host)
    park(host, rule="best")
    assert {"best.pt", "last.pt"} <= files(host, first, 1)
    assert {"best.pt", "last.pt"} <= files(host, never, 2) and not {"best.pt", "last.pt"} & files(host, never, 1)


def test_nothing_of_a_job_that_runs_or_waits_goes(host: LocalHost) -> None:
    held = host.job("held", ("/bin/sleep", "600"))
    job = host.job("j", sh(MODELS + "case $ORCH_RUN in *attempt-03) sleep 600;; *attempt-01) exit 1;; esac"))
    host.run(job, parallel=1)
    host.run(job)
    host.submit(held)
    until(lambda: host.state(held) == "running")
    host.submit(job, again=[job["id"]])
    old_runs(host)
    assert look(host, rule="best") == {}, "it waits"
    host.wire.call("stop", jobs=[("s", held["id"])], grace=0)
    until(lambda: host.report(job)["attempt"] == 3 and host.state(job) == "running")
    old_runs(host)
    assert look(host, rule="best") == {}, "it runs"


def test_a_model_from_which_another_job_reads_stays(host: LocalHost) -> None:
    """Not the one that counts: whoever queued a job with its path wants that one."""
    job, held = host.job("j", sh(FAILS_FIRST)), host.job("held", ("/bin/sleep", "600"))
    host.run(job, parallel=1)
    host.run(job)
    host.submit(held)
    until(lambda: host.state(held) == "running")
    host.submit(host.job("reader", ("/bin/cat", str(host.folder(job, 1).checkpoint("best")))))
    old_runs(host)
    assert look(host) == {}
    host.wire.call("stop", jobs=[("s", held["id"])], grace=0)
    host.finish(3)
    old_runs(host)
    assert len(look(host)) == 1, "it has read it"


def test_a_fenced_result_does_not_count(host: LocalHost) -> None:
    job = host.job("j", sh(MODELS))
    host.run(job)
    host.submit(job, again=[job["id"]])
    until(lambda: host.report(job)["attempt"] == 2 and host.state(job) == "done")
    old_runs(host)
    assert {item["name"].split("/")[3] for item in look(host).values()} == {"attempt-01"}


# --- Environments ----------------------------------------------------------------------------------------------------


def environment(host: LocalHost, lock: str, created: float) -> Path:
    """A verified environment, as its record says."""
    from jobs import envs

    folder = envs.EnvFolder(host.home.path, "x86_64", lock)
    Path(folder.python).parent.mkdir(parents=True)
    Path(folder.python).write_text("#!/bin/sh\nexit 0\n")
    Path(folder.python).chmod(0o755)
    told = {"torch": "2.9", "created": created, "contents": envs.contents(folder.prefix)}
    Path(folder.record).write_text(json.dumps(told))
    Path(folder.build).write_text("{}")
    for path in (Path(folder.prefix), Path(folder.build)):
        age(path)
    return Path(folder.prefix)


def test_only_older_verified_environments_go(host: LocalHost) -> None:
    old, used, newest = (environment(host, digit * 8, float(digit)) for digit in "123")
    half_made = newest.parent / "44444444"
    half_made.mkdir()
    age(half_made)
    host.submit(host.job("r", ("/bin/sleep", "600")), host.job("w", (str(used / "bin/python"),)), parallel=1)
    age(used)
    (item,) = park(host)["parked"]
    assert item["pieces"] == ["envs/x86_64/11111111", "envs/x86_64/11111111.build.json"]
    assert not old.exists() and used.exists() and newest.exists() and half_made.exists()
    host.wire.call("gc_restore", name=item["name"])
    assert (old / "bin/python").exists() and (old.parent / "11111111.build.json").exists()


def test_an_environment_in_which_a_process_runs_stays(host: LocalHost) -> None:
    old, _ = (environment(host, digit * 8, float(digit)) for digit in "12")
    program = old / "bin/python"
    program.unlink()
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as process:
        until(lambda: machine.program(process.pid)[1][:1] == [str(program)])
        age(old)
        answer = park(host)
        process.kill()
    assert answer["parked"] == [] and str(process.pid) in answer["left"][0]["reason"]


def test_while_a_setup_is_at_work_environments_stay(host: LocalHost) -> None:
    from jobs.envs import EnvFolder
    from jobs.shared_lock import shared_lock

    environment(host, "1" * 8, 1.0), environment(host, "2" * 8, 2.0)
    lease = EnvFolder(host.home.path, "x86_64", "").lease
    Path(lease).parent.mkdir(parents=True)
    with shared_lock(lease):
        assert [item["reason"] for item in park(host)["left"]] == [
            f"process {os.getpid()} on {machine.name()} is at work on the same files"
        ]
    assert len(park(host)["parked"]) == 1


# --- Half-made folders -----------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_goes_and_a_living_ones_stays(host: LocalHost) -> None:
    """Injected: a process is killed while it makes a snapshot; another, as old, lives; of a third nobody knows."""
    Path(host.home.code).mkdir()
    target = str(Path(host.home.code, "0" * 16))
    program = "import sys, os, time; from jobs.aside import aside; name = aside(sys.argv[1]); os.mkdir(name)"
    done = [sys.executable, "-c", program + "; print(name)", target]
    left = Path(subprocess.run(done, capture_output=True, text=True, check=True).stdout.rstrip("\n").split("\n", 0)[0])
    mine, unknown, young = Path(aside(target)), Path(host.home.code, ".0123.4567"), Path(aside(target) + "x")
    for path in (mine, unknown):
        path.mkdir()
    for path in (left, mine, unknown):
        age(path)
    assert not young.exists()
    (item,) = look(host).values()
    assert item["name"] == "code/" + left.name and "has ended" in item["why"]
    assert dead(left.name) and not dead(mine.name) and not dead(unknown.name)


def test_another_host_proves_nothing(host: LocalHost) -> None:
    name = Path(aside("/x/attempt-01")).name
    gone = name.replace("~" + str(os.getpid()) + "~", "~4194304~")
    assert dead(gone)
    assert not dead(gone.replace(machine.name() + "~", "x" + machine.name() + "~"))
    earlier = name.replace(machine.boot_id(), "0" * 8 + machine.boot_id()[8:])
    assert "earlier boot" in dead(earlier)
    assert not dead(earlier.replace("~m" + identity(), "~m" + "0" * 16)), "another machine may bear our name"


def test_a_file_with_another_name_elsewhere_frees_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(bytes(100))
    (tmp_path / "a/two").write_bytes(bytes(10))
    os.link(tmp_path / "a/one", tmp_path / "elsewhere")
    os.link(tmp_path / "a/two", tmp_path / "a/three")
    assert weigh(str(tmp_path / "a")) == {"bytes": 10, "files": 2}
