"""The orch home's identity: made once, whoever comes first."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from typing import Any, Dict, Iterator

from . import CONTRACT
from .atomic import forget, read_json, sync_folder
from .errors import ContractError, NoHome, disk_error
from .folder import Home, HostFolder
from .home_identity import check, remembered


def open_home(path: str, create: bool = True, secret: str = "", expected: str = "") -> "tuple[Home, Dict[str, Any]]":
    """Return the home and its identity `{"contract", "id", "secret"}`; make both when missing.

    Parameters
    ----------
    secret:
        That of a new home; without one it is random.
    expected:
        Id of the home that is known to be there.

    Raises
    ------
    NoHome
        There is none and `create` is false.
    HomeMissing
        There is none, and somebody, or this host, knows one at this path.
    HomeMismatch
        It is another one than expected.
    ContractError
        A newer orch wrote it, or it is another person's.
    DiskError
        It cannot be written.
    """
    home = Home(os.path.abspath(os.path.expanduser(path)))
    try:
        identity = read_json(home.identity)
    except PermissionError as error:
        text = "{} is somebody else's: it cannot be read".format(home.path)
        raise ContractError(
            text, "a home for several: chmod g+rwxs its folder when it is new; or --home FOLDER"
        ) from error
    if identity is None:
        known = expected or next(iter(remembered(home.path, os.path.dirname(HostFolder.of("any").path))), "")
        if known:
            check(home, known)
        if not create:
            raise NoHome("no orch home at {}".format(home.path), "orch init, or name another: --home FOLDER")
        identity = _make(home, secret or os.urandom(32).hex())
    if not isinstance(identity, dict) or not {"contract", "id", "secret"} <= set(identity):
        text = "{} is damaged: pseudonyms and locks hang on it".format(home.identity)
        raise ContractError(text, "put it back from a backup; if there is none, delete it: pseudonyms will change")
    if identity["contract"] > CONTRACT:
        text = "{} was written by a newer orch (contract {})".format(home.path, identity["contract"])
        raise ContractError(text, "pip install --upgrade orch-lab")
    if expected:
        check(home, expected)
    return home, identity


def _make(home: Home, secret: str) -> Any:
    temporary = ""
    try:
        os.makedirs(home.path, 0o700, exist_ok=True)
        temporary = write_identity(home, os.urandom(8).hex(), secret)
        try:
            os.link(temporary, home.identity)  # fails when somebody was faster: theirs counts
        except FileExistsError:
            pass
        forget(temporary)
        sync_folder(home.path)
    except OSError as error:
        raise disk_error(error, home.path) from error
    return read_json(home.identity)


def write_identity(home: Home, home_id: str, secret: str) -> str:
    """Write who a home is into a file beside `home.json`, synced, for a link or a rename; return its path.

    It holds the number of its own inode, which a copy does not have.

    Raises
    ------
    OSError
        The disk refuses it.
    """
    path = "{}.{}".format(home.identity, os.urandom(8).hex())
    with open(path, "wb") as handle:  # the name is ours alone
        said = {"contract": CONTRACT, "id": home_id, "secret": secret, "inode": os.fstat(handle.fileno()).st_ino}
        handle.write(json.dumps(said).encode())
        handle.flush()
        os.fsync(handle.fileno())
    os.chmod(path, 0o640 & ~mask(home.path))
    return path


_OVERFLOW = 65534  # whose files of unmapped users seem to be (proc(5), overflowuid)
_ANOTHER = "name a local folder of yours on that host: export ORCH_LOCAL=/scratch/you, in ~/.profile or ~/.bashrc"
PRIVATE, SHARED = 0o077, 0o007  # umasks: files are their owner's alone, or the group's too


def mask(home: str) -> int:
    """Return the umask of what lies in an orch home.

    A folder that its group may write to and hands on (`chmod g+rwxs`) is the group's, with all in it; any other home is
    its owner's alone.
    """
    shared = stat.S_ISGID | stat.S_IWGRP
    try:
        return SHARED if os.stat(home).st_mode & shared == shared else PRIVATE
    except OSError:
        return PRIVATE


def host_folder(home: Home, home_id: str) -> HostFolder:
    """Make this user's folder for a home on this host: ours alone.

    Of the group's home, the group may look into it: a colleague's `orch` sees by the locks there that our jobs run.

    Raises
    ------
    ContractError
        A stranger has a folder of that name (in a sticky /var/tmp).
    DiskError
        It cannot be made.
    """
    try:
        local = HostFolder.of(home_id)
    except OSError as error:
        raise disk_error(error, os.environ.get("ORCH_LOCAL") or "/var/tmp") from error
    make_own(os.path.dirname(local.path), local.path)
    if mask(home.path) == SHARED:
        with contextlib.suppress(PermissionError):  # not of the group (root, or its owner): then nobody looks in
            _show(local, os.stat(home.path).st_gid)
    return local


def _show(local: HostFolder, group: int) -> None:
    os.chmod(os.path.dirname(local.path), 0o711)
    for folder in (local.path, local.locks, local.spool):
        os.makedirs(folder, exist_ok=True)
        about = os.stat(folder)
        if about.st_gid != group:
            os.chown(folder, -1, group)
        if stat.S_IMODE(about.st_mode) != 0o2750:
            os.chmod(folder, 0o2750)


_umask = threading.Lock()
_inside = [0, 0]  # blocks of `private` entered in this process, and the umask before the first of them


@contextlib.contextmanager
def private(home: str = "") -> Iterator[None]:
    """Let files and folders made inside be as the orch home is in which they lie (`mask`), or their owner's alone.

    The umask belongs to the process: of several threads the first one in sets it and the last one out restores it.
    """
    with _umask:
        if not _inside[0]:
            _inside[1] = os.umask(mask(home))
        _inside[0] += 1
    try:
        yield
    finally:
        with _umask:
            _inside[0] -= 1
            if not _inside[0]:
                os.umask(_inside[1])


def make_own(*folders: str) -> None:
    """Make folders on local disk, one in the other, that are ours alone: no link is followed, nobody else's is used.

    Raises
    ------
    ContractError
        A stranger has a folder or a link of that name, or may rename what is above it.
    DiskError
        It cannot be made.
    """
    _check_above(os.path.dirname(folders[0]))
    for folder in folders:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            about = os.lstat(folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
            what = "a link or a file" if about.st_uid == os.getuid() else "somebody else's"
            raise ContractError("{} is {}, no folder of yours".format(folder, what), _ANOTHER)
        if about.st_mode & 0o022:
            os.chmod(folder, stat.S_IMODE(about.st_mode) & ~0o022)


def _check_above(root: str) -> None:
    """Refuse a place that another user could rename: each folder above is root's, ours, or sticky.

    In a container root outside may be nobody inside (the overflow id).
    """
    try:
        os.makedirs(root, exist_ok=True)
        place = os.path.realpath(root)
        while True:
            about = os.lstat(place)
            if about.st_uid not in (0, os.getuid(), _OVERFLOW) and not about.st_mode & stat.S_ISVTX:
                raise ContractError(
                    "{} may be renamed by its owner, who is neither you nor root".format(place), _ANOTHER
                )
            if place == os.path.dirname(place):
                return
            place = os.path.dirname(place)
    except OSError as error:
        raise disk_error(error, root) from error
