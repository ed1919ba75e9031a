"""Which attempts began, in their order: a look reads the new lines and need not open every run folder.

A list `<home>/begun/<host>/<boot id>-<random>` has a line `sweep job attempt` for each attempt that this host published
in that boot. It is written before the run folder appears, so that none appears without its line; a line without its
folder is read again at the next look. A list that is new (there is one after each boot) or shorter than before means
that lines may be missing, and everything is looked at.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Dict, FrozenSet, List, Mapping, Optional, Tuple

from . import host
from .atomic import exists, forget
from .documents import LARGEST, is_no_document, open_plain
from .folder import Home, RunFolder, listing
from .home_identity import make_folder

Key = Tuple[str, str, int]  # sweep, job id, attempt
LATELY = 600.0  # seconds: names are believed for one minute, and clocks differ
Told = Dict[str, int]  # bytes of each list that were read, by `<host>/<file>`


def note(folder: RunFolder, home_id: str = "") -> None:
    """Write down that an attempt is about to appear.

    Raises
    ------
    OSError
        The disk refuses it; the attempt must not appear.
    """
    line = "{} {} {}\n".format(folder.sweep, folder.job_id, folder.attempt).encode()
    descriptor = _open(folder.home, home_id)
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder.home.begun(host.name()))
    finally:
        os.close(descriptor)


def _open(home: Home, home_id: str) -> int:
    """Open this boot's list for appending; whoever makes one deletes those of earlier boots."""
    parent = home.begun(host.name())
    boot, names = host.boot_id(), listing(parent)
    for name in sorted(name for name in names if name.startswith(boot)):
        try:
            return open_plain(os.path.join(parent, name), os.O_WRONLY | os.O_APPEND)
        except OSError as error:  # somebody has just deleted it, or put something else there
            if not (isinstance(error, FileNotFoundError) or is_no_document(error)):
                raise
    make_folder(home, parent, home_id)
    path = os.path.join(parent, "{}-{}".format(boot, os.urandom(4).hex()))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)  # the name is ours alone
    for name in names:
        if not name.startswith(boot):
            forget(os.path.join(parent, name))
    return descriptor


def ends(home: Home, others: FrozenSet[str], home_id: str = "") -> Optional[Told]:
    """Return how long every list is now, except those of `others` (hosts that are asked themselves).

    None where this host cannot keep a list: its disk is full, or not writable.
    """
    try:
        os.close(_open(home, home_id))  # after a boot it is new, and so not as it was
        return {
            "{}/{}".format(machine, name): os.stat(os.path.join(home.begun(machine), name)).st_size
            for machine in home.begun_hosts()
            if machine not in others
            for name in sorted(listing(home.begun(machine)))
        }
    except OSError:
        return None


def between(home: Home, since: Mapping[str, int], until: Told) -> Optional[List[Key]]:
    """Return the attempts noted in between; None when that cannot be told, and everything must be looked at.

    `until` is set back to the end of the last whole line, where another host is just writing.
    """
    if any(since.get(name, end + 1) > end for name, end in until.items()):
        return None
    found: List[Key] = []
    try:
        for name in sorted(name for name, end in until.items() if since[name] < end):
            machine, _, file = name.partition("/")
            if until[name] - since[name] > LARGEST:
                return None
            with open(os.path.join(home.begun(machine), file), "rb", opener=open_plain) as handle:
                handle.seek(since[name])
                data = handle.read(until[name] - since[name])
            whole = data[: data.rfind(b"\n") + 1]
            until[name] = since[name] + len(whole)
            found += [_key(line) for line in whole.decode("ascii").splitlines()]
    except (OSError, ValueError):
        return None
    return found


def grew_lately(home: Home, lists: Told) -> bool:
    """Tell whether a list has new lines: an NFS client may still believe that the folders they name are not there."""
    paths = (os.path.join(home.begun(""), name) for name in lists)
    return any(exists(path) and abs(time.time() - os.stat(path).st_mtime) < LATELY for path in paths)


def _key(line: str) -> Key:
    sweep, job, number = line.split(" ")
    return sweep, job, int(number)
