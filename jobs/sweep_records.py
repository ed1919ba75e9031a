"""The record of a sweep in an orch home: whose it is, and how it is replaced without writing over another's."""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, Optional

from . import host
from .atomic import forget, read_json, sync_file, sync_folder, write_json
from .errors import NameTaken
from .folder import Home
from .home_identity import make_folder
from .homes import PRIVATE, mask

Record = Dict[str, Any]

LARGEST = 32 << 20  # bytes: a record of 100,000 cells is a third of it
_NOBODY = 65534  # to whom a file server gives the files of users that it does not know: it tells nothing
_KEPT = ("title", "project", "version", "versions")  # what an older orch does not know, and must not lose


def owner(home: Home, path: str) -> Optional[Dict[str, Any]]:
    """Return whose a file of the home is: `{"uid", "login", "mine"}`; None when it is not there.

    What the file system says counts, never what the file says. A home that is not the group's is one person's.
    """
    try:
        uid = os.lstat(path).st_uid
    except OSError:
        return None
    mine = uid in (host.user(), _NOBODY) or mask(home.path) == PRIVATE
    return {"uid": uid, "login": host.user_name(uid), "mine": mine}


def read(home: Home, name: str) -> Optional[Record]:
    """Return a sweep's record with its `owner`, or None when there is none that can be read."""
    try:
        record = read_json(home.sweep(name), LARGEST)
    except OSError:
        return None
    if not isinstance(record, dict) or record.get("name") != name:  # else it would be taken for another sweep's
        return None
    return {**record, "owner": owner(home, home.sweep(name))}


def same_project(one: Optional[Mapping[str, Any]], other: Optional[Mapping[str, Any]]) -> bool:
    """Tell whether two records' `project` mean one project: by the ids that people gave, else by a common folder.

    None stands for no project: what `orch run` queues belongs to none.
    """
    if not one or not other:
        return not one and not other
    if one.get("declared") and other.get("declared"):
        return one.get("id") == other.get("id")
    return bool({*one.get("folders", ())} & {*other.get("folders", ())})


def write(home: Home, record: Record) -> None:
    """Replace a sweep's record in one step; one that `grows` keeps its cells, and the day of its begin stays.

    Raises
    ------
    NameTaken
        The name is another person's or another project's: nothing was written.
    OSError
        The home cannot be written.
    """
    path = home.sweep(record["name"])
    make_folder(home, home.sweeps)
    if not os.path.lexists(path) and _create(path, record):
        return
    before = read(home, record["name"]) or {"owner": owner(home, path)}
    _refuse_taken(before, record)
    if "title" not in record:
        record = {**record, **{key: before[key] for key in _KEPT if key in before}}
    if record.get("grows"):  # single commands, one after another: those of before stay
        fresh = {cell["id"] for cell in record["cells"]}
        kept = [cell for cell in before.get("cells", ()) if cell["id"] not in fresh]
        record = {**record, "cells": [*kept, *record["cells"]]}
    write_json(path, {**record, "created": before.get("created", record["created"])})


def _create(path: str, record: Record) -> bool:
    """Write a first record; False when somebody was faster. Of two who begin at the same moment one gets the name."""
    temporary = "{}.tmp-{}-{}".format(path, os.getpid(), os.urandom(4).hex())
    write_json(temporary, record, sync=False)
    try:
        sync_file(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        forget(temporary)
    sync_folder(os.path.dirname(path))
    return True


def _refuse_taken(before: Record, record: Record) -> None:
    whose = before["owner"]
    hint = "run the same command again: it takes a name of its own; or choose one: --name NAME"
    if whose and not whose["mine"]:
        text = "the name {} is taken: that sweep is {}'s".format(record["name"], whose["login"])
        raise NameTaken(text, hint, name=record["name"])
    if "title" not in record or "cells" not in before:  # of an older orch, or damaged
        return
    alike = bool(record.get("grows")) == bool(before.get("grows"))
    adopted = not before.get("project")  # of a time when sweeps had no project
    if not alike or not (adopted or same_project(before["project"], record.get("project"))):
        of = (before.get("project") or {}).get("name") or ("single commands" if before.get("grows") else "a sweep")
        raise NameTaken("the name {} is taken by {}".format(record["name"], of), hint, name=record["name"])
