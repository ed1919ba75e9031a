"""A host for tests: a real agent on this machine, with an orch home and a host-local folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import host
from jobs.folder import Home, HostFolder, RunFolder
from jobs.pipe import ProcessPipe
from jobs.spec import Cell, JobSpec, Resources
from jobs.wire import Wire, boot_arguments

ENDED = {"done", "failed", "stopped", "interrupted"}


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Return the condition's first true value; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s: {what or condition}"
        time.sleep(0.01)
    return value


def sh(script: str) -> tuple[str, ...]:
    """Return the argv of a shell script."""
    return ("/bin/sh", "-c", script)


def make_home(path: Path, local: HostFolder) -> Home:
    """Make the smallest home to which a host-local folder belongs."""
    path.mkdir(parents=True, exist_ok=True)
    home = Home(str(path))
    Path(home.identity).write_text(json.dumps({"contract": 1, "id": local.home_id, "secret": "00"}))
    return home


def fill(path: Path) -> None:
    """Write into a file until the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for block in (bytes(4096), bytes(1)):
            with contextlib.suppress(OSError):
                while os.write(descriptor, block):
                    pass
    finally:
        os.close(descriptor)


class LocalHost:
    """This machine as a host; `ORCH_LOCAL` in the environment names its host-local root."""

    def __init__(self, home: Path, local: Path, work: Path) -> None:
        self.home, self.root, self.work = Home(str(home)), local, work
        self.wire = self.connect()
        self.local = HostFolder.of(self.about["id"])
        self.known: dict[str, dict[str, Any]] = {}

    def connect(self) -> Wire:
        """Return another wire to another agent, the home opened."""
        wire = Wire(ProcessPipe("local", boot_arguments(sys.executable)), timeout=60)
        self.about = wire.call("open", home=self.home.path)
        return wire

    def job(self, label: str, argv: tuple[str, ...], *, sweep: str = "s", **more: Any) -> dict[str, Any]:
        """Return the specification of a command; its label is all of its cell."""
        resources = Resources(**more.pop("resources", {}))
        cell = Cell("command", {"label": label})
        more = {"cwd": str(self.work), **more}
        return JobSpec(sweep, label, {}, cell, argv, resources=resources, **more).to_json()

    def submit(self, *jobs: dict[str, Any], wire: Wire | None = None, **more: Any) -> dict[str, Any]:
        """Queue jobs."""
        return (wire or self.wire).call("submit", record=None, jobs=list(jobs), **more)

    def collect(self) -> dict[str, dict[str, Any]]:
        """Return the last report of each job, by sweep/id."""
        for chunk in self.wire.stream("collect"):
            for report in chunk:
                key = "{}/{}".format(report["sweep"], report["job"])
                before = self.known.get(key, {})
                merged = {**report, "events": before.get("events", []) + report["events"]}
                merged["spec"] = report["spec"] or before.get("spec")
                self.known[key] = merged
        return self.known

    def report(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the last report of one job."""
        return self.collect().get("{}/{}".format(job["sweep"], job["id"]), {"verdict": {"state": ""}})

    def state(self, job: dict[str, Any]) -> str:
        """Return a job's state."""
        return str(self.report(job)["verdict"]["state"])

    def states(self) -> list[str]:
        """Return all states, sorted."""
        return sorted(report["verdict"]["state"] for report in self.collect().values())

    def finish(self, count: int, seconds: float = 40.0) -> list[str]:
        """Wait until `count` jobs have ended; return their states."""
        until(lambda: sum(state in ENDED for state in self.states()) >= count, seconds, f"{count} jobs ended")
        return self.states()

    def run(self, *jobs: dict[str, Any], seconds: float = 40.0, **more: Any) -> dict[str, Any]:
        """Queue jobs, wait for them, return the last one's report."""
        self.submit(*jobs, **more)
        for job in jobs:
            until(lambda job=job: self.state(job) in ENDED, seconds, f"{job['label']} ended")
        return self.report(jobs[-1])

    def folder(self, job: dict[str, Any], attempt: int = 1) -> RunFolder:
        """Return a run folder."""
        return self.home.attempt(job["sweep"], job["id"], attempt)

    def log(self, job: dict[str, Any], attempt: int = 1) -> str:
        """Return a log."""
        return Path(self.folder(job, attempt).log).read_text()

    def processes(self) -> list[int]:
        """Return all processes of this host: agents, keepers, watchers and jobs were started with its ORCH_LOCAL."""
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in found if pid != os.getpid() and host.has_variable(pid, "ORCH_LOCAL", str(self.root))]

    def keepers(self) -> list[int]:
        """Return the processes that took the keeper's lock (proc(5), `locks`; a watcher just forked inherits it)."""
        try:
            inode = str(Path(self.local.keeper_lock).stat().st_ino)
        except FileNotFoundError:
            return []
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
        pids = [int(words[4]) for words in locks if words[1] == "FLOCK" and words[5].endswith(":" + inode)]
        ours = [
            pid for pid in pids if host.has_variable(pid, "ORCH_LOCAL", str(self.root))
        ]  # inodes of other disks too
        return [pid for pid in ours if host.is_alive(pid, None)]

    def identity(self, job: dict[str, Any], attempt: int = 1) -> dict[str, Any]:
        """Return what the attempt's lock file says of watcher and job, once the job has been started."""
        from jobs.atomic import read_json

        path = self.local.attempt_lock(self.folder(job, attempt))
        return until(lambda: (found := read_json(path)) and found["job"][0] and found, what="an identity")  # type: ignore[no-any-return]

    def agents(self) -> list[int]:
        """Return our own children: the agents of the open wires."""
        return [pid for pid in self.processes() if _parent(pid) == os.getpid()]

    def settle(self) -> None:
        """Wait until nothing but the agents lives."""
        until(lambda: set(self.processes()) <= set(self.agents()), what="keeper and watchers have left")

    def close(self) -> None:
        """End everything that was started."""
        with contextlib.suppress(Exception):
            self.wire.close()
        deadline, quiet = time.monotonic() + 20, 0
        while quiet < 3 and time.monotonic() < deadline:  # a process that is just being started shows no environment
            left = self.processes()
            quiet = 0 if left else quiet + 1
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        assert quiet, f"processes are left: {left}"


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
