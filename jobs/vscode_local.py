"""The permanent cure for VS Code on a shared home: its server folder becomes a link to a disk of each host's own.

~/.vscode-server -> /var/tmp/<user>/vscode-server     the same words on every host, another folder on each
~/.vscode-server.shared                               what was there before: put aside, never deleted
~/.vscode-server.orch-local.json                      what was done, for the undo; written before anything is moved
"""

from __future__ import annotations

import getpass
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from . import host, parking, vscode
from .atomic import read_json, sync_folder, write_json
from .disk import disk
from .errors import NotFound, OrchError, disk_error
from .shared_lock import shared_lock

if TYPE_CHECKING:
    from .agent import Agent

BASE = "/var/tmp"  # on every Linux host, of its own, and kept over a restart
KEPT = (os.path.join("data", "Machine"), os.path.join("data", "User"))  # settings, state and local history

Reply = Dict[str, Any]


def vscode_local(agent: "Agent", base: Optional[str] = None) -> Reply:
    """Tell of each server folder whether it leads to this host's own disk, and what stands against it.

    Parameters
    ----------
    base:
        Folder on a disk of its own, absolute, the same on every host; by default /var/tmp.

    Returns
    -------
    dict
        `folders`: rows with `folder`, `place`, `linked`, `ready` (nothing to do here), `ours` (an undo knows the way
        back), `refusal` (a text, or empty).
    """
    return {"folders": [look(folder, base) for folder in _folders()]}


def vscode_make_local(agent: "Agent", base: Optional[str] = None) -> Reply:
    """Put a link in place of every server folder; see `make`."""
    return {"folders": [make(folder, base) for folder in _folders()]}


def vscode_undo_local(agent: "Agent") -> Reply:
    """Put back what stood where a link of ours stands; see `undo`."""
    return {"folders": [undo(folder) for folder in _folders() if read_json(record_of(folder))]}


def _folders() -> List[str]:
    """The usual server folder, whether it is there or not, and the others that were used."""
    usual = os.path.join(os.path.expanduser("~"), vscode.EDITIONS[0])
    return [usual, *(path for path in vscode.folders() if path != usual)]


def record_of(folder: str) -> str:
    """Where it is written what was done to a folder."""
    return folder + ".orch-local.json"


def place_of(folder: str, base: Optional[str]) -> str:
    """Return where a server folder shall lie: by its words alone, so that they are the same on every host."""
    user, base = _user(), os.path.normpath(base or BASE)
    own = [] if user in base.split(os.sep) else [user]
    return os.path.join(base, *own, os.path.basename(folder).lstrip("."))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())


def look(folder: str, base: Optional[str] = None) -> Reply:
    """Return the state of one server folder; nothing is changed. A link that is there already has the last word."""
    linked = os.path.islink(folder)
    place = os.path.join(os.path.dirname(folder), os.readlink(folder)) if linked else place_of(folder, base)
    ready = linked and _is_ours(place)
    refusal = "" if ready else _against(place) or ("" if linked else _busy(folder))
    told = {"folder": folder, "place": place, "linked": linked, "ready": ready, "refusal": refusal}
    return {**told, "ours": bool(read_json(record_of(folder))), "content": os.path.isdir(folder) and not linked}


def _is_ours(place: str) -> bool:
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not _against(place)


def _against(place: str) -> str:
    """Say why a folder cannot hold the server, or nothing."""
    there = place
    while not os.path.exists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    found = disk(there)
    if found.on_network:
        return "{} is {}: it is shared, too; name a disk of its own as `scratch` in the site file".format(
            place, found.kind
        )
    if os.statvfs(there).f_flag & getattr(os, "ST_NOEXEC", 8):
        return "{} cannot run programs (noexec); name another disk as `scratch` in the site file".format(there)
    return _strange(place)


def _strange(place: str) -> str:
    """Say who else owns the folder or the one above it: in /var/tmp anybody may make any name first."""
    for path in (os.path.dirname(place), place):
        if os.path.islink(path):
            return "{} is a link, perhaps of somebody else".format(path)
        if os.path.exists(path) and not (_is_mine(path) or (path != place and _is_safe(path))):
            return "{} belongs to somebody else".format(path)
    return ""


def _is_mine(path: str) -> bool:
    return os.stat(path).st_uid == os.getuid()


def _is_safe(path: str) -> bool:
    """A common folder in which nobody can touch what is ours: the system's, sticky or for nobody else to write."""
    found = os.stat(path)
    return found.st_uid == 0 and (bool(found.st_mode & stat.S_ISVTX) or not found.st_mode & 0o022)


def _busy(folder: str) -> str:
    try:
        parking.refuse_if_alive(folder)
    except OrchError as error:
        return error.message
    return ""


def make(folder: str, base: Optional[str] = None) -> Reply:
    """Give this host a server folder of its own, and let the home's folder be a link to it.

    What was there is put aside by a rename; settings and local history are copied. Interrupted anywhere, the next call
    goes on. Where the link is there already (another host was first) only this host's folder is made.

    Returns
    -------
    dict
        `folder`, `place`, `changed`, `parked` (a path or None), `extensions` (identifiers that VS Code shall install
        again).

    Raises
    ------
    OrchError
        A server is alive, or the place will not do: a network disk, noexec, somebody else's.
    DiskError
        The home or the place cannot be written.
    """
    found = look(folder, base)
    if found["ready"]:
        return {"folder": folder, "place": found["place"], "changed": False, "parked": None, "extensions": []}
    with shared_lock(folder + ".orch-lock"):
        found = look(folder, base)
        if found["refusal"]:
            raise OrchError(found["refusal"], "close VS Code on all hosts, or name another disk, and run it again")
        try:
            return _make(folder, found)
        except OSError as error:
            raise disk_error(error, folder) from error


def _make(folder: str, found: Reply) -> Reply:
    record = read_json(record_of(folder)) or {"place": found["place"], "parked": None, "host": host.name()}
    if not found["linked"]:
        record["place"], record["t"] = found["place"], time.time()
        record["parked"] = _free(folder + ".shared") if found["content"] else record["parked"]
        record["extensions"] = vscode.extensions(folder) or record.get("extensions", [])
        write_json(record_of(folder), record)
    source = folder if found["content"] else record["parked"]
    _furnish(found["place"], source)
    if found["content"]:
        os.rename(folder, record["parked"])
    if not found["linked"]:
        os.symlink(found["place"], folder)
        sync_folder(os.path.dirname(folder))
    told = {"folder": folder, "place": found["place"], "changed": True, "parked": record["parked"]}
    return {**told, "extensions": record.get("extensions", [])}


def _free(path: str) -> str:
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = "{}~{}".format(path, number)
    return free


def _furnish(place: str, source: Optional[str]) -> None:
    """Make the folder, for its owner only, with settings and history; what is there already is left as it is."""
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    os.makedirs(place, 0o700, exist_ok=True)
    os.chmod(place, 0o700)
    for name in KEPT if source else ():
        wanted, target = os.path.join(str(source), name), os.path.join(place, name)
        if os.path.isdir(wanted) and not os.path.lexists(target):
            half = target + ".orch-half"
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(wanted, half, symlinks=True)
            os.rename(half, target)


def undo(folder: str) -> Reply:
    """Put back what stood in the place of a link of ours; what lies on the hosts' own disks stays there.

    Returns
    -------
    dict
        `folder`, `restored` (the path that was put aside, or None) and `left` (the folder on this host's disk).

    Raises
    ------
    NotFound
        Nothing of ours is there.
    OrchError
        A server is alive, or something else stands there by now.
    """
    record = read_json(record_of(folder))
    if not record:
        raise NotFound("{} was not made a link by orch".format(folder), "nothing is to be undone")
    parking.refuse_if_alive(folder)
    with shared_lock(folder + ".orch-lock"):
        try:
            if os.path.islink(folder) and os.readlink(folder) == record["place"]:
                os.unlink(folder)
            parked = record["parked"] if record["parked"] and os.path.lexists(record["parked"]) else None
            if parked and os.path.lexists(folder):
                text = "{} is no longer the link that orch made".format(folder)
                raise OrchError(text, "move it away by hand; what was there before is {}".format(parked))
            if parked:
                os.rename(parked, folder)
            os.unlink(record_of(folder))
            sync_folder(os.path.dirname(folder))
        except OSError as error:
            raise disk_error(error, folder) from error
    return {"folder": folder, "restored": parked, "left": record["place"]}
