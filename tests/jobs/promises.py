"""What must hold of a host whatever happens: its jobs, two laptops that use it, and the record that the judge reads.

The judge (`tests/judge.py`) decides after each step what must hold at any time, and the rest once all faults are over.
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
from judge import judge, read
from local_host import ENDED, until
from record import PRELUDE, Record
from unlucky_host import Line, UnluckyHost

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
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
JOBS, SIDE_BY_SIDE = 20, 4
SETTLE = 60.0  # seconds that the host has to come to rest once all faults are over
PROGRAM = (
    "RECORD=record JOB=(job)"
    + PRELUDE
    + """
echo '{"seq":0,"t":1.0,"kind":"metrics","step":1,"values":{"loss":0.5}}' >> "$ORCH_RUN/events.jsonl"
code=0
(work)
echo '{"seq":1,"t":2.0,"kind":"metrics","step":2,"values":{"loss":0.25}}' >> "$ORCH_RUN/events.jsonl"
finish $code
"""
)
KINDS = (
    "",
    "code=3",
    "until [ -e open ]; do sleep 0.1; done",
    "until [ -e open ]; do sleep 0.1; done; code=3",
    """sleep 0.1; echo '{"contract":1,"values":{"score":1}}' > "$ORCH_RUN/result.json" """,
)

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
        self.record = Record(self.host.work / "record")
        self.told: dict[tuple[int | str, str, int], tuple[Any, ...]] = {}  # what each one has told last
        self.disk_was_full = False
        self.torn: set[int] = set()  # jobs in batches that were damaged
        cells = [{"id": self.job(one)["id"], "label": f"j{one}", "names": {}} for one in range(JOBS)]
        record = {"name": "s", "created": 1.0, "updated": 1.0, "cells": cells}
        self.host.wire.call("submit", record=record, jobs=[], parallel=SIDE_BY_SIDE)

    # --- What a person does -----------------------------------------------------------------------------------------

    def job(self, which: int) -> dict[str, Any]:
        """The specification of a job."""
        script = PROGRAM.replace("(job)", f"j{which}").replace("(work)", KINDS[which % len(KINDS)])
        return self.host.job(f"j{which}", ("sh", "-c", script))

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
            for one in set(which) - self.accepted:
                self.record.accepted(f"j{one}")
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
        self.record.disturbed(f"j{which}", "stopped")
        self.ask(laptop, "stop", jobs=[["s", self.job(which)["id"]]], grace=grace)

    @rule(laptop=laptops, pick=st.integers(0, 3), grace=st.sampled_from((0.0, 30.0)))
    def stop_what_runs(self, laptop: int, pick: int, grace: float) -> None:
        self.let_something_run()
        for lock, _ in list(self.host.begun())[pick : pick + 1]:
            self.stop(laptop, self.number_of(self.host.folder_of(lock)), grace)

    @rule(which=number, wait=soon)
    def stop_during_start(self, which: int, wait: int) -> None:
        self.tally["stop during start"] += 1
        self.record.disturbed(f"j{which}", "stopped")
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
        self.tell(self.indexes.index(index) if index in self.indexes else "rebuilt", index)

    def tell(self, by: int | str, index: Index, *, again: bool = False) -> None:
        """Write down what an index says of each attempt, where it is another word than before; `again` says all."""
        names = {self.job(one)["id"]: f"j{one}" for one in range(JOBS)}
        for row in index.attempts("s"):
            said = (row.state, (row.exit or {}).get("status"))
            if again or self.told.get((by, row.job, row.number)) != said:
                self.told[by, row.job, row.number] = said
                self.record.told(f"laptop {by}", names[row.job], row.number, *said)
        for job in index.jobs("s") if again else ():
            if job.counted:
                self.record.counts(f"laptop {by}", names[job.id], job.counted)

    @rule(laptop=laptops)
    def leave(self, laptop: int) -> None:
        self.hang_up(laptop)

    @rule(wait=soon)
    def wait(self, wait: int) -> None:
        time.sleep(wait / 1000)

    # --- What must hold ---------------------------------------------------------------------------------------------

    def excuse(self, folder: RunFolder) -> None:
        """An attempt may have no exit record from now on."""
        self.record.unwitnessed(f"j{self.number_of(folder)}", folder.attempt)
        self.record.disturbed(f"j{self.number_of(folder)}", "lost its watcher or its host")

    def number_of(self, folder: RunFolder) -> int:
        """Which of our jobs a run folder belongs to."""
        return next(one for one in range(JOBS) if self.job(one)["id"] == folder.job_id)

    @invariant()
    def the_promises_hold_at_any_time(self) -> None:
        self.tally["steps"] += 1
        assert self.stranger.poll() is None, "a foreign process was signalled"
        found = judge(read(self.record.path), final=False)
        assert not found, found

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
        self.record.rest()
        self.index_is_what_the_folders_say()
        self.nothing_is_left()
        found = judge(read(self.record.path))
        assert not found, found

    def index_is_what_the_folders_say(self) -> None:
        """Each laptop's index, kept from piece to piece, and one that is made from nothing."""
        with Index.open(self.base / "anew.db", force=True) as anew, self.host.connect() as wire:
            self.take_in(self.contact(wire), anew)
            for laptop in (0, 1):
                self.collect(laptop)
                found = compare(self.indexes[laptop].content(), anew.content())
                assert not found, found
                self.tell(laptop, self.indexes[laptop], again=True)
            self.tell("rebuilt", anew, again=True)

    def nothing_is_left(self) -> None:
        self.hang_up(0)
        self.hang_up(1)
        until(lambda: not self.host.processes(), what="nothing is resident")
        assert not self.batches()
