"""Any order of faults of Slurm, of squeue's answers, of sbatch and of the keeper: nothing comes twice, nothing is lost.

Time stands still while faults come: no cached squeue lasts for minutes. It passes when they are over.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from local_host import make_home
from standins.slurm import ANSWERS, Cluster

from jobs import absences, arrays, attempt, handing, slurm, slurm_client
from jobs.folder import HostFolder
from jobs.handing import Handing
from jobs.holds import Holds
from jobs.queue import Entry, Key

pytestmark = pytest.mark.slow
ROUNDS = 12  # looks after which all must have begun or ended, once no more faults come


class Machine(RuleBasedStateMachine):
    """One keeper and the Slurm of `standins.slurm`; the machine starts, ends, cancels and loses its jobs."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        base = Path(self.folder.name)
        self.patch.setenv("PATH", f"{base / 'bin'}{os.pathsep}{os.environ['PATH']}")
        for module, name, value in (
            (slurm_client, "FRESH", 0.0),
            (slurm_client, "SILENCE", 0.0),
            (handing, "PUZZLED", 0.0),
            (handing, "AGAIN", 0.0),
            (absences, "APART", 0.0),
        ):
            self.patch.setattr(module, name, value)
        self.time_passes(False)
        self.cluster = Cluster(base / "cluster", self._program(base / "bin"))
        self.local = HostFolder(str(base / "place"))
        self.home = make_home(base / "home", self.local)
        Path(self.local.path).mkdir()
        self.entries: dict[Key, Entry] = {}
        self.cancelled: set[Key] = set()
        self.restart()

    def time_passes(self, passes: bool) -> None:
        self.patch.setattr(handing, "UNSURE", 0.0 if passes else 1e9)
        self.patch.setattr(absences, "SPAN", 0.0 if passes else 1e9)

    @staticmethod
    def _program(folder: Path):  # type: ignore[no-untyped-def]
        folder.mkdir()

        def place(name: str, text: str) -> Path:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
            return folder / name

        return place

    @rule()
    def restart(self) -> None:
        """Injected: the keeper is killed; the next one finds what lies on the disk."""
        self.keeper = Handing(self.home, self.local, "login", lambda text: None)
        for key, entry in self.entries.items():
            if not self._begun(key):
                self.keeper.add(entry)

    @rule(count=st.integers(1, 4))
    def add(self, count: int) -> None:
        for _ in range(count):
            number = len(self.entries)
            about = {"sweep": "s", "id": f"{number:016x}", "attempt": 1, "placement": {"slurm": {}}}
            job = {**about, "resources": {"cpus": 1}, "argv": [sys.executable]}
            entry = Entry("batch", ("s", f"{number:016x}", 1), json.dumps(job).encode())
            self.entries[entry.key] = entry
            self.keeper.add(entry)

    @rule()
    def look(self) -> None:
        held = self.keeper.tend().back
        if held:  # a person looks, and lets them go
            Holds(self.local).release(["s"])
            for entry in held:
                self.keeper.add(entry)

    @rule(fault=st.sampled_from(["silent", "down", "full", "none"]))
    def slurm_is(self, fault: str) -> None:
        """Injected: sbatch fails after it was accepted; the controller is away; nothing more is admitted."""
        self.cluster.unset("silent", "down")
        self.cluster.set("limit", "2" if fault == "full" else "1000")
        if fault in ("silent", "down"):
            self.cluster.set(fault)

    @rule(answers=st.sampled_from(ANSWERS))
    def squeue_answers(self, answers: str) -> None:
        """Injected: squeue leaves out rows, cuts or colours them, adds words, headers and other people's, or is old."""
        self.cluster.set("answers", answers)

    @rule(silent=st.booleans())
    def controller_tells(self, silent: bool) -> None:
        """Injected: scontrol, which is seldom a wrapper, tells of no job either."""
        self.cluster.unset("controller")
        if silent:
            self.cluster.set("controller")

    @precondition(lambda self: self.cluster.tasks)
    @rule(data=st.data())
    def begins(self, data: st.DataObject) -> None:
        """A job begins, and goes on."""
        task = data.draw(st.sampled_from(self.cluster.tasks))
        key = self._key_of(task)
        if key and not self._begun(key):
            given = {"job": task, "login": "login", "name": self._name_of(task), "node": "n1"}
            attempt.publish(self.home.attempt(*key), self.entries[key].job, {"slurm": given}, self.local)

    @precondition(lambda self: self.cluster.tasks)
    @rule(data=st.data(), what=st.sampled_from(["runs to its end", "cancelled", "forgotten", "fails"]))
    def job(self, data: st.DataObject, what: str) -> None:
        task = data.draw(st.sampled_from(self.cluster.tasks))
        self._job(task, what)

    def _job(self, task: str, what: str) -> None:
        key = self._key_of(task)
        if what == "runs to its end":
            if key and not self._begun(key):
                attempt.publish(self.home.attempt(*key), self.entries[key].job, {}, self.local)
            self.cluster.leave(task, how="COMPLETED" if key else "FAILED")
        elif key and not self._begun(key):  # what runs is not of interest here: it is looked after by its watcher
            self.cancelled |= {key} if what in ("cancelled", "forgotten") else set()
            self.cluster.leave(task, how={"cancelled": "CANCELLED", "fails": "FAILED"}.get(what, ""))

    def _key_of(self, task: str) -> Key | None:
        """As `slurmtask` finds its job: the array's folder by its name, the line by the task's number."""
        path = Path(arrays.folder_of(self.home, "login"), self._name_of(task).rpartition(".")[2], "jobs.jsonl")
        if not path.exists():
            return None
        job = json.loads(path.read_bytes().splitlines()[int(task.rpartition("_")[2])])
        return job["sweep"], job["id"], job["attempt"]

    def _name_of(self, task: str) -> str:
        return next(line.split("|")[2] for line in self._lines() if line.startswith(task + "|"))

    def _lines(self) -> list[str]:
        return (self.cluster.base / "tasks").read_text().splitlines()

    def _begun(self, key: Key) -> bool:
        return Path(self.home.attempt(*key).path).is_dir()

    @invariant()
    def nobody_is_in_slurm_twice(self) -> None:
        if hasattr(self, "cluster"):
            keys = [key for key in map(self._key_of, self.cluster.tasks) if key]
            assert len(keys) == len(set(keys)), keys

    @invariant()
    def nobody_who_lives_is_called_dead(self) -> None:
        for task in self.cluster.tasks if hasattr(self, "cluster") else ():
            key = self._key_of(task)
            if key and self._begun(key):
                folder = self.home.attempt(*key)
                job = attempt.read_job(folder) or {}
                if slurm.task_of(job) == task:
                    assert attempt.evidence(folder, job, self.local).lock != "free", task

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        try:
            self.slurm_is("none")
            self.squeue_answers("good")
            self.controller_tells(False)
            self.time_passes(True)
            for _ in range(ROUNDS):
                self.look()
                for task in self.cluster.tasks:
                    self._job(task, "runs to its end")
            assert all(map(self._begun, self.entries)), "lost"
            assert not self.keeper.waiting and not arrays.arrays(self.home, "login")
        finally:
            self.patch.undo()
            self.folder.cleanup()


TestHandingMachine = Machine.TestCase
TestHandingMachine.settings = settings(
    max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
