"""Jobs and other people on one card: real keeper, watchers and processes; nvidia-smi tells what a file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from after import attempts, spec_of
from local_host import LocalHost, until
from standins.cards import Cards

from jobs import guestbook
from jobs.attempt import read_exit

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.getuid() != 0, reason="strangers need another user: run as root"
)
STRANGER = 1234  # user id without a name on this machine
GPU = {"gpus": 1}
# Counts to six, a step at a time; a stop is obeyed at once, and the next attempt goes on where the former was.
COUNTS = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
run = pathlib.Path(os.environ["ORCH_RUN"])
former = json.loads((run / "job.json").read_text())["resume"]
begun = int((pathlib.Path(former) / "last.pt").read_text()) if former else 0
for step in range(begun + 1, 7):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with open(sys.argv[1], "a") as book:
        book.write("%d\\n" % step)
    (run / "last.pt").write_text(str(step))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    time.sleep(0.5)
(run / "result.json").write_text('{"contract": 1, "values": {"steps": 6}}')
"""
# Writes down every signal that can be caught; one that cannot would end or stop it.
SUFFERS = """
import os, signal, sys, time
book = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, lambda got, frame: os.write(book, b"%d\\n" % got))
os.setuid(int(sys.argv[2]))
os.write(book, b"ready\\n")
while True:
    time.sleep(0.05)
"""


class Stranger:
    """A process of somebody else; it keeps a book of the signals that it gets."""

    def __init__(self, folder: Path) -> None:
        self.book = folder / "signals"
        self.book.touch()
        command = [sys.executable, "-I", "-c", SUFFERS, str(self.book), str(STRANGER)]
        self.process = subprocess.Popen(command, start_new_session=True)
        self.pid = self.process.pid
        until(lambda: self.signals == ["ready"], what="the stranger is there")

    @property
    def signals(self) -> list[str]:
        """Lines of its book: `ready`, then each signal."""
        return self.book.read_text().split()

    def end(self) -> None:
        """It leaves by itself."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    found = Stranger(tmp_path)
    yield found
    found.end()


@pytest.fixture
def cards(program: Callable[[str, str], Path], tmp_path: Path) -> Cards:
    return Cards(program, tmp_path)


@pytest.fixture
def host(cards: Cards, host: LocalHost) -> LocalHost:
    """A host that has cards (its agent finds their nvidia-smi in PATH)."""
    host.wire.close()
    host.wire = host.connect()
    return host


def wish(host: LocalHost, **wishes: Any) -> None:
    Path(host.local.wishes).write_text(json.dumps({"look_s": 0.3, **wishes}))


def job(host: LocalHost, tmp_path: Path, **more: Any) -> dict[str, Any]:
    argv = (sys.executable, "-I", "-c", COUNTS, str(tmp_path / "steps"))
    policy = {"foreign_pressure": {"action": "retry", "wait_s": 1.0}}
    return host.job("count", argv, resources=GPU, result_required=True, policy=policy, **more)


def reason(host: LocalHost, one: dict[str, Any]) -> str:
    verdict = host.report(one)["verdict"]
    return str(verdict["reason"]) if verdict["state"] == "queued" else ""


def test_a_job_steps_aside_for_a_stranger_and_comes_back(
    host: LocalHost, cards: Cards, stranger: Stranger, tmp_path: Path
) -> None:
    """Injected: a stranger on the card of a running job, once. Lost: nothing, no step was done twice or left out."""
    wish(host)
    one = job(host, tmp_path)
    host.submit(one)
    until(lambda: (tmp_path / "steps").exists(), what="the job runs")
    cards.come(stranger.pid)
    until(lambda: attempts(host, one) == [1] and read_exit(host.folder(one)), what="it has stepped aside")
    until(lambda: "GPU 0 is used by 1234 (9.1 GB, standard, pid" in reason(host, one), what="it says for whom it waits")
    record: Any = read_exit(host.folder(one))
    assert record["failure"]["kind"] == "foreign_pressure"
    assert f"GPU 0 is used by 1234 (9.1 GB, standard, pid {stranger.pid}) since " in record["failure"]["evidence"]
    assert record["decision"]["wait_s"] == 1.0
    assert stranger.signals == ["ready"], "a stranger is never signalled"
    assert stranger.process.poll() is None
    cards.go(stranger.pid)
    until(lambda: host.state(one) == "done", 60, "it came back by itself")
    assert (tmp_path / "steps").read_text().split() == [str(step) for step in range(1, 7)]
    assert spec_of(host, one, 2)["resume"] == host.folder(one, 1).path
    told = [line["what"] for line in guestbook.read(host.local)]
    assert told == [guestbook.ASKED, guestbook.LEFT, guestbook.WAITS, guestbook.BEGINS]
    assert stranger.signals == ["ready"]
    host.settle()
