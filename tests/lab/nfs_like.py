"""A home that behaves like NFS: a FUSE mount that passes every call on to a folder, with faults that a test switches.

One mount is one host's view of the folder (`NfsMount`); several may share it. What NFS does and a local disk does not:

attr_cache  seconds that attributes, absent names and listings are believed; what this mount changed itself it looks up
            anew, and a file's attributes are asked for when it is opened ("close to open"), as nfs(5) says
late        seconds that an answer may take
repeat      share of changing calls whose first answer is lost: the second one finds the work done, and the caller sees
            EEXIST after its link, mkdir or exclusive create, ENOENT after its unlink, rmdir or rename
stale       share of calls that find a stale handle: ESTALE for that path, for `STALE_FOR` seconds
no_flock    flock is refused (ENOLCK)
quota       "write": each write is refused (EDQUOT); "close": writes are accepted, and closing or syncing is refused
"""

from __future__ import annotations

import contextlib
import ctypes.util
import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import system

STALE_FOR = 0.05  # seconds that a handle stays stale: the kernel itself asks a second time at once
CALM: dict[str, Any] = {"attr_cache": 0, "late": 0, "repeat": 0, "stale": 0, "no_flock": False, "quota": ""}
_ATTRIBUTES = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")


def lacking() -> str:
    """Return why nothing can be mounted here, and the command that would help; empty when it can."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a FUSE mount needs Linux and root: sudo .venv/bin/python -m pytest tests/jobs/test_nfs_home.py"
    if not Path("/dev/fuse").exists():
        return "this machine has no /dev/fuse: sudo modprobe fuse (docker run --privileged --device /dev/fuse ...)"
    if not (ctypes.util.find_library("fuse") or ctypes.util.find_library("fuse3")):
        return "libfuse is missing: sudo apt-get install fuse3"
    return ""


class NfsMount:
    """A folder mounted at a path, by a process that leaves with us."""

    def __init__(self, folder: Path, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        program = [sys.executable, "-m", "lab.nfs_like", str(folder), str(path)]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._server = subprocess.Popen(program, cwd=Path(__file__).parent.parent, **streams)
        self.set()
        deadline = time.monotonic() + 30
        while not os.path.ismount(path):
            assert self._server.poll() is None and time.monotonic() < deadline, "the FUSE mount did not come up"
            time.sleep(0.01)

    def set(self, **switches: Any) -> Counter[str]:
        """Switch faults on, all others off; return how many of each kind there were until now."""
        assert not set(switches) - set(CALM) and self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(CALM | switches) + "\n")
        self._server.stdin.flush()
        return Counter(json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """Take the mount away."""
        self._server.communicate(timeout=30)


class View:
    """The calls of one mount (their names and arguments are FUSE's)."""

    use_ns = True  # times are whole nanoseconds

    def __init__(self, folder: str) -> None:
        self.folder, self.switches, self.counts, self.dice = folder, dict(CALM), Counter[str](), random.Random(1)
        self._cache: dict[tuple[str, str], tuple[float, Any]] = {}
        self._stale: dict[str, float] = {}
        self._generation = 0  # of our own changes: what was looked up before one is not kept after it
        self._lock = threading.Lock()

    def _fault(self, kind: str) -> bool:
        hit = self.dice.random() < self.switches[kind]
        self.counts[kind] += hit
        return hit

    def _real(self, path: str, may_be_stale: bool = True) -> str:
        """The path behind; every call passes here once, and waits or fails."""
        if self.switches["late"]:
            self.counts["late"] += 1
            time.sleep(self.dice.random() * self.switches["late"])
        now = time.monotonic()
        if self.switches["stale"] and may_be_stale and (self._stale.get(path, 0) > now or self._fault("stale")):
            self._stale.setdefault(path, now + STALE_FOR)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        self._stale.pop(path, None)
        return self.folder + path

    def _believed(self, kind: str, path: str, look: Callable[[str], Any]) -> Any:
        """What was seen some seconds ago, else what is seen now; None: that there is nothing was seen."""
        generation, now = self._generation, time.monotonic()
        until, value = self._cache.get((kind, path), (0.0, None))
        if until <= now:
            value = _seen(look, self._real(path))
            with self._lock:
                if generation == self._generation and self.switches["attr_cache"]:
                    self._cache[kind, path] = (now + self.switches["attr_cache"], value)
        elif value != _seen(look, self.folder + path):
            self.counts["outdated"] += 1
        if value is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return value

    def _forget(self, *paths: str) -> None:
        """Let go of what is believed of these paths, of all below them and of the folders that hold them."""
        with self._lock:
            self._generation += 1
            parents = {os.path.dirname(path) for path in paths}
            for key in list(self._cache):
                if key[1] in parents or any(key[1] == path or key[1].startswith(path + "/") for path in paths):
                    del self._cache[key]

    def _change(self, path: str, call: Callable[[], Any], grows: bool = True) -> Any:
        """Do what changes a folder; perhaps once more, as a server whose answer was lost."""
        self._real(path, may_be_stale=False)
        if grows:
            self._refuse_growth()
        try:
            done = call()
            return call() if self._fault("repeat") else done
        finally:
            self._forget(path)

    def _refuse_growth(self, when: str = "write") -> None:
        if self.switches["quota"] == when:
            self.counts["quota"] += 1
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        return self._believed("attributes", path, _attributes)  # type: ignore[no-any-return]

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._believed("listing", path, os.listdir)]

    def open(self, path: str, flags: int) -> int:
        self._cache.pop(("attributes", path), None)
        return os.open(self._real(path), flags)

    def create(self, path: str, mode: int, flags: int) -> int:
        return int(self._change(path, lambda: os.open(self.folder + path, flags, mode)))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._real(path)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._real(path, may_be_stale=False)
        self._refuse_growth()
        self._cache.pop(("attributes", path), None)
        return len(data) if self.switches["quota"] == "close" else os.pwrite(fh, data, offset)

    def flush(self, path: str, fh: int) -> None:
        if fcntl.fcntl(fh, fcntl.F_GETFL) & os.O_ACCMODE:
            self._refuse_growth("close")

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._real(path)
        self._refuse_growth("close")

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def flock(self, path: str, fh: int, op: int) -> None:
        if self.switches["no_flock"]:
            self.counts["no_flock"] += 1
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        fcntl.flock(fh, op | fcntl.LOCK_NB)

    def mkdir(self, path: str, mode: int) -> None:
        self._change(path, lambda: os.mkdir(self.folder + path, mode))

    def rmdir(self, path: str) -> None:
        self._change(path, lambda: os.rmdir(self.folder + path), grows=False)

    def unlink(self, path: str) -> None:
        self._change(path, lambda: os.unlink(self.folder + path), grows=False)

    def link(self, path: str, source: str) -> None:
        self._change(path, lambda: os.link(self.folder + source, self.folder + path))
        self._forget(source)

    def rename(self, old: str, new: str) -> None:
        self._change(old, lambda: os.rename(self.folder + old, self.folder + new), grows=False)
        self._forget(new)  # not where an error was told: then a client goes on believing what it believed of it

    def _set(self, path: str, call: Callable[..., None], *values: Any, **named: Any) -> None:
        call(self._real(path, may_be_stale=False), *values, **named)
        self._cache.pop(("attributes", path), None)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._set(path, os.truncate, length)

    def chmod(self, path: str, mode: int) -> None:
        self._set(path, os.chmod, mode)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        self._set(path, os.utime, ns=times)

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self.folder)
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}


def _seen(look: Callable[[str], Any], path: str) -> Any:
    try:
        return look(path)
    except FileNotFoundError:
        return None


def _attributes(path: str) -> dict[str, int]:
    found = os.lstat(path)
    times = {name: getattr(found, name + "_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
    return {name: getattr(found, name) for name in _ATTRIBUTES} | times


def _switch(view: View, path: str) -> None:
    """Take switches from standard input, and unmount when it ends: whoever mounted us has gone."""
    for line in sys.stdin:
        view.switches.update(json.loads(line))
        sys.stdout.write(json.dumps(view.counts) + "\n")
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        system.check(system.libc.umount2(path.encode(), system.DETACH), "umount")
    os._exit(0)


def main(folder: str, path: str) -> None:
    """Serve until the mount is taken away."""
    import mfusepy  # needs libfuse: `lacking` tells

    served = type("Served", (View, mfusepy.Operations), {})  # calls that `View` lacks: the kernel does without them
    view = served(folder)
    threading.Thread(target=_switch, args=(view, path), daemon=True).start()
    options = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "direct_io": True}
    mfusepy.FUSE(view, path, foreground=True, fsname="nfs-like", default_permissions=True, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
