"""Which machine an attempt ran on, and whether a person declared it dead: names and clocks are no proof.

Two machines may have one name on one home. A claim therefore names the machine by a hash of its machine id
(machine-id(5)), and another boot proves an end on that machine only. Where the attempt's lock file lies, its lock is
asked, whatever the boot.
"""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any, Mapping, Optional, Tuple

from . import host
from .folder import Home, HostFolder, RunFolder
from .lease import is_held
from .results import read_document

_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_SALT = b"orch"  # the id itself is to be kept private, says machine-id(5)


@functools.lru_cache(maxsize=1)
def machine() -> str:
    """Return the identity of this machine, the same over boots; an empty text where it has none."""
    for path in _FILES:
        try:
            with open(path, "rb") as handle:
                found = handle.read(100).strip()
        except OSError:
            continue
        if found:
            return hashlib.sha256(_SALT + found).hexdigest()[:16]
    return ""


def of_another_boot(folder: RunFolder, claim: Mapping[str, Any], local: HostFolder) -> Tuple[str, str]:
    """Return `held`, `free` or `unknown`, and why, for an attempt of another boot of a host of our name."""
    theirs, name = claim.get("machine"), host.name()
    if theirs and machine() and theirs != machine():
        why = "another machine called {0} ran it: only that one can tell; if it is gone: orch host declare-dead {0}"
        return "unknown", why.format(name)
    path = local.attempt_lock(folder)
    try:
        if os.path.exists(path) and is_held(path):
            return "held", "its lock is held, in another boot: two machines are called {}".format(name)
    except OSError as error:
        return "unknown", "its lock cannot be read: {}".format(error.strerror)
    return "free", "the host was booted since"


def declaration(home: Home, name: str) -> Optional[Mapping[str, Any]]:
    """Return the word of a person that a host will not come back, or None."""
    told = read_document(home.dead(name))
    return told if isinstance(told, dict) else None


def concerns(told: Mapping[str, Any], folder: RunFolder, claim: Mapping[str, Any]) -> bool:
    """Tell whether a declaration is about this attempt: it names those that had begun.

    One of an older orch names none; there the two machines' clocks must do.
    """
    named = told.get("attempts")
    if isinstance(named, list):
        return [folder.sweep, folder.job_id, folder.attempt] in named
    at, began = told.get("at"), claim.get("at")
    return isinstance(at, (int, float)) and isinstance(began, (int, float)) and began < at
