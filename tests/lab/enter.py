"""Run a program inside a lab host: enter.py PID PROGRAM [ARGUMENT...]; namespaces of the user last, they own less."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import system


def main(pid: str, argv: list[str]) -> int:
    """Enter all namespaces of a process, then run the program as its child there."""
    kinds = ("net", "uts", "ipc", "pid", "mnt", "user")
    mine = {kind: Path(f"/proc/self/ns/{kind}").readlink() for kind in kinds}
    theirs = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds}
    differ = [kind for kind in kinds if Path(f"/proc/{pid}/ns/{kind}").readlink() != mine[kind]]
    # a mount namespace that belongs to a user namespace can be entered from outside, too: we are root of both
    for kind in differ:
        system.check(system.libc.setns(theirs[kind], 0), f"setns {kind}")
    os.chdir("/")
    child = os.fork()
    if child == 0:
        os.setgid(0)
        os.setuid(0)
        os.execv(argv[0], argv)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
