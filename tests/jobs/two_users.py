"""Two users of a group and its home: what one of them does there is done in a process of theirs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource  # noqa: F401  (wait4 imports it)
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import sh, until

# The other users cannot read every Python's library, so all of it is loaded before.
from jobs import (  # noqa: F401
    aftermath,
    begun,
    cards,
    collector,
    events,
    gc,
    gpu,
    handing,
    handover,
    integrity,
    keeper,
    limits,
    moving,
    releasing,
    stop,
    submitting,
    waits,
    watcher,
)
from jobs import host as this_host
from jobs.agent import Agent
from jobs.atomic import digest, file_sha256, write_json
from jobs.spec import Cell, JobSpec, Resources

ANA = 20000 + 2 * (os.getpid() % 10000)  # nobody else's on this machine, nor those of another worker of pytest
BEN, GROUP = ANA + 1, 6000

bytes(4).decode("utf-32-be")  # as json takes an empty exit record: they cannot load it
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="two users need root")


@pytest.fixture
def group(open_ground: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home on storage of a group to which both users belong; nothing of theirs lives afterwards."""
    monkeypatch.setenv("ORCH_LOCAL", str(open_ground))
    path = open_ground / "orch"
    path.mkdir()
    os.chown(path, ANA, GROUP)
    path.chmod(0o2770)
    yield path
    for pid in processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    until(lambda: not processes(), what="nobody of them lives")


def processes() -> list[int]:
    """What lives of both."""
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in found if this_host.owner(pid) in (ANA, BEN)]


def begin(user: int, work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin a piece of work in a process of another user, a member of the group; the result is waited for."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = b""
        try:
            os.umask(0o022)
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            said = json.dumps({"said": work()}).encode()
        except BaseException:
            said = json.dumps({"failed": traceback.format_exc()}).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)

    def result() -> Any:
        with os.fdopen(reading, "rb") as handle:
            said = json.loads(handle.read())
        os.waitpid(child, 0)
        assert "failed" not in said, said["failed"]
        return said["said"]

    return result


def as_user(user: int, work: Callable[[], Any]) -> Any:
    return begin(user, work)()


def agent(home: Path) -> Agent:
    """An agent that has opened the home."""
    found = Agent(io.BytesIO())
    found.open(str(home))
    return found


def job(label: str, script: str, sweep: str = "s") -> dict[str, Any]:
    cell = Cell("command", {"label": label})
    return JobSpec(sweep, label, {}, cell, sh(script), "/", resources=Resources()).to_json()


def submit(home: Path, *jobs: dict[str, Any], **more: Any) -> list[str]:
    answers = submitting.submit(agent(home), None, list(jobs), **more)["jobs"]
    return [answer["action"] for answer in answers]


def truth(home: Path) -> dict[str, str]:
    """What a fresh look tells, by label."""
    chunks = list(agent(home).collect())[1:]
    return {report["spec"]["label"]: report["verdict"]["state"] for chunk in chunks for report in chunk}


def settle() -> None:
    """Wait until their jobs have ended, and keepers and watchers have left."""
    until(lambda: not processes(), 60, "all of them have left")


def made_code(home: Path, text: str, main: str = "") -> str:
    """A code snapshot as a laptop sends it: `code.sh` prints a text."""
    found = agent(home).home
    source = Path(found.path, "code", ".made", "code.sh")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    hashes = {"code.sh": file_sha256(source)}
    name = digest({"files": hashes, "main": main})
    write_json(f"{found.code}/{name}.json", {"contract": 1, "hash": name, "files": hashes})
    if not Path(found.code, name).exists():
        source.parent.rename(Path(found.code, name))
    return name


def uses_code(home: Path, label: str, name: str) -> dict[str, Any]:
    return {**job(label, ". ./code.sh"), "cwd": f"{home}/code/{name}"}
