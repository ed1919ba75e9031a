"""For which processor a file was built: the machine field of its ELF header, in the words of `uname -m`."""

from __future__ import annotations

import os
import platform
import stat
from typing import Optional

# Machine numbers of the ELF header (elf(5), e_machine at byte 18), and what kernels call these processors.
MACHINES = {3: "i386", 21: "ppc64le", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "i686": "i386"}


def here() -> str:
    """Return this machine's processor."""
    return canonical(platform.machine())


def canonical(machine: str) -> str:
    """Return the one name of a processor: `x86_64` for amd64, `aarch64` for arm64."""
    return _NAMES.get(machine.lower(), machine)


def machine_of(path: "str | os.PathLike[str]") -> Optional[str]:
    """Return the processor a program or library was built for; None for anything that is no whole ELF header."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a named pipe must not hold us
    except OSError:
        return None
    try:
        head = os.read(descriptor, 20) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(head) < 20 or not head.startswith(b"\x7fELF"):
        return None
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return MACHINES.get(number, "elf-{}".format(number))
