"""A host to which anything may happen: small disks, boots, clocks that are off, wires that are cut at a byte."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from local_host import LocalHost, fill, until

from jobs import host
from jobs.atomic import read_json
from jobs.attempt import read_exit
from jobs.folder import RunFolder
from jobs.pipe import ProcessPipe
from jobs.wire import BOOT, Wire

BOOT_ID = "/proc/sys/kernel/random/boot_id"
# What stands before the agent's Python on its command line. Each agent, and with it its keeper, watchers and jobs, has
# a view of the mounts of its own, in which the kernel's boot id is that of this host.
START = 'printf %s "$1"; [ -z "$2" ] || mount --bind "$2" ' + BOOT_ID + '; shift 2; exec "$@"'
# A clock that is off, for the agent and all that it forks. File times stay the kernel's, as on a shared home.
CLOCK = "import time;time.time=lambda f=time.time:f()+{0};time.time_ns=lambda f=time.time_ns:f()+{0}*10**9;"
DISK = "8m"  # size of the orch home's disk and of the host-local one


@functools.cache
def can_mount() -> bool:
    """Tell whether disks and a boot id can be put in place here: it takes root."""
    if os.name != "posix" or os.getuid():
        return False
    with tempfile.NamedTemporaryFile() as boot:
        words = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /mnt && mount --bind {boot.name} {BOOT_ID}"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


class Thread:
    """What the laptop writes into: it breaks off after so many bytes, when somebody has said how many."""

    def __init__(self, inner: BinaryIO) -> None:
        self.inner = inner
        self.left: int | None = None

    def write(self, data: bytes) -> int:
        if self.left is None:
            return self.inner.write(data)
        part = bytes(data[: self.left])
        while part:
            part = part[self.inner.write(part) :]
        self.left = 0
        self.inner.close()
        raise BrokenPipeError("the wire was cut")

    def flush(self) -> None:
        self.inner.flush()

    def close(self) -> None:
        self.inner.close()


class Line(ProcessPipe):
    """A pipe to an agent that can be cut, or whose agent can be killed."""

    def __init__(self, argv: list[str]) -> None:
        super().__init__("local", argv)
        self.thread = Thread(self.input)
        self.input = cast(BinaryIO, self.thread)

    def kill(self) -> None:
        """SIGKILL for the agent."""
        self._process.kill()


class UnluckyHost(LocalHost):
    """A host with faults; `ORCH_LOCAL` must name `base/local`.

    Attributes
    ----------
    noise:
        What start-up files print before the agent's first word.
    clock:
        Seconds by which the clock of agents started from now on is off.
    """

    def __init__(self, base: Path) -> None:
        self.noise, self.clock = "", 0
        self.boot = base / "boot_id"
        self.boot.write_text(f"{uuid.uuid4()}\n")
        self.disks = [base / "disk", base / "local"]
        for path in (*self.disks, base / "work"):
            path.mkdir()
        for path in self.disks if can_mount() else ():
            words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(path)]
            subprocess.run(words, check=True)
        super().__init__(self.disks[0] / "home", self.disks[1], base / "work")

    def connect(self) -> Wire:
        """Return a wire to another agent, the home opened; its pipe is a `Line`."""
        wire = Wire(self.line(), timeout=60)
        try:
            self.about = wire.call("open", home=self.home.path)
        except BaseException:
            wire.close()
            raise
        return wire

    def line(self) -> Line:
        """Start an agent on this host as it is now."""
        boot = str(self.boot) if can_mount() else ""
        python = [sys.executable, "-I", "-S", "-B", "-c", (CLOCK.format(self.clock) if self.clock else "") + BOOT]
        apart = ["unshare", "--mount", "--propagation", "private"] if boot else []
        return Line([*apart, "sh", "-c", START, "sh", self.noise, boot, *python])

    def power_off(self) -> None:
        """SIGKILL for everything that runs here; it is booted anew."""
        quiet = 0
        while quiet < 2:  # a process that is just being started shows no environment
            left = self.processes()
            quiet = 0 if left else quiet + 1
            for pid in left:
                self.kill(pid)
        self.boot.write_text(f"{uuid.uuid4()}\n")

    def kill(self, pid: int, signum: int = signal.SIGKILL) -> bool:
        """Signal a process of this host; False when it is none, whoever has its number by now."""
        if not host.has_variable(pid, "ORCH_LOCAL", str(self.root)):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        return True

    def begun(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Lock files of attempts, with the watcher's and the job's process as they stand there."""
        for path in sorted(Path(self.local.locks).glob("*")):
            found = read_json(str(path))
            if isinstance(found, dict):
                yield path, found

    def running(self) -> list[tuple[Path, dict[str, Any]]]:
        """Those whose job lives."""
        return [(lock, found) for lock, found in self.begun() if host.is_alive(*found["job"])]

    def lose_reservation(self, lock: Path, watcher: int) -> None:
        """Take back the room that was reserved for an exit record that is not written yet; its watcher stands still."""
        if self.kill(watcher, signal.SIGSTOP):
            with contextlib.suppress(OSError, AssertionError):
                until(lambda: "\nState:\tT" in Path(f"/proc/{watcher}/status").read_text(), 2.0)
                if read_exit(self.folder_of(lock), self.local) is None:
                    os.truncate(self.folder_of(lock).exit, 0)
            self.kill(watcher, signal.SIGCONT)

    def folder_of(self, lock: Path) -> RunFolder:
        """The run folder of a lock file."""
        found = self.home.of_lock(lock.name)
        assert found is not None, lock
        return found

    def fill(self, disk: int) -> None:
        """Leave no byte on the orch home's disk (0), or on the host-local one (1)."""
        with contextlib.suppress(OSError):  # not even a name
            fill(self.disks[disk] / "filler")

    def make_room(self) -> None:
        """Both disks have room again."""
        for disk in self.disks:
            (disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """End everything that was started, and take the disks away."""
        super().close()
        for path in self.disks if can_mount() else ():
            subprocess.run(["umount", "--lazy", str(path)], check=True)
