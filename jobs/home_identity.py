"""Which orch home stands at a path, asked before anything is made there; and whether it is a copy of another one.

A disk that is not mounted leaves an empty folder behind, and `cp -a` makes two homes of one id. So nothing is made
below a path whose `home.json` is not that of the home expected; each host remembers in its host-local folder where it
saw a home last, and `home.json` holds the number of its own inode, which a copy does not have.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .atomic import patiently, read_json, write_json
from .disk import disk
from .documents import is_no_document, open_plain, parse
from .errors import HomeMismatch, HomeMissing
from .folder import Home, HostFolder, listing

# File systems on which a file keeps the number of its inode after a new mount, and on all hosts that mount them.
_KINDS = "ext2 ext3 ext4 xfs btrfs zfs f2fs tmpfs nfs nfs4 lustre gpfs beegfs ceph"
_STABLE = frozenset(_KINDS.split())

_Mark = Tuple[int, int, int, int]  # of home.json: device, inode, time of its last change (ns), size
_seen: Dict[Tuple[str, str], _Mark] = {}  # path and id -> the file in which this process has read that id


class Place(NamedTuple):
    """Where a home stands: its real path, and the device and inode of its `home.json`."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> "Optional[Place]":
        """Return that of a home at this path; None where there is none."""
        real = os.path.realpath(path)
        try:
            found = os.stat(Home(real).identity)
        except OSError:
            return None
        return cls(real, found.st_dev, found.st_ino)


def check(home: Home, home_id: str) -> None:
    """Make sure that the home expected stands at its path; one `stat` when it did before.

    Raises
    ------
    HomeMissing
        There is no home (its disk is not mounted, or it was moved).
    HomeMismatch
        It is another one.
    OSError
        Its disk does not say.
    """
    _check(home, home_id, lambda: os.stat(home.identity), lambda: read_json(home.identity))


def make_folder(home: Home, path: str, home_id: str = "") -> None:
    """Make a folder of a home and those above it, never the home's own folder nor anything above that.

    All is made relative to the home's folder, opened once: when its disk goes away in between, nothing is made in the
    empty place that it leaves.

    Parameters
    ----------
    home_id:
        The home that must stand there; without it, any folder will do.

    Raises
    ------
    HomeMissing, HomeMismatch
        It does not.
    OSError
        The disk refuses it.
    """
    try:
        root = patiently(lambda: os.open(home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(home, home_id) from error
    try:
        if home_id:
            name = os.path.basename(home.identity)
            _check(home, home_id, lambda: os.stat(name, dir_fd=root), lambda: _read_in(root, name))
        _make(os.path.relpath(path, home.path), root)
    finally:
        os.close(root)


def _make(relative: str, root: int) -> None:
    try:
        os.mkdir(relative, dir_fd=root)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = os.path.dirname(relative)
        if not parent:
            raise
        _make(parent, root)
        _make(relative, root)


def _check(home: Home, home_id: str, look: Any, read: Any) -> None:
    try:
        found = patiently(look)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(home, home_id) from error
    mark = (found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size)
    if _seen.get((home.path, home_id)) == mark:
        return
    said = read()
    if not isinstance(said, dict) or said.get("id") != home_id:
        there = said.get("id") if isinstance(said, dict) else "unreadable"
        text = "another orch home stands at {} ({}) than the one expected ({})".format(home.path, there, home_id)
        raise HomeMismatch(text, "mount the right disk there; to use the one that is there now: orch home adopt")
    _seen[home.path, home_id] = mark


def _read_in(root: int, name: str) -> Any:
    try:
        with open(open_plain(name, folder=root), "rb") as handle:
            return parse(handle.read(1 << 16))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        if is_no_document(error):
            return None
        raise


def _missing(home: Home, home_id: str) -> HomeMissing:
    text = "the orch home {} ({}) is not there: its disk is not mounted, or it was moved".format(home.path, home_id)
    return HomeMissing(text, REPAIR)


REPAIR = (
    "mount it, then run the same command again; if it was moved, name its new place: orch config home FOLDER; to begin "
    "with a new, empty home at this path: orch home new"
)


def remembered(path: str, below: str) -> List[str]:
    """Return the ids of homes that this host saw last at a path; `below` is the folder of all host-local folders."""
    real = os.path.realpath(path)
    names = (name for name in listing(below) if not name.startswith("."))
    return [name for name in sorted(names) if (_recall(HostFolder(os.path.join(below, name))) or ("",))[0] == real]


def forget(path: str, below: str) -> None:
    """Let this host no longer expect a home at a path."""
    for name in remembered(path, below):
        os.unlink(HostFolder(os.path.join(below, name)).place)


def _recall(local: HostFolder) -> Optional[Place]:
    said = read_json(local.place)
    try:
        return Place(str(said["path"]), int(said["device"]), int(said["inode"])) if isinstance(said, dict) else None
    except (KeyError, TypeError, ValueError):
        return None


def moved_to(home: Home, local: HostFolder) -> Home:
    """Return the home where this host saw it last: elsewhere, when a command has found it moved."""
    place = _recall(local)
    if place is None or place.path == os.path.realpath(home.path) or id_at(place.path) != local.home_id:
        return home
    return home if id_at(home.path) == local.home_id else Home(place.path)


def is_deleted(home: Home, local: HostFolder) -> bool:
    """Tell whether a home was deleted or renamed; of a disk that is away the mount point is left."""
    place = _recall(local)
    try:
        above = os.stat(os.path.dirname(os.path.realpath(home.path)))
    except OSError:
        return False
    return place is not None and not os.path.lexists(home.path) and above.st_dev == place.device


def id_at(path: str) -> str:
    """Return the id of the home at a path; empty where there is none, or its disk does not say."""
    try:
        said = read_json(Home(path).identity)
    except OSError:
        return ""
    return str(said.get("id") or "") if isinstance(said, dict) else ""


def confirm(home: Home, identity: Dict[str, Any], local: HostFolder) -> None:
    """Make sure that a home is no copy, and remember where it stands.

    Raises
    ------
    HomeMismatch
        It is one, or may be one: what waits in it would run twice.
    """
    here, before = Place.of(home.path), _recall(local)
    if here is None or here == before:
        return
    reason = _copied(here, before, identity)
    if reason:
        raise HomeMismatch("the orch home {} {}".format(home.path, reason), ADOPT)
    if before is None or before.path == here.path or id_at(before.path) != identity["id"]:
        write_json(local.place, here._asdict(), sync=False)


ADOPT = (
    "orch home adopt makes the one at this path a home of its own, or, where the other is gone for good, takes it for "
    "the one that was moved here; what waits in it runs only then"
)


def _waits(home: Home) -> bool:
    """Tell whether jobs wait in a home: what has ended is looked at in any copy, without a question."""
    return any(name.endswith(".jsonl") for host in home.queue_hosts() for name in listing(home.queue(host)))


def _copied(here: Place, before: Optional[Place], identity: Dict[str, Any]) -> str:
    """Why a home counts as a copy, as the rest of a sentence; empty when it does not."""
    if before is not None and before.path == here.path:
        return ""  # mounted anew, or put back from a backup: there is no other one here
    if before is not None and id_at(before.path) == identity["id"]:
        there = Place.of(before.path)
        if there and there[1:] == here[1:]:
            return ""  # the same by another path
        return "is a copy of {} (both have the id {})".format(before.path, identity["id"])
    if before is not None:
        moved = here.inode == before.inode
        return "" if moved else "was seen at {} before, and these files are other ones".format(before.path)
    made = identity.get("inode")
    if not isinstance(made, int) or made == here.inode or not _waits(Home(here.path)):
        return ""
    return (
        ""
        if disk(here.path).kind not in _STABLE
        else "was copied or restored from elsewhere: its files are not those with which it was made"
    )
