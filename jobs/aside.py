"""Names of what is being made beside its place: they say who makes it, so that its death can be proved."""

from __future__ import annotations

import os
import re

from . import host
from .host_identity import machine

_MAKER = r"(?P<host>[^~]*)~(?P<boot>[0-9a-f-]+)~(?P<pid>\d+)~(?P<start>\d+)(~m(?P<machine>[0-9a-f]*))?"
_ASIDE = re.compile(r"\..+\." + _MAKER + r"~[0-9a-f]{8,}\Z", re.DOTALL)


def aside(target: str) -> str:
    """Return a free name beside a target, beginning with a dot: `.NAME.HOST~BOOT~PID~START~mMACHINE~TOKEN`.

    Without the kernel's word for boot and start (not Linux) it proves nothing, and `orch gc` leaves it alone.
    """
    parent, name = os.path.split(target)
    pid = os.getpid()
    process = [str(pid), str(host.start_time(pid) or "")]
    maker = [host.name(), host.boot_id(), *process, "m" + machine(), os.urandom(8).hex()]
    return os.path.join(parent, ".{}.{}".format(name, "~".join(maker)))


def dead(name: str) -> str:
    """Return the proof that the maker of an aside is gone, in words; empty when it lives, or nobody can tell here."""
    found = _ASIDE.match(name)
    if not found or not name.startswith(".") or not _made_here(name, found):
        return ""
    if found["boot"] != host.boot_id():
        return "it was left half made by a process of an earlier boot of {}".format(host.name())
    if host.is_alive(int(found["pid"]), int(found["start"])):
        return ""
    return "it was left half made by process {} of {}, which has ended".format(found["pid"], host.name())


def _made_here(name: str, found: "re.Match[str]") -> bool:
    """The host's name may hold dots as the target's may: it is compared as a whole; two machines may bear one name."""
    if found["machine"] and found["machine"] != machine():
        return False
    return bool(host.boot_id()) and name[: found.end("host")].endswith("." + host.name())
