"""What `orch gc` puts aside: renamed within the orch home, brought back by name, deleted only later and when asked.

<home>/parked/<name>/item.json   what it is, where each piece was, why it could go; written first
<home>/parked/<name>/0, 1, ...   the pieces

An item that was interrupted while it was parked, brought back or deleted is still listed, and each of these may be done
with what is left of it. No link is followed, and no place that is taken is written over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Any, ContextManager, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from . import CONTRACT, host
from .atomic import read_json, sync_folder, write_json
from .errors import NotFound, OrchError, disk_error
from .folder import Home
from .home_identity import make_folder
from .moves import rename, weigh
from .shared_lock import shared_lock

RECORD = "item.json"

Item = Dict[str, Any]


def locked(home: Home) -> ContextManager[None]:
    """Hold the lock of what is parked in a home: one clears up at a time, whichever host it is on."""
    make_folder(home, home.parked)
    return shared_lock(os.path.join(home.parked, "lock"))


def inside(home: Home, piece: str) -> bool:
    """Tell whether a path in the home lies in it: no folder on the way is a link that leads out."""
    parts = piece.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in piece or os.path.splitdrive(piece)[0]:  # "" in front: it is absolute
        return False
    parent = os.path.realpath(os.path.join(home.path, *parts[:-1]))
    return parent == os.path.join(os.path.realpath(home.path), *parts[:-1])


def park(home: Home, item: Mapping[str, Any], by: str) -> Optional[Item]:
    """Put an item aside; None, with everything in its place, when somebody has dated it since it was looked at.

    Parameters
    ----------
    item:
        `kind`, `name`, `pieces` (paths in the home), `why`, `bytes`, `files`, and `dated` (nanoseconds: the first
        piece's date when it was looked at).

    Raises
    ------
    OSError
        It cannot be moved, for one on another file system; what had been moved is back.
    """
    name = _new(home, item)
    record = {"contract": CONTRACT, **item, "name": name, "what": item["name"]}
    record = {**record, "parked": time.time(), "host": host.name(), "by": by}
    write_json(os.path.join(home.parked, name, RECORD), record)
    try:
        for piece, place in _places(home, record):
            rename(piece, place)
    except OSError:
        bring_back(home, record)
        raise
    if os.lstat(_places(home, record)[0][1]).st_mtime_ns != item["dated"]:
        bring_back(home, record)
        return None
    _settled(home, record)
    return record


def _new(home: Home, item: Mapping[str, Any]) -> str:
    """Make an empty folder for an item; its name begins with the kind and tells the second."""
    first = "{}-{}".format(item["kind"], time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    for number in range(1, 100000):
        name = "{}-{}".format(first, number)
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.join(home.parked, name))
            return name
    raise OrchError("there is no free name in {}".format(home.parked), "orch gc --empty-parked --yes")


def _places(home: Home, record: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """Where each piece belongs, and where it lies while it is parked."""
    base = os.path.join(home.parked, record["name"])
    pieces = enumerate(record["pieces"])
    return [(os.path.join(home.path, piece), os.path.join(base, str(number))) for number, piece in pieces]


def bring_back(home: Home, record: Mapping[str, Any]) -> None:
    """Bring back what has its place free, the last piece first: what is looked for first is whole when it is there.

    Raises
    ------
    OSError
        A piece cannot be moved; it stays listed.
    """
    for piece, place in reversed(_places(home, record)):
        if not os.path.lexists(place):
            continue
        if not os.path.lexists(piece):
            os.makedirs(os.path.dirname(piece), exist_ok=True)
            rename(place, piece)
        elif os.path.samestat(os.lstat(piece), os.lstat(place)):
            os.unlink(place)  # interrupted between the two names of one file
    _settled(home, record)
    if not any(os.path.lexists(place) for _, place in _places(home, record)):
        _drop(os.path.join(home.parked, record["name"]))


def _settled(home: Home, record: Mapping[str, Any]) -> None:
    for folder in sorted({os.path.dirname(path) for pair in _places(home, record) for path in pair}):
        sync_folder(folder)


def _drop(base: str) -> None:
    """Take away the record, then the folder, of an item of which nothing is left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(base, RECORD))
    with contextlib.suppress(OSError):  # a foreign file lies in it
        os.rmdir(base)


def listed(home: Home) -> List[Item]:
    """Return what is parked, the oldest first: the records, with the `bytes` and `files` that are left."""
    found = []
    for name in sorted(os.listdir(home.parked)) if os.path.isdir(home.parked) else ():
        record = read_json(os.path.join(home.parked, name, RECORD))
        if isinstance(record, dict) and _is_sound(home, name, record):
            found.append({**record, **weigh(*(place for _, place in _places(home, record)))})
    return sorted(found, key=lambda item: item["parked"])


def _is_sound(home: Home, name: str, record: Item) -> bool:
    """What somebody has put there or edited by hand is not ours to move or delete."""
    if record.get("name") != name or not isinstance(record.get("pieces"), list):
        return False
    pieces = record["pieces"]
    return isinstance(record.get("parked"), float) and all(isinstance(one, str) and inside(home, one) for one in pieces)


def restore(home: Home, name: str) -> Item:
    """Bring an item back to its place.

    Raises
    ------
    NotFound
        Nothing of that name is parked.
    OrchError
        One of its places is taken; nothing was moved.
    """
    with locked(home):
        item = next((one for one in listed(home) if one["name"] == name), None)
        if item is None:
            raise NotFound("nothing is parked as {} in {}".format(name, home.path), "orch gc --parked lists what is")
        taken = [piece for piece, place in _places(home, item) if _is_taken(piece, place)]
        if taken:
            raise OrchError("{} is there again: it is not written over".format(taken[0]), "orch gc --empty-parked")
        try:
            bring_back(home, item)
        except OSError as error:
            raise disk_error(error, home.path) from error
    return item


def _is_taken(piece: str, place: str) -> bool:
    both = os.path.lexists(piece) and os.path.lexists(place)
    return both and not os.path.samestat(os.lstat(piece), os.lstat(place))


def empty(home: Home, names: Sequence[str]) -> Iterator[Item]:
    """Delete parked items for good, one after the other; yield each that is gone.

    Raises
    ------
    DiskError
        One cannot be deleted; what is left of it stays listed.
    """
    with locked(home):
        for item in [one for one in listed(home) if one["name"] in names]:
            try:
                for _, place in _places(home, item):
                    _delete(place)
            except OSError as error:
                raise disk_error(error, os.path.join(home.parked, item["name"])) from error
            _drop(os.path.join(home.parked, item["name"]))
            yield item


def _delete(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
