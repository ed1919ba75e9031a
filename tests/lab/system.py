"""The system calls that Python 3.11 lacks (mount, pivot_root, unshare, setns), and what the lab needs to run."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
BIND, REC, PRIVATE, RDONLY, DETACH = 4096, 16384, 1 << 18, 1, 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def check(result: int, what: str) -> None:
    """Raise what the last call complained about."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = libc.mount(source.encode(), str(target).encode(), kind.encode() or None, flags, options.encode() or None)
    check(result, f"mount {kind} {source} {target}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(flags), "unshare")


def setns(path: str, kind: int) -> None:
    """Enter a namespace with the calling thread."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        check(libc.setns(descriptor, kind), f"setns {path}")
    finally:
        os.close(descriptor)


def change_root(root: Path) -> None:
    """Make a mounted folder the root of this process's mount namespace and let go of the old one."""
    os.chdir(root)
    check(libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount of the old root")
    os.chdir("/")


def lacking() -> str:
    """Return why no lab can be brought up here, and the command that would do it; empty when it can."""
    if platform.system() != "Linux" or os.getuid() != 0:
        return "the lab needs Linux and root: sudo .venv/bin/python -m pytest tests/lab"
    tools = {"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "setpriv": "util-linux"}
    tools |= {"nsenter": "util-linux", "unshare": "util-linux", "ssh-agent": "openssh-client", "iptables": "iptables"}
    packages = sorted({package for tool, package in tools.items() if not shutil.which(tool, path=SEARCH)})
    packages += [] if Path("/usr/bin/python3").exists() else ["python3"]
    return f"the lab needs more packages: apt-get install {' '.join(packages)}" if packages else ""


def lacking_arm() -> str:
    """Return why there can be no aarch64 host here; empty when there can."""
    if tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) < (6, 7):
        return "the aarch64 hosts need Linux 6.7: a binfmt_misc table for each user namespace"
    if platform.machine() != "x86_64":
        return "the aarch64 hosts are made for an x86_64 machine"
    tools = {"qemu-aarch64-static": "qemu-user-static", "debootstrap": "debootstrap"}
    packages = [package for tool, package in tools.items() if not shutil.which(tool, path=SEARCH)]
    return f"the aarch64 hosts need more packages: apt-get install {' '.join(packages)}" if packages else ""


SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
