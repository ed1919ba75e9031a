"""Starting a program: found in its own PATH, in a process group of its own, its output into its log."""

from __future__ import annotations

import errno
import os
import signal
from typing import Dict, List


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
    """The path of a program, looked for in the job's own PATH."""
    if "/" in program:
        return program
    for folder in os.get_exec_path(environment):
        path = os.path.join(folder, program)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(errno.ENOENT, "not found in PATH", program)
