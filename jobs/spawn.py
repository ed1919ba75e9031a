"""Starting a program: found in its own PATH, in a process group of its own, its output into its log."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .errors import OrchError
from .transient import may_pass, waits

START_LIMIT = 600.0  # seconds for which a start is tried that the system refuses for now (EAGAIN, ENOMEM, EIO, ...)


def start(
    prepare: Callable[[], Tuple[List[str], str]],
    environment: Dict[str, str],
    log: str,
    pause: Callable[[float, Exception], bool],
) -> int:
    """Start a program in its folder, tried again while what refuses it may pass; return its process id.

    Parameters
    ----------
    prepare:
        Gives the program's words and its folder.
    pause:
        Waits so many seconds after such an error; False: do not try again.

    Raises
    ------
    OSError, ValueError, OrchError
        It cannot be started; its `filename` is the folder where that is the cause.
    """
    deadline = time.monotonic() + START_LIMIT
    for wait in waits():
        try:
            argv, cwd = prepare()
            os.chdir(cwd)  # ours too: nobody else lives in this process
            return spawn(argv, environment, log)
        except (OSError, MemoryError) as error:
            if not may_pass(error) or time.monotonic() > deadline or not pause(wait, error):
                raise
    raise AssertionError  # `waits` has no end


def say_why_not(job: Mapping[str, Any], log: str, error: Exception) -> None:
    """Write into the job's own log why it was not started."""
    what, why = job["argv"][0], str(error)
    if isinstance(error, OSError):
        what = "in folder {}".format(error.filename) if error.filename == job["cwd"] else what
        why = os.strerror(error.errno or 0)
    kind = "not verified" if isinstance(error, OrchError) else "cannot start {}".format(what)
    if may_pass(error):
        kind = "could not start {} for {:.0f} s".format(what, START_LIMIT)
    try:
        with open(log, "a", encoding="utf-8", errors="replace") as handle:
            handle.write("orch: {}: {}\n".format(kind, why))
    except OSError:  # a full disk: the exit status 127 must do
        pass


def spawn(argv: List[str], environment: Dict[str, str], log: str) -> int:
    """Start a program in its own process group, output into its log; `posix_spawn` copies no page of ours."""
    output = (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    return os.posix_spawn(
        _find(argv[0], environment),
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            output,
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setpgroup=0,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these two
    )


def _find(program: str, environment: Dict[str, str]) -> str:
    """The path of a program, looked for in the job's own PATH; a folder that does not answer now is no answer."""
    if "/" in program:
        return program
    silent: Optional[OSError] = None
    for folder in os.get_exec_path(environment):
        path = os.path.join(folder, program)
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode) and os.access(path, os.X_OK):
                return path
        except OSError as error:
            silent = error if may_pass(error) else silent
    raise silent or FileNotFoundError(errno.ENOENT, "not found in PATH", program)
