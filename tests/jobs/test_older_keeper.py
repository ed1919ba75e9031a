"""An older keeper at work while a newer laptop looks: what it begins stands on no list, and is told all the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from local_host import ENDED, LocalHost, sh, until

from jobs.attempt import evidence, read_job
from jobs.queue import Queue

ROOT = Path(__file__).parents[2]
LANDED = "7ea030d"  # the commit before the protocol between versions was looked at


def old_tree(commit: str, folder: Path) -> Path:
    """The sources of an earlier commit; skips where this checkout has no history."""
    words = ["git", "-C", str(ROOT), "archive", commit, "jobs"]
    packed = subprocess.run(words, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history of this checkout does not reach {commit}: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("commit", [LANDED, "first without lists"])
def test_jobs_of_an_older_tree_are_followed_and_stopped(
    commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: 21 jobs queued and begun by agent and keeper of an earlier commit, followed and stopped by this one.

    Lost: none; begun twice: none; shown as queued for ever: none.
    """
    if commit != LANDED:
        words = ["git", "-C", str(ROOT), "log", "--format=%H", "--diff-filter=A", "--", "jobs/begun.py"]
        found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
        if not found:
            pytest.skip("the history of this checkout does not reach the lists' first day: git fetch --unshallow")
        commit = found[-1] + "~1"
    tree = old_tree(commit, tmp_path / "old")
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    (tmp_path / "work").mkdir()
    host = LocalHost(tmp_path / "home", tmp_path / "local", tmp_path / "work")
    try:
        jobs = [host.job(f"j{number}", sh(f"sleep 0.1; echo {number} >> ran")) for number in range(19)]
        long = host.job("long", sh("exec sleep 600"))
        ask = "import sys, json; sys.path.insert(0, sys.argv[1]); from jobs.wire import Wire, boot_arguments;"
        ask += "from jobs.pipe import ProcessPipe; asked = json.load(sys.stdin);"
        ask += "wire = Wire(ProcessPipe('local', boot_arguments(sys.executable)));"
        ask += "wire.call('open', home=asked['home']);"
        ask += (
            "print(wire.call('submit', record=None, jobs=asked['jobs'], parallel=2)['jobs'][0]['action']); wire.close()"
        )
        for some in ([long, *jobs], [host.job("late", sh("echo late >> ran"))]):
            asked = json.dumps({"home": host.home.path, "jobs": some})
            words = [sys.executable, "-I", "-c", ask, str(tree)]
            done = subprocess.run(words, input=asked, text=True, capture_output=True, check=False, env=os.environ)
            assert done.returncode == 0, done.stderr
        until(lambda: sum(host.state(job) in ENDED for job in jobs) == 19, 60, "all are told as ended")
        assert {host.state(job) for job in jobs} == {"done"}
        host.wire.call("stop", jobs=[["s", long["id"]]], grace=1.0)
        until(lambda: host.state(long) == "stopped")
        assert sorted((tmp_path / "work" / "ran").read_text().split()) == sorted([*map(str, range(19)), "late"])
        until(lambda: not list(Queue(host.home, host.about["host"]).waiting()), what="nothing waits")
        first = read_job(host.folder(jobs[0]))
        assert first and evidence(host.folder(jobs[0]), first, host.local).exit_status == 0
    finally:
        host.close()
