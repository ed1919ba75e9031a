"""What must hold of a host whatever happens: its jobs, two laptops that use it, and the promises to hold them against.

What must hold at any time is looked at after each step, the rest once all faults are over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from local_host import ENDED, until
from unlucky_host import Line, UnluckyHost

from jobs.attempt import read_exit
from jobs.errors import DiskError, NotFound, OrchError, Unreachable, WireError
from jobs.folder import RunFolder
from jobs.host import is_alive
from jobs.wire import Wire
from orchestrator.collect import refresh
from orchestrator.fleet import Fleet
from orchestrator.store import Index, compare

SETTINGS = settings(
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate],  # a run that needs a race to fail is not made smaller by running it again
    suppress_health_check=list(HealthCheck),
)
JOBS, SIDE_BY_SIDE = 20, 4
SETTLE = 60.0  # seconds that the host has to come to rest once all faults are over
# Each program says that it began and how it ends in files that are only appended to; `flock` tells whether another
# attempt of the same job still lives.
PROGRAM = """
echo "$ORCH_RUN" >> starts
echo '{"seq":0,"t":1.0,"kind":"metrics","step":1,"values":{"loss":0.5}}' >> "$ORCH_RUN/events.jsonl"
code=0
%s
echo '{"seq":1,"t":2.0,"kind":"metrics","step":2,"values":{"loss":0.25}}' >> "$ORCH_RUN/events.jsonl"
echo "$ORCH_RUN $code" >> ends
exit $code
"""
KINDS = (
    "",
    "code=3",
    "until [ -e open ]; do sleep 0.1; done",
    "until [ -e open ]; do sleep 0.1; done; code=3",
    """sleep 0.1; echo '{"contract":1,"values":{"score":1}}' > "$ORCH_RUN/result.json" """,
)
ALONE = ("flock", "-n", "-E", "99")  # exit status 99: another attempt lives

numbers = st.lists(st.integers(0, JOBS - 1), min_size=1, max_size=6, unique=True)
number = st.integers(0, JOBS - 1)
laptops = st.sampled_from((0, 1))
soon = st.integers(0, 40)  # ms


class PromisedHost(RuleBasedStateMachine):
    """One host with its jobs; two laptops that have the same orch home."""

    tally: ClassVar[Counter[str]] = Counter()  # over all runs of this process: faults by kind, jobs

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="orch-machine-"))
        os.environ["ORCH_LOCAL"] = str(self.base / "local")
        self.host = UnluckyHost(self.base)
        self.wires: dict[int, Wire] = {0: self.host.wire}
        self.contacts: dict[int, Any] = {}  # what `refresh` remembers of each connection
        self.indexes = [Index.open(self.base / f"laptop{one}.db", force=True) for one in (0, 1)]
        self.stranger = subprocess.Popen(["sleep", "3600"], env={"PATH": os.environ["PATH"]})
        self.accepted: set[int] = set()  # jobs of which an agent said that they are queued
        self.touched: set[int] = set()  # jobs that were stopped, or killed, or lost with their watcher
        self.excused: set[str] = set()  # attempts that may have no exit record: nobody was left to write it
        self.disk_was_full = False
        self.torn: set[int] = set()  # jobs in batches that were damaged
        cells = [{"id": self.job(one)["id"], "label": f"j{one}", "names": {}} for one in range(JOBS)]
        record = {"name": "s", "created": 1.0, "updated": 1.0, "cells": cells}
        self.host.wire.call("submit", record=record, jobs=[], parallel=SIDE_BY_SIDE)

    # --- What a person does -----------------------------------------------------------------------------------------

    def job(self, which: int) -> dict[str, Any]:
        """The specification of a job."""
        argv = (*ALONE, f"{which}.lock", "sh", "-c", PROGRAM % KINDS[which % len(KINDS)])
        return self.host.job(f"j{which}", argv)

    def wire(self, laptop: int) -> Wire | None:
        """A laptop's connection, made anew where there is none; None while the host refuses it."""
        if laptop not in self.wires:
            self.contacts.pop(laptop, None)
            try:
                self.wires[laptop] = self.host.connect()
            except DiskError:
                assert self.disk_was_full
        return self.wires.get(laptop)

    def hang_up(self, laptop: int) -> None:
        """Close a connection, in whatever state it is."""
        if laptop in self.wires:
            self.wires.pop(laptop).close()

    def line(self, laptop: int) -> Line:
        """The pipe below a laptop's connection."""
        return cast(Line, self.wires[laptop]._pipe)

    def ask(self, laptop: int, verb: str, **arguments: Any) -> dict[str, Any] | None:
        """Ask an agent; None where it said no, or said nothing."""
        try:
            wire = self.wire(laptop)
            return wire.call(verb, **arguments) if wire else None
        except (Unreachable, WireError):
            self.hang_up(laptop)
        except NotFound:
            pass
        except DiskError:
            assert self.disk_was_full
        return None

    def count(self, which: list[int], answer: dict[str, Any] | None) -> None:
        """Take an agent's word for what is queued."""
        if answer:
            assert all(one["attempt"] or one["action"] for one in answer["jobs"]), answer
            self.accepted.update(which)

    @rule(laptop=laptops, which=numbers)
    def submit(self, laptop: int, which: list[int]) -> None:
        jobs = [self.job(one) for one in which]
        self.count(which, self.ask(laptop, "submit", record=None, jobs=jobs))

    @rule(which=numbers, again=st.booleans())
    def submit_from_two_laptops(self, which: list[int], again: bool) -> None:
        jobs = [self.job(one) for one in which]
        ids = [job["id"] for job in jobs] if again else []
        with contextlib.suppress(OrchError):
            asked = [
                (wire, wire.post("submit", record=None, jobs=jobs, again=ids))
                for wire in (self.wire(0), self.wire(1))
                if wire
            ]
            for wire, post in asked:
                self.count(which, wire.answer(post))
        self.tally["two laptops"] += 1

    @rule(laptop=laptops, which=number)
    def retry(self, laptop: int, which: int) -> None:
        job = self.job(which)
        self.count([which], self.ask(laptop, "submit", record=None, jobs=[job], again=[job["id"]]))

    @rule(laptop=laptops, which=number, grace=st.sampled_from((0.0, 30.0)))
    def stop(self, laptop: int, which: int, grace: float) -> None:
        self.touched.add(which)
        self.ask(laptop, "stop", jobs=[["s", self.job(which)["id"]]], grace=grace)

    @rule(laptop=laptops, pick=st.integers(0, 3), grace=st.sampled_from((0.0, 30.0)))
    def stop_what_runs(self, laptop: int, pick: int, grace: float) -> None:
        self.let_something_run()
        for lock, _ in list(self.host.begun())[pick : pick + 1]:
            self.stop(laptop, self.number_of(self.host.folder_of(lock)), grace)

    @rule(which=number, wait=soon)
    def stop_during_start(self, which: int, wait: int) -> None:
        self.tally["stop during start"] += 1
        self.touched.add(which)
        self.submit(0, [which])
        time.sleep(wait / 1000)
        self.ask(1, "stop", jobs=[["s", self.job(which)["id"]]], grace=1.0)

    def let_something_run(self) -> None:
        """What befalls running jobs needs one: it is asked for unless there is one, and given a second to start."""
        if not self.host.running():
            self.let_go(False)
            self.retry(0, 2)
            with contextlib.suppress(AssertionError):
                until(self.host.running, 1.0)

    @rule(opened=st.booleans())
    def let_go(self, opened: bool) -> None:
        gate = self.host.work / "open"
        gate.touch() if opened else gate.unlink(missing_ok=True)

    @rule(laptop=laptops)
    def collect(self, laptop: int) -> None:
        try:
            wire = self.wire(laptop)
            if wire:
                self.take_in(self.contacts.setdefault(laptop, self.contact(wire)), self.indexes[laptop])
        except OrchError as error:
            assert isinstance(error, (Unreachable, WireError)) or self.disk_was_full, error
            self.hang_up(laptop)

    def contact(self, wire: Wire) -> Any:
        """What stands for `dispatch.Contact`, which would open another connection."""
        about = {"host": self.host.about["host"], "home_id": self.host.about["id"]}
        return SimpleNamespace(name="local", shown="local", wire=wire, looked=False, **about)

    def take_in(self, contact: Any, index: Index) -> None:
        """Bring what is new into an index, as `orch sync` does."""
        refresh(Fleet({"local": contact}), index)

    @rule(laptop=laptops)
    def leave(self, laptop: int) -> None:
        self.hang_up(laptop)

    @rule(wait=soon)
    def wait(self, wait: int) -> None:
        time.sleep(wait / 1000)

    # --- What must hold ---------------------------------------------------------------------------------------------

    def excuse(self, folder: RunFolder) -> None:
        """An attempt may have no exit record from now on."""
        self.excused.add(folder.path)
        self.touched.add(self.number_of(folder))

    def number_of(self, folder: RunFolder) -> int:
        """Which of our jobs a run folder belongs to."""
        return next(one for one in range(JOBS) if self.job(one)["id"] == folder.job_id)

    @invariant()
    def nothing_is_started_twice(self) -> None:
        self.tally["steps"] += 1
        starts = Counter(self.lines("starts"))
        assert not [run for run, times in starts.items() if times > 1], starts
        assert self.stranger.poll() is None, "a foreign process was signalled"

    def lines(self, name: str) -> list[str]:
        """What the programs have written into a file of theirs."""
        path = self.host.work / name
        return path.read_text().splitlines() if path.exists() else []

    def teardown(self) -> None:
        try:
            self.settle()
            self.check()
        finally:
            for laptop in list(self.wires):
                with contextlib.suppress(Exception):
                    self.hang_up(laptop)
            self.host.close()
            for index in self.indexes:
                index.close()
            self.stranger.kill()
            self.stranger.wait()
            shutil.rmtree(self.base)

    def settle(self) -> None:
        """Let all faults be over, and the host come to rest."""
        self.host.make_room()
        self.host.noise, self.host.clock = "", 0
        self.let_go(True)
        for laptop in list(self.wires):
            self.hang_up(laptop)
        self.queue_goes_on_by_itself()
        until(self.has_ended, SETTLE, "every job has ended")
        until(lambda: set(self.host.processes()) <= set(self.host.agents()), SETTLE, "keeper and watchers have left")

    def queue_goes_on_by_itself(self) -> None:
        """No laptop is there: as long as one watcher lives, all that waits is begun."""
        watched = any(is_alive(*found["watcher"]) for _, found in self.host.begun())
        until(lambda: not self.host.processes(), SETTLE, "all that runs has ended")
        if watched and not self.disk_was_full:
            assert not self.batches(), "the queue stands still"

    def batches(self) -> list[Path]:
        """What waits in the queue."""
        return sorted(Path(self.host.home.queue(self.host.about["host"])).glob("*.jsonl"))

    def has_ended(self) -> bool:
        """Tell whether every job that was accepted has an ending."""
        self.collect(0)
        if 0 not in self.wires:
            return False
        states = {row.id: row.state if row.attempts else "" for row in self.indexes[0].jobs()}
        ended = {one for one in range(JOBS) if states[self.job(one)["id"]] in ENDED}
        asked = {one for one in range(JOBS) if states[self.job(one)["id"]]}
        return ended == asked and self.accepted <= ended | self.torn

    def check(self) -> None:
        """Hold what is left against the promises."""
        folders = list(self.host.home.run_folders())
        self.tally["jobs"] += len(self.accepted)
        self.tally["attempts"] += len(folders)
        self.no_exit_is_lost(folders)
        self.jobs_end_as_they_do_alone()
        self.nobody_met_another_attempt(folders)
        self.index_is_what_the_folders_say()
        self.nothing_is_left()

    def no_exit_is_lost(self, folders: list[RunFolder]) -> None:
        said = dict(line.rsplit(" ", 1) for line in self.lines("ends"))
        for folder in folders:
            record = read_exit(folder, self.host.local)
            assert record or folder.path in self.excused, f"no exit record: {folder.path}"
            if record and folder.path in said and record["signal"] is None:
                assert record["status"] == int(said[folder.path]), (record, said[folder.path])

    def jobs_end_as_they_do_alone(self) -> None:
        """A job that nobody stopped or killed ends as if nothing had happened around it."""
        states = {row.id: row.state for row in self.indexes[0].jobs()}
        for one in self.accepted - self.touched - self.torn if not self.disk_was_full else ():
            assert states[self.job(one)["id"]] == ("failed" if "code=3" in KINDS[one % len(KINDS)] else "done"), (
                f"j{one}"
            )

    def nobody_met_another_attempt(self, folders: list[RunFolder]) -> None:
        met = [folder.path for folder in folders if (read_exit(folder) or {}).get("status") == 99]
        assert not met, f"an attempt began while another one of its job lived: {met}"

    def index_is_what_the_folders_say(self) -> None:
        """Each laptop's index, kept from piece to piece, and one that is made from nothing."""
        with Index.open(self.base / "anew.db", force=True) as anew, self.host.connect() as wire:
            self.take_in(self.contact(wire), anew)
            for laptop in (0, 1):
                self.collect(laptop)
                found = compare(self.indexes[laptop].content(), anew.content())
                assert not found, found

    def nothing_is_left(self) -> None:
        self.hang_up(0)
        self.hang_up(1)
        until(lambda: not self.host.processes(), what="nothing is resident")
        assert not self.batches()
