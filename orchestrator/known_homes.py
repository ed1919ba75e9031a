"""Which orch home this machine knows at a path, on each host: `homes.json` in the state folder.

A home that was there and is not there now is away, not new: nothing may be run again in an empty place.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from jobs.atomic import read_json, write_json
from jobs.errors import DiskError
from jobs.folder import Home
from jobs.homes import open_home

from .config import Settings
from .store.place import make_folder

LOCAL = "local"  # name of this machine in `homes.json`, as in the site file
_writing = threading.Lock()  # hosts are asked side by side


def expected(settings: Settings, host: str, path: str) -> str:
    """Return the id of the home that is known at a path of a host; empty when none is."""
    return str(_read(settings).get(host, {}).get(path) or "")


def remember(settings: Settings, host: str, path: str, home_id: str) -> None:
    """Remember which home stands there; where the state folder cannot be written, the host's own memory must do."""
    if expected(settings, host, path) == home_id:
        return
    with _writing, contextlib.suppress(OSError, DiskError):
        known = _read(settings)
        make_folder(settings.state)
        write_json(_file(settings), {**known, host: {**known.get(host, {}), path: home_id}})


def open_own(settings: Settings, create: bool = True) -> tuple[Home, dict[str, Any]]:
    """Return this machine's orch home and its identity; a home that was never used is made.

    Raises
    ------
    NoHome
        There is none and `create` is false.
    HomeMissing, HomeMismatch
        The one that is known there is away, or another one stands there.
    ContractError, DiskError
        As `jobs.homes.open_home`.
    """
    path = str(settings.home)
    home, identity = open_home(path, create, expected=expected(settings, LOCAL, path))
    remember(settings, LOCAL, path, str(identity["id"]))
    return home, identity


def _file(settings: Settings) -> Path:
    return settings.state / "homes.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        said = read_json(_file(settings))
    except OSError:
        return {}
    return {host: homes for host, homes in said.items() if isinstance(homes, dict)} if isinstance(said, dict) else {}
