"""A project on this machine for tests of `orch` with real processes: homes, commands, what ran, and the end of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jobs import host
from jobs.folder import Home, HostFolder, RunFolder

ORCH = [sys.executable, "-I", "-c", "import sys; from orchestrator.cli import main; sys.exit(main())"]
ENDED = {"done", "failed", "stopped", "interrupted"}


class Said(NamedTuple):
    """Exit code and both streams of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


def until(condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> Any:
    """Return the condition's first true value; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s: {what or condition}"
        time.sleep(0.02)
    return value


class Ground:
    """A folder with a project, and an orch home, state and host-local folder of its own beside it.

    Everything that is started here carries this ground's `ORCH_LOCAL` in its environment: so `close` finds all of it,
    keepers, watchers and jobs, and nothing else.
    """

    def __init__(self, base: Path, **variables: str) -> None:
        self.base, self.project = base, base / "project"
        self.project.mkdir(parents=True, exist_ok=True)
        places = {name: base / name for name in ("home", "state", "local", "cache")}
        self.home, self.local = Home(str(places["home"])), places["local"]
        self.local.mkdir(exist_ok=True)
        self.variables = {f"ORCH_{name.upper()}": str(path) for name, path in places.items()} | variables

    @property
    def environment(self) -> dict[str, str]:
        """What every command here gets."""
        return {**os.environ, **self.variables}

    def orch(self, *words: str, timeout: float = 120.0, umask: int = -1, **variables: str) -> Said:
        """Run one command to its end, without a terminal; `umask` -1 leaves ours."""
        done = subprocess.run(
            [*ORCH, *words],
            cwd=self.project,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            umask=umask,
            check=False,
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and leave it."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*ORCH, *words], cwd=self.project, env=self.environment, text=True, **pipes)

    def sweep(self, name: str, script: str, grid: str = "", **more: Any) -> Path:
        """Write a command sweep: `script` is for `sh -c`, with placeholders; `more` are further keys."""
        lines = [f"sweep: {name}", f"command: [sh, -c, {json.dumps(script)}]"]
        lines += [f"grid: {grid}"] if grid else []
        return self.write(
            f"sweeps/{name}.yaml", *lines, *(f"{key}: {json.dumps(value)}" for key, value in more.items())
        )

    def write(self, name: str, *lines: str) -> Path:
        """Write a text file of the project."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def ran(self, name: str = "ran") -> list[str]:
        """The lines that jobs have added to a file of the project, sorted."""
        path = self.project / name
        return sorted(path.read_text(encoding="utf-8").splitlines()) if path.exists() else []

    def rows(self, sweep: str) -> dict[str, dict[str, Any]]:
        """All jobs of a sweep as `orch status --refresh` tells them, by label."""
        told = self.orch("status", sweep, "--refresh", "--json").json
        assert "sweeps" in told, told
        (found,) = told["sweeps"]
        return {row["label"]: row for row in found["rows"]}

    def states(self, sweep: str) -> dict[str, str]:
        """State of every job of a sweep, by label."""
        return {label: row["state"] for label, row in self.rows(sweep).items()}

    def folders(self, sweep: str) -> dict[str, list[RunFolder]]:
        """The attempts of every job of a sweep that has begun, by label."""
        found: dict[str, list[RunFolder]] = {}
        for job in self.home.jobs(sweep):
            attempts = self.home.attempts(sweep, job)
            if attempts:
                found[json.loads(Path(attempts[-1].job).read_text())["label"]] = attempts
        return found

    @property
    def host_folder(self) -> HostFolder:
        """Where locks and the keeper's log lie."""
        identity = json.loads(Path(self.home.identity).read_text())["id"]
        return HostFolder(str(self.local / f"orch-{os.getuid()}" / identity))

    @property
    def index(self) -> Path:
        """The index."""
        return Path(self.variables["ORCH_STATE"], Path(self.host_folder.path).name, "index.db")

    def keepers(self) -> list[int]:
        """The process that took the keeper's lock, if it still holds it (proc(5), `locks`)."""
        try:
            inode = Path(self.host_folder.keeper_lock).stat().st_ino
        except FileNotFoundError:
            return []
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return [int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")]

    def processes(self) -> list[int]:
        """All processes of this ground."""
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in found if pid != os.getpid() and host.has_variable(pid, "ORCH_LOCAL", str(self.local))]

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until keeper, watchers and jobs have left."""
        until(lambda: not self.processes(), seconds, f"processes {self.processes()} have left")

    def close(self) -> None:
        """End whatever is left."""
        deadline = time.monotonic() + 20
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        assert not left, f"processes are left: {left}"


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder with its bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def documents(text: str) -> list[Mapping[str, Any]]:
    """The JSON documents of a stream, one a line."""
    return [json.loads(line) for line in text.splitlines()]
