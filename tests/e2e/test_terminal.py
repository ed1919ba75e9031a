"""Ctrl-C, and what a person at a terminal sees."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType

import pytest
from ground import ORCH, Ground, until

HOLD = "while ! test -e go; do sleep 0.05; done; echo {n} >> ran"

# A terminal's Ctrl-C reaches the session whose controlling terminal it is.
TAKE = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """One command on a real pseudo-terminal; `seen` is all that it has shown."""

    def __init__(self, ground: Ground, *words: str, **variables: str) -> None:
        import pty
        import termios

        self._own, other = pty.openpty()
        termios.tcsetwinsize(other, (24, 120))
        environment = ground.environment | {"TERM": "xterm", **variables}
        command = [sys.executable, "-I", "-c", TAKE, *ORCH, *words]
        self.process = subprocess.Popen(
            command, cwd=ground.project, env=environment, stdin=other, stdout=other, stderr=other
        )
        os.close(other)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._own)

    def _read(self) -> bool:
        if not select.select([self._own], [], [], 0.05)[0]:
            return True
        try:
            data = os.read(self._own, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Read until a text has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert self._read() and time.monotonic() < deadline, f"{text!r} was not shown:\n{self.seen}"

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._own, keys)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        return self.process.wait(30)


@pytest.fixture
def held(ground: Ground) -> Iterator[Ground]:
    """A ground with a sweep of three jobs that wait for a file."""
    ground.sweep("held", HOLD, "{n: 1..3}")
    yield ground
    ground.write("go")


def test_an_interrupt_leaves_the_jobs_running_and_says_so(held: Ground) -> None:
    """Injected: SIGINT to `orch` while it watches. Lost: nothing; the jobs go on and the sweep ends well."""
    with held.start("sweep", "held", "--parallel", "2") as watching:
        assert watching.stderr
        for line in watching.stderr:
            if line.startswith("held  "):
                break
        watching.send_signal(signal.SIGINT)
        said = watching.stderr.read()
    assert watching.returncode == 130
    assert "The jobs go on. Come back with: orch status --watch" in said
    assert "Traceback" not in said
    states = held.states("held")
    assert sorted(states.values()) == ["queued", "running", "running"]
    held.write("go")
    assert held.orch("sweep", "held").code == 0
    assert held.ran() == ["1", "2", "3"]


def test_ctrl_c_at_a_terminal_reaches_orch_alone(held: Ground) -> None:
    with Terminal(held, "sweep", "held", "--parallel", "2") as terminal:
        terminal.until("2 running")
        terminal.press(b"\x03")
        assert terminal.end() == 130
    assert "The jobs go on" in terminal.seen
    assert sorted(held.states("held").values()) == ["queued", "running", "running"]


def test_the_live_display(held: Ground) -> None:
    with Terminal(held, "sweep", "held", "--parallel", "2") as terminal:
        terminal.until("running      n=1")
        assert "░" in terminal.seen
        held.write("go")
        assert terminal.end() == 0
    assert "held: 3 done" in terminal.seen
    assert "next: orch report held" in terminal.seen
    assert re.search("\x1b\\[[0-9]*A", terminal.seen), "the display is drawn in place"


def test_no_colour_when_nobody_wants_it(ground: Ground) -> None:
    with Terminal(ground, "sweep", "nothing", NO_COLOR="1") as terminal:
        assert terminal.end() == 3
    assert "\x1b[3" not in terminal.seen
    with Terminal(ground, "sweep", "nothing") as terminal:
        assert terminal.end() == 3
    assert "\x1b[31;1merror:" in terminal.seen


def test_status_at_a_terminal_asks_the_host(held: Ground) -> None:
    assert held.orch("sweep", "held", "--detach").code == 0
    held.write("go")
    held.settle()
    with Terminal(held, "status") as terminal:
        assert terminal.end() == 0
    assert "held  3 jobs: 3 done" in terminal.seen


def test_without_a_terminal_a_line_now_and_then(held: Ground) -> None:
    with held.start("sweep", "held") as watching:
        assert watching.stderr
        until(lambda: held.folders("held"), what="a job has begun")
        held.write("go")
        said = watching.stderr.read()
    assert watching.returncode == 0
    assert "\x1b" not in said
    lines = [line for line in said.splitlines() if line.startswith("held  ")]
    assert lines[-1].startswith("held  3 done   ")
    assert len(lines) <= 3


def test_a_reader_that_has_seen_enough(ground: Ground) -> None:
    ground.sweep("s", "true", "{n: 1..3}")
    assert ground.orch("sweep", "s").code == 0
    with ground.start("status", "--jobs") as listing:
        assert listing.stdout
        listing.stdout.close()
        assert listing.wait(30) == 0
        assert listing.stderr and "Traceback" not in listing.stderr.read()
