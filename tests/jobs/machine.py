"""The state machine: real agents, keeper, watchers and jobs of one host in use, and faults as rules.

Whatever Hypothesis does in whatever order, the promises of `docs/architecture.md` hold (`promises`): nothing is started
twice, nothing and no exit is lost, nobody else is signalled, the index that was kept says what one made anew says, and
at the end nothing is resident. A fault is one rule: it does the harm for real and counts it in `tally`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from local_host import until
from promises import JOBS, PromisedHost, laptops, numbers, soon
from unlucky_host import can_mount

from jobs import host as this
from jobs.attempt import read_exit
from jobs.errors import OrchError

pick = st.integers(0, 3)  # which of those that there are
needs_root = precondition(lambda self: can_mount())


class Host(PromisedHost):
    """One host to which everything happens."""

    @rule(laptop=laptops, which=numbers, after=st.integers(0, 8000))
    def cut_the_wire_in_a_submit(self, laptop: int, which: list[int], after: int) -> None:
        wire = self.wire(laptop)
        if wire:
            self.tally["wire cut"] += 1
            self.line(laptop).thread.left = after
            with contextlib.suppress(OrchError):
                wire.call("submit", record=None, jobs=[self.job(one) for one in which])
            self.hang_up(laptop)

    @rule(laptop=laptops, which=numbers, wait=soon)
    def kill_the_agent_in_a_submit(self, laptop: int, which: list[int], wait: int) -> None:
        wire = self.wire(laptop)
        if wire:
            self.tally["agent killed"] += 1
            with contextlib.suppress(OrchError):
                wire.post("submit", record=None, jobs=[self.job(one) for one in which])
            time.sleep(wait / 1000)
            self.line(laptop).kill()
            self.hang_up(laptop)

    @rule(laptop=laptops, wait=soon)
    def kill_the_agent_in_a_collect(self, laptop: int, wait: int) -> None:
        if self.wire(laptop):
            self.tally["agent killed"] += 1
            killer = threading.Timer(wait / 1000, self.line(laptop).kill)
            killer.start()
            self.collect(laptop)
            killer.join()
            self.hang_up(laptop)

    @rule()
    def kill_the_keeper(self) -> None:
        self.let_something_run()
        self.tally["keeper killed"] += sum(map(self.host.kill, self.host.keepers()))

    @rule(pick=pick, used_again=st.booleans(), stopped=st.booleans())
    def kill_a_watcher(self, pick: int, used_again: bool, stopped: bool) -> None:
        """Its process id may soon be that of a stranger, who is not meant when its job is stopped."""
        self.let_something_run()
        watchers = sorted({found["watcher"][0] for _, found in self.host.begun()})
        if watchers and self.host.kill(pid := watchers[pick % len(watchers)]):
            self.tally["watcher killed"] += 1
            until(lambda: not this.is_alive(pid, None), what="the watcher is gone")
            for lock, found in self.host.begun():
                if found["watcher"][0] == pid:
                    self.excuse(self.host.folder_of(lock))
            if used_again:
                self.use_process_ids_again()
            for lock, _ in self.host.running() if stopped else ():
                self.stop(0, self.number_of(self.host.folder_of(lock)), 30.0)

    @rule(pick=pick, signum=st.sampled_from((signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)))
    def kill_a_job(self, pick: int, signum: signal.Signals) -> None:
        self.let_something_run()
        for lock, found in self.host.running()[pick : pick + 1]:
            self.record.disturbed(f"j{self.number_of(self.host.folder_of(lock))}", "killed")
            self.tally["job killed"] += self.host.kill(found["job"][0], signum)

    @needs_root
    @rule()
    def power_off_and_boot(self) -> None:
        self.tally["power off"] += 1
        boot = self.host.boot.read_text().strip()
        self.host.power_off()
        self.record.off(boot)
        for laptop in list(self.wires):
            self.hang_up(laptop)
        for folder in self.host.home.run_folders():
            if read_exit(folder, self.host.local) is None:
                self.excuse(folder)

    @needs_root
    @rule(disk=st.sampled_from((0, 1)), reserved=st.booleans())
    def fill_a_disk(self, disk: int, reserved: bool) -> None:
        """Not every file system keeps what was reserved on it."""
        self.tally["disk full"] += 1
        self.disk_was_full = True
        for one in range(JOBS):
            self.record.disturbed(f"j{one}", "the disk was full")
        for lock, found in self.host.running() if not reserved else ():
            self.host.lose_reservation(lock, found["watcher"][0])
        self.host.fill(disk)

    @precondition(lambda self: self.disk_was_full)
    @rule()
    def make_room(self) -> None:
        self.host.make_room()

    @rule(minutes=st.integers(-15, 15))
    def set_the_clock_wrong(self, minutes: int) -> None:
        self.tally["clock off"] += bool(minutes)
        self.host.clock = 60 * minutes
        self.hang_up(0)

    @rule(noise=st.sampled_from(("", "welcome\n", "0\n{}\n", "no newline", "\r\n\x1b[0m5\n", "x" * 70000)))
    def print_from_the_start_up_files(self, noise: str) -> None:
        self.tally["start-up noise"] += bool(noise)
        self.host.noise = noise
        self.hang_up(1)

    @rule()
    def use_process_ids_again(self) -> None:
        """Where a watcher is gone, perhaps its job too, a stranger has their numbers by now."""
        for lock, found in self.host.begun():
            gone = [who for who, process in found.items() if process[0] and not this.is_alive(*process)]
            if "watcher" in gone:
                self.tally["process id used again"] += 1
                named = {who: [self.stranger.pid if who in gone else pid, at] for who, (pid, at) in found.items()}
                with contextlib.suppress(FileNotFoundError), lock.open("r+b") as handle:
                    handle.write((json.dumps(named).ljust(127) + "\n").encode())

    @rule(pick=pick, keep=st.integers(0, 3000))
    def tear_a_batch(self, pick: int, keep: int) -> None:
        """A batch of the queue loses its end: the jobs in it are to be asked for again."""
        for path, text in self.one_batch(pick):
            self.tally["batch torn"] += 1
            torn = {one for one in range(JOBS) if self.job(one)["id"].encode() in text}
            for one in torn:
                self.record.excused(f"j{one}", "its batch was torn")
            self.torn.update(torn)
            with contextlib.suppress(FileNotFoundError):
                os.truncate(path, min(keep, len(text)))

    @rule(pick=pick)
    def double_a_batch(self, pick: int) -> None:
        for path, text in self.one_batch(pick):
            self.tally["batch doubled"] += 1
            with contextlib.suppress(OSError):
                path.with_name(f"9{time.time_ns():019d}-copy.jsonl").write_bytes(text)

    def one_batch(self, pick: int) -> list[tuple[Path, bytes]]:
        """One batch of the queue and what is in it, if there is any."""
        paths = self.batches()
        with contextlib.suppress(FileNotFoundError):
            return [(path, path.read_bytes()) for path in paths[pick % len(paths) :][:1]] if paths else []
        return []

    @rule(pick=pick, torn=st.booleans())
    def spoil_the_events(self, pick: int, torn: bool) -> None:
        """A running attempt's events hold a line twice, or a half one."""
        self.let_something_run()
        for lock, _ in self.host.running()[pick : pick + 1]:
            self.tally["events spoiled"] += 1
            with contextlib.suppress(OSError):
                path = Path(self.host.folder_of(lock).events)
                first = path.read_bytes().splitlines(keepends=True)[:1]
                with path.open("ab") as handle:
                    handle.write((first[0] if first else b"")[: 20 if torn else None])

    @rule(pick=pick)
    def copy_a_run_folder(self, pick: int) -> None:
        """A person, or a program that mirrors folders, leaves a copy beside the original, exit record and all."""
        ended = [folder for folder in self.host.home.run_folders() if read_exit(folder)]
        for folder in ended[pick : pick + 1]:
            self.tally["folder copied"] += 1
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(folder.path, folder.path + " (copy)", dirs_exist_ok=True)

    def teardown(self) -> None:
        """The last fault: the keeper is killed, and no laptop comes to wake another."""
        if len(self.accepted) % 2:
            self.kill_the_keeper()
        super().teardown()
