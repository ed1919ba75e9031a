"""A long child program of the agent: its lines as they come, an end when the client leaves, no process left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from typing import Any, Callable, Dict, Generator, List, NamedTuple, Optional, Sequence

from .errors import DiskError, OrchError, Unreachable

TICK = 5.0  # seconds of silence after which an empty line says that the child lives
KEPT = 40  # last lines, for messages
_BLOCK = 1 << 16  # bytes in one read
_ENDS = re.compile(rb"[\r\n]+")
# What programs say when a disk is full; the first group that matches is quoted.
_FULL = re.compile(r"no space left on device|disk quota exceeded|errno 28|errno 122|enospc|edquot", re.IGNORECASE)

Lines = Generator[str, None, "Ended"]


class Ended(NamedTuple):
    """How a child ended."""

    status: int
    lines: List[str]

    def complaint(self) -> str:
        """The line that says most: the last one that speaks of an error, else the exit status with the last one."""
        spoken = [line.strip() for line in self.lines if line.strip()]
        errors = [line for line in spoken if re.search(r"error|fatal|cannot|no such|failed", line, re.IGNORECASE)]
        if errors:
            return errors[-1][:500]
        return "exit status {}{}".format(self.status, ", last line: " + spoken[-1][:400] if spoken else "")


def run(
    argv: Sequence[str],
    environment: Dict[str, str],
    left: Callable[[], bool],
    keep: Sequence[int] = (),
    folder: Optional[str] = None,
    request: Optional[str] = None,
) -> Lines:
    """Start a program and yield its lines (an empty text after `TICK` seconds of silence); return how it ended.

    Parameters
    ----------
    argv, environment, folder:
        Program, the whole environment, current folder.
    left:
        Tells whether the client has left: the child and all of its session are then ended.
    keep:
        Descriptors that the child inherits: a lock stays held while it lives, whatever becomes of us.
    request:
        Path of a file that it reads as its standard input; None: nothing.

    Raises
    ------
    OrchError
        The program cannot be started.
    Unreachable
        The client left.
    """
    try:
        with open(request or os.devnull, "rb") as source:
            child = subprocess.Popen(
                argv,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                pass_fds=tuple(keep),
                start_new_session=True,
            )
    except OSError as error:
        raise OrchError("cannot start {}: {}".format(argv[0], error.strerror), "is it for this machine?") from error
    try:
        said = yield from _lines(child, left)
        return Ended(child.wait(), said)
    finally:
        _end(child)


def _lines(child: "subprocess.Popen[bytes]", left: Callable[[], bool]) -> Generator[str, None, List[str]]:
    assert child.stdout is not None
    said: List[str] = []
    rest, descriptor, silent = b"", child.stdout.fileno(), 0.0
    while True:
        if left():
            raise Unreachable("the client left; what was begun is gone on with next time", "run the same command again")
        ready = select.select([descriptor], [], [], 0.5)[0]
        if not ready:
            silent += 0.5
            if silent >= TICK:
                silent = 0.0
                yield ""
            continue
        block = os.read(descriptor, _BLOCK)
        *lines, rest = _ENDS.split(rest + block)
        for line in [*lines, *([] if block else [rest])]:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                said = [*said[1 - KEPT :], text]
                yield text
        if not block:
            return said


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End what is left of the child's session; its own group is ours to signal."""
    if child.stdout:
        child.stdout.close()
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def check(ended: Ended, what: str, hint: str, **context: Any) -> None:
    """Turn a failed child into an error: disk trouble is told as such, anything else by its most telling line.

    Raises
    ------
    DiskError
        The disk is full or the quota used up.
    OrchError
        It failed in another way.
    """
    if ended.status == 0:
        return
    if disk_is_full(ended):
        text = "{}: {}".format(what, [line for line in ended.lines if _FULL.search(line)][-1].strip()[:300])
        raise DiskError(text, "free some space, then run the same command again: what is done stays done", **context)
    raise OrchError("{}: {}".format(what, ended.complaint()), hint, lines=ended.lines, status=ended.status, **context)


def disk_is_full(ended: Ended) -> bool:
    """Tell whether a child failed for want of space."""
    return ended.status != 0 and any(_FULL.search(line) for line in ended.lines)
