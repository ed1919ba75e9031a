"""One look at this machine, as plain JSON values: what runs here, how much of it we may use, and why.

Runs on hosts on which nothing is installed yet; `setup.facts` reads what it tells.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import Any, Dict, Optional

from . import CONTRACT, gpu, host, limits
from .disk import disk
from .folder import HostFolder


def probe(home: Optional[str] = None) -> Dict[str, Any]:
    """Return the facts of this machine.

    Parameters
    ----------
    home:
        Folder that shall hold the orch home; by default the user's home folder.

    Returns
    -------
    dict
        `clock` in seconds since 1970 UTC, `memory_mb` in MiB, disks in bytes; every value that is not simply read has
        its reason in `reasons`, under its own key. None: this system does not tell.
    """
    seen, cores, memory = gpu.look(), limits.cpus(), limits.memory_mb()
    return {
        "contract": CONTRACT,
        "hostname": host.name(),
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "os": _pretty_name(),
        "glibc": _glibc(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpus": cores.value,
        "memory_mb": memory.value,
        "boot_id": host.boot_id() or None,
        "gpus": [card.to_json() for card in seen.cards],
        "disks": {
            "home": disk(home or os.path.expanduser("~")).to_json(),
            "local": disk(HostFolder.of("").path).to_json(),
        },
        "clock": time.time(),
        "reasons": {"cpus": cores.reason, "memory_mb": memory.reason, "gpus": seen.reason},
    }


def _pretty_name() -> str:
    """`PRETTY_NAME` of os-release(5), else what Python calls the platform."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                lines = handle.read().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip().strip("\"'")
    return platform.platform(terse=True)


def _glibc() -> Optional[str]:
    """Version of the C library when it is glibc: wheels name the oldest one they accept."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):  # not on Windows; unknown to musl
        return None
    return version if name == "glibc" else None
