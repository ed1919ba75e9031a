"""Making an environment in stages, one at a time for each architecture, so that it can be gone on with after any cut.

Stages (python, torch, rest) are recorded beside the prefix as they end. Whoever is cut off goes on at the first stage
that is not done; a stage that was begun and not ended is made again from Python on: conda and pip take what is half
there for installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Optional, Tuple

from . import child, conda, envs
from .atomic import digest, read_json, write_bytes, write_json
from .disk import disk
from .envs import EnvFolder
from .errors import OrchError, disk_error
from .lease import take
from .shared_lock import shared_lock

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
STAGES = ("python", "torch", "rest")
EXPIRY = 6 * 3600.0  # seconds after which a maker on another host counts as gone
ROOM = 12 << 30  # bytes: a torch wheel with CUDA, packed and unpacked
RAW_PROGRESS = (24, 1)  # pip tells bytes in lines since then
LOOK = 1.0  # seconds between looks at somebody else's lock


class Maker:
    """The stages of one environment."""

    def __init__(
        self,
        folder: EnvFolder,
        lock: Dict[str, Any],
        sources: Dict[str, Any],
        left: Callable[[], bool],
        keep: Tuple[int, ...],
    ) -> None:
        self.folder, self.lock, self.sources, self.left, self.keep = folder, lock, sources, left, keep
        self.done: Dict[str, Any] = {}

    def make(self) -> Generator[Any, None, None]:
        """Do what is not done yet."""
        build = read_json(self.folder.build) or {}
        self.done = dict(build.get("stages") or {}) if build.get("lock") == self.lock else {}
        if build.get("begun") or not self.done or not os.path.exists(self.folder.python):
            self.done = {}
            if os.path.lexists(self.folder.prefix):
                yield {"stage": "python", "line": "takes away what an interrupted setup left"}
                yield from delete(self.folder.prefix)
        for stage in STAGES:
            if stage not in self.done:
                self._write(begun=stage)
                work: Generator[str, None, Any] = getattr(self, "_" + stage)()
                self.done[stage] = yield from told(stage, work)
                self._write()

    def _write(self, begun: Optional[str] = None) -> None:
        try:
            os.makedirs(os.path.dirname(self.folder.build), exist_ok=True)
            write_json(self.folder.build, {"lock": self.lock, "stages": self.done, "begun": begun, "t": time.time()})
        except OSError as error:
            raise disk_error(error, self.folder.build) from error

    def _python(self) -> Generator[str, None, Reply]:
        told = conda.Conda(**self.sources["conda"])
        command = conda.create(told, self.folder, self.lock["python"], self.sources["channel"])
        ended = yield from self._run(command)
        child.check(ended, "{} could not make the environment".format(told.kind), "look at: {} info".format(told.path))
        ended = yield from self._run(
            [self.folder.python, "-I", "-c", "import pip, sys; print(sys.version.split()[0], pip.__version__)"]
        )
        child.check(ended, "the new Python does not start", "orch setup --undo --only environment, then again")
        python, _, pip = ended.lines[-1].partition(" ")
        return {"conda": told._asdict(), "python": python, "pip": pip}

    def _torch(self) -> Generator[str, None, Reply]:
        wanted = ["torch==" + self.lock["torch"]]
        house = self._house()
        tries = [["--index-url", self.sources["index"]], *([["--no-index", "--find-links", house]] if house else [])]
        wheels = yield from self._pip(tries, wanted, "torch " + self.lock["torch"])
        write_bytes(
            self.folder.constraints, "".join("{name}=={version}\n".format(**wheel) for wheel in wheels).encode()
        )
        return {"wheels": wheels, "contents": envs.contents(self.folder.prefix)}

    def _rest(self) -> Generator[str, None, Reply]:
        wanted = ["--constraint", self.folder.constraints, *self.lock["requirements"]]
        house = self._house()
        tries = [["--find-links", house], ["--no-index", "--find-links", house]] if house else [[]]
        wheels = yield from self._pip(tries, wanted, "what the trainer needs")
        before, now = self.done["torch"]["contents"], envs.contents(self.folder.prefix)
        if now["torch_files"] != before["torch_files"]:
            raise OrchError("installing the rest replaced torch {}".format(self.lock["torch"]), "please report this")
        return {"wheels": wheels}

    def _house(self) -> Optional[str]:
        house = self.sources.get("wheelhouse") or self.folder.wheelhouse
        return house if os.path.isdir(house) else None

    def _pip(self, tries: List[List[str]], wanted: List[str], what: str) -> Generator[str, None, List[Reply]]:
        """Install from the first source that has it all; return name, version, file and SHA-256 of each wheel."""
        report = self.folder.prefix + ".pip.json"
        command = [self.folder.python, "-I", "-m", "pip", "install", "--report", report, "--only-binary", ":all:"]
        tells = conda.numbers(self.done["python"]["pip"]) >= RAW_PROGRESS
        command += ["--progress-bar", "raw" if tells else "off"]
        for number, source in enumerate(tries):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(report)
            ended = yield from self._run([*command, *source, *wanted])
            if ended.status == 0 or child.disk_is_full(ended) or number == len(tries) - 1:
                break
            yield "{}; now the wheelhouse".format(ended.complaint())
        where = tries[number][-1] if tries[number] else "pip's own index"
        child.check(ended, "pip could not install {} from {}".format(what, where), "is the index right? --index URL")
        found = [_wheel(item) for item in (read_json(report) or {}).get("install", [])]
        os.unlink(report)
        return found

    def _run(self, command: List[str]) -> child.Lines:
        environment = {**conda.environment(self.folder), "TMPDIR": self._scratch()}
        try:
            return (yield from child.run(command, environment, self.left, self.keep))
        finally:
            shutil.rmtree(environment["TMPDIR"], ignore_errors=True)

    def _scratch(self) -> str:
        """A folder for what pip unpacks: on local disk if that is roomy, else in the home."""
        local = os.path.join(os.environ.get("ORCH_LOCAL") or "/var/tmp", "orch-{}".format(os.getuid()))
        roomy = (disk(local).free_bytes or 0) >= ROOM
        path = os.path.join(local if roomy else self.folder.packages, "tmp-" + digest(self.folder.prefix))
        shutil.rmtree(path, ignore_errors=True)  # of one that was killed
        os.makedirs(path, 0o700, exist_ok=True)
        return path


def _wheel(item: Dict[str, Any]) -> Reply:
    """Name, version, file and SHA-256 from one entry of pip's installation report (version 1)."""
    download = item["download_info"]
    archive = download.get("archive_info") or {}
    sha256 = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).partition("=")[2]
    about = item["metadata"]
    file = os.path.basename(str(download["url"]).partition("#")[0])
    return {"name": str(about["name"]).lower(), "version": about["version"], "file": file, "sha256": sha256}


def delete(path: str) -> Generator[Any, None, None]:
    """Delete a folder under another name; yields now and then, a network home takes minutes."""
    trash = "{}.trash-{}".format(path, os.urandom(4).hex())
    try:
        os.rename(path, trash)
    except FileNotFoundError:
        return
    told = time.monotonic()
    for folder, _, _ in os.walk(trash, topdown=False):
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() - told > child.TICK:
            told = time.monotonic()
            yield {"stage": "remove", "line": ""}


# --- One at a time ---------------------------------------------------------------------------------------------------


def hold(agent: Agent, folder: EnvFolder, stack: contextlib.ExitStack) -> Generator[Any, None, Tuple[int, ...]]:
    """Be the only one at work on an architecture's environments and caches; return what children inherit.

    The locks of conda and pip may hang on network homes and are off. On this host a flock, which children keep while
    they live, whatever becomes of us; between hosts a folder.
    """
    waiting = 0.0
    own = os.path.join(agent.local.path, "locks", "environments-" + folder.arch)
    while True:
        descriptor = take(own)
        if descriptor is not None:
            stack.callback(os.close, descriptor)
            break
        waiting = yield from _wait(agent, waiting, "another setup on this host is at work on it")
    os.makedirs(os.path.dirname(folder.lease), exist_ok=True)
    while True:
        try:
            stack.enter_context(shared_lock(folder.lease, wait=0, expiry=EXPIRY))
            return (descriptor,)
        except OrchError as error:
            if error.code != OrchError.code:
                raise
            waiting = yield from _wait(agent, waiting, error.message)


def _wait(agent: Agent, waited: float, why: str) -> Generator[Any, None, float]:
    if agent.client_left():
        raise OrchError("the client left while it waited", "run the same command again")
    if waited % child.TICK < LOOK:
        yield {"stage": "wait", "line": why}
    time.sleep(LOOK)
    return waited + LOOK


def told(stage: str, lines: Generator[str, None, Any]) -> Generator[Any, None, Any]:
    """Name the stage of each line."""
    while True:
        try:
            line = next(lines)
        except StopIteration as stop:
            return stop.value
        yield {"stage": stage, "line": line}
