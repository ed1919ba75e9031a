"""The orch home's identity: made once, whoever comes first."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Any, Dict, Iterator

from . import CONTRACT
from .atomic import forget, read_json, write_bytes
from .errors import ContractError, NoHome, disk_error
from .folder import Home


def open_home(path: str, create: bool = True) -> "tuple[Home, Dict[str, Any]]":
    """Return the home and its identity `{"contract", "id", "secret"}`; make both when missing.

    Raises
    ------
    NoHome
        There is none and `create` is false.
    ContractError
        A newer orch wrote it.
    DiskError
        It cannot be written.
    """
    home = Home(os.path.abspath(os.path.expanduser(path)))
    identity = read_json(home.identity)
    if identity is None:
        if not create:
            raise NoHome("no orch home at {}".format(home.path), "orch init, or name another: --home FOLDER")
        identity = _make(home)
    if not isinstance(identity, dict) or not {"contract", "id", "secret"} <= set(identity):
        text = "{} is damaged: pseudonyms and locks hang on it".format(home.identity)
        raise ContractError(text, "put it back from a backup; if there is none, delete it: pseudonyms will change")
    if identity["contract"] > CONTRACT:
        text = "{} was written by a newer orch (contract {})".format(home.path, identity["contract"])
        raise ContractError(text, "pip install --upgrade orch-lab")
    return home, identity


def _make(home: Home) -> Any:
    identity = {"contract": CONTRACT, "id": os.urandom(8).hex(), "secret": os.urandom(32).hex()}
    temporary = "{}.{}".format(home.identity, identity["id"])
    try:
        os.makedirs(home.path, 0o700, exist_ok=True)
        write_bytes(temporary, json.dumps(identity).encode())
        os.chmod(temporary, 0o600)
        try:
            os.link(temporary, home.identity)  # fails when somebody was faster: theirs counts
        except FileExistsError:
            pass
        forget(temporary)
    except OSError as error:
        raise disk_error(error, home.path) from error
    return read_json(home.identity)


_umask = threading.Lock()
_inside = [0, 0]  # blocks of `private` entered in this process, and the umask before the first of them


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Let files and folders made inside be their owner's alone, whatever the session's umask.

    The umask belongs to the process: of several threads the first one in sets it and the last one out restores it.
    """
    with _umask:
        if not _inside[0]:
            _inside[1] = os.umask(0o077)
        _inside[0] += 1
    try:
        yield
    finally:
        with _umask:
            _inside[0] -= 1
            if not _inside[0]:
                os.umask(_inside[1])


def private_folder(path: str) -> None:
    """Make a host-local folder that is ours alone.

    Raises
    ------
    ContractError
        A stranger has a folder of that name (in a sticky /var/tmp).
    DiskError
        It cannot be made.
    """
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    for folder in (os.path.dirname(path), path):
        if os.lstat(folder).st_uid != os.getuid():
            raise ContractError(
                "{} belongs to somebody else".format(folder), "set ORCH_LOCAL to a local folder of yours"
            )
