"""The verbs by which a person says which orch home is the right one: a new one, or the one that stands there now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict

from .atomic import read_json, write_json
from .errors import NoHome, UsageError, disk_error
from .folder import Home, HostFolder
from .home_identity import Place, forget, id_at
from .homes import host_folder, open_home, write_identity

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
MADE, COPY, MOVED, SAME = "made", "copy", "moved", "same"  # what was done


def new_home(agent: Agent, home: str) -> Reply:
    """Make a new, empty home at a path where this host knows another one that is away.

    Raises
    ------
    UsageError
        A home stands there.
    DiskError
        It cannot be made.
    """
    path = os.path.abspath(os.path.expanduser(home))
    if os.path.lexists(Home(path).identity):
        raise UsageError("{} is an orch home already".format(path), "orch home adopt takes it as it is")
    forget(path, _root())
    made, identity = open_home(path)
    _remember(made, str(identity["id"]))
    return {"id": identity["id"], "home": made.path, "action": MADE}


def adopt_home(agent: Agent, home: str) -> Reply:
    """Take the home that stands at a path: with a new id where it is a copy of one that is still there.

    Raises
    ------
    NoHome
        There is none.
    DiskError
        It cannot be written.
    """
    opened, identity = open_home(home, create=False)
    home_id = str(identity["id"])
    before = read_json(HostFolder.of(home_id).place)
    here = Place.of(opened.path)
    there = Place.of(str(before["path"])) if isinstance(before, dict) and before.get("path") else None
    if here is None:
        raise NoHome("no orch home at {}".format(opened.path), "orch home new makes one")
    action = SAME if there == here else MOVED
    if there and there[1:] != here[1:] and id_at(there.path) == home_id:
        home_id, action = os.urandom(8).hex(), COPY
    try:
        os.replace(write_identity(opened, home_id, str(identity["secret"])), opened.identity)
    except OSError as error:
        raise disk_error(error, opened.path) from error
    forget(opened.path, _root())
    _remember(opened, home_id)
    return {"id": home_id, "home": opened.path, "action": action}


def _remember(home: Home, home_id: str) -> None:
    place = Place.of(home.path)
    if place:
        write_json(host_folder(home, home_id).place, place._asdict())


def _root() -> str:
    return os.path.dirname(HostFolder.of("any").path)
