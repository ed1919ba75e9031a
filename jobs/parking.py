"""Changes the processor of a VS Code server folder by renaming: nothing is deleted, and every move can be undone.

What shall move is written down first (`vscode.journal_of`); whoever comes after an interruption finishes that list
before anything else. A place that is taken is never written over.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set

from . import elf, host, vscode
from .atomic import read_json, sync_folder, write_json
from .errors import NotFound, OrchError, disk_error
from .moves import rename
from .shared_lock import shared_lock
from .vscode import EXTENSIONS, RECORD, REPLACED, Piece, Shelf

UNKNOWN = "unknown"  # shelf of pieces in which nothing says for which processor they are


class Move(NamedTuple):
    """One rename; `shelf` is the processor whose shelf gives or takes."""

    name: str
    shelf: str
    park: bool
    place: str  # its name on the shelf


def plan(folder: str, machine: Optional[str] = None, force: bool = False) -> List[Move]:
    """Return the moves that make a folder fit a processor; none when it does.

    Parameters
    ----------
    machine:
        By default this machine's processor.
    force:
        Put everything aside that is not settings or history, also what fits.
    """
    here = elf.canonical(machine) if machine else elf.here()
    found = list(vscode.pieces(folder))
    parked = [(piece, _shelf_of(piece, here, force)) for piece in found]
    leaving = {move.name: move for piece, shelf in parked if shelf for move in _park(folder, piece, shelf)}
    moves = list(leaving.values())
    shelf = _shelf_of_extensions(folder, found, here, force)
    if shelf:
        moves.append(_parking(folder, EXTENSIONS, shelf))
    fits = any(piece.machine == here for piece in found)
    return moves + list(_bring_back(folder, here, {move.name for move in moves})) if moves or not fits else []


def _shelf_of(piece: Piece, here: str, force: bool) -> Optional[str]:
    if piece.machine not in (here, None):
        return piece.machine
    return (REPLACED if piece.machine else UNKNOWN) if force else None


def _park(folder: str, piece: Piece, shelf: str) -> Iterator[Move]:
    for name in [piece.name, *vscode.side_files(folder, piece)]:
        yield _parking(folder, name, shelf)


def _parking(folder: str, name: str, shelf: str) -> Move:
    place, number = name, 1
    while os.path.lexists(os.path.join(vscode.shelf_path(folder, shelf), place)):
        number += 1
        place = "{}~{}".format(name, number)
    return Move(name, shelf, True, place)


def _shelf_of_extensions(folder: str, found: List[Piece], here: str, force: bool) -> Optional[str]:
    """Extensions go with the servers of another processor, unless some of theirs are known to be for this one."""
    if not os.path.lexists(os.path.join(folder, EXTENSIONS)):
        return None
    marks, machines = vscode.extension_machines(folder), [piece.machine for piece in found]
    others = [machine for machine in machines if machine not in (here, None)]
    if here in marks:
        return REPLACED if force else None
    if marks:
        return sorted(marks)[0]
    if others and here not in machines:
        return max(others, key=others.count)
    return REPLACED if force else None


def _bring_back(folder: str, here: str, leaving: Set[str]) -> Iterator[Move]:
    for shelf in vscode.shelves(folder):
        for name in shelf.names if shelf.machine == here else ():
            free = name in leaving or not os.path.lexists(os.path.join(folder, name))
            if "~" not in name and free:
                yield Move(name, here, False, name)


def reset(folder: str, machine: Optional[str] = None, force: bool = False) -> Dict[str, Any]:
    """Park what other processors left, bring back what was parked of this one; do nothing when it fits.

    Parameters
    ----------
    folder:
        `~/.vscode-server`; where it is a link, what it leads to.
    machine, force:
        See `plan`. `force` also goes on when a server may be alive on another host.

    Returns
    -------
    dict
        `parked` and `brought_back` (names), `extensions` (identifiers of those that were put aside and did not come
        back), `finished` (moves of an earlier, interrupted call).

    Raises
    ------
    OrchError
        A server of this user is alive, or another call is at work.
    DiskError
        The home cannot be written.
    """
    if not (os.path.exists(vscode.journal_of(folder)) or plan(folder, machine, force)):
        return {"parked": [], "brought_back": [], "extensions": [], "finished": 0}
    refuse_if_alive(folder, force)
    with shared_lock(vscode.lock_of(folder)):
        refuse_if_alive(folder, force)
        try:
            finished = _finish(folder)
            _forget_unfinished(vscode.journal_of(folder))
            before = vscode.extensions(folder)
            moves = plan(folder, machine, force)
            if moves:
                _write_down(folder, moves, before)
                _finish(folder)
        except OSError as error:
            raise disk_error(error, folder) from error
    after = vscode.extensions(folder)
    return {
        "parked": [move.name for move in moves if move.park],
        "brought_back": [move.name for move in moves if not move.park],
        "extensions": [name for name in before if name not in after],
        "finished": finished,
    }


def refuse_if_alive(folder: str, force: bool = False) -> None:
    """Refuse to move anything under a server that is alive.

    Raises
    ------
    OrchError
        One of this user is alive on this host, or (without `force`) one on another host has just written a log.
    """
    alive = vscode.alive(folder)
    if alive:
        listed = ", ".join("{pid} ({program})".format(**one) for one in alive[:3])
        text = "a VS Code server of yours is alive on {}: process {}".format(host.name(), listed)
        hint = "in VS Code run 'Remote-SSH: Kill VS Code Server on Host', or: kill {}".format(alive[0]["pid"])
        raise OrchError(text, hint, alive=alive)
    recent = None if force else vscode.recent(folder)
    if recent:
        text = "a VS Code server may be alive on another host: {path} was written {seconds:.0f} s ago".format(**recent)
        hint = "close VS Code there and wait 5 minutes, or go on all the same: orch setup --only vscode --reset-vscode"
        raise OrchError(text, hint, recent=recent)


def _write_down(folder: str, moves: List[Move], extensions: List[str]) -> None:
    shelves = sorted({move.shelf for move in moves if move.park})
    record = {"parked": time.time(), "host": host.name(), "extensions": extensions}
    value = {"moves": [list(move) for move in moves], "shelves": shelves, "record": record}
    write_json(vscode.journal_of(folder), value)


def _finish(folder: str) -> int:
    """Carry out the moves that stand in the journal; return how many there were."""
    journal = vscode.journal_of(folder)
    written = read_json(journal)
    if not written:
        return 0
    for machine in written["shelves"]:
        _write_record(vscode.shelf_path(folder, machine), written["record"])
    moves = [Move(*move) for move in written["moves"]]
    for move in moves:
        _move(folder, move)
    for shelf in vscode.shelves(folder):
        _tidy(shelf)
    os.unlink(journal)
    sync_folder(os.path.dirname(journal))
    return len(moves)


def _write_record(path: str, record: Dict[str, Any]) -> None:
    os.makedirs(path, 0o700, exist_ok=True)
    before = read_json(os.path.join(path, RECORD)) or {}
    known = {**record, "extensions": record["extensions"] or before.get("extensions", [])}
    write_json(os.path.join(path, RECORD), known)


def _move(folder: str, move: Move) -> None:
    live = os.path.join(os.path.realpath(folder), move.name)
    parked = os.path.join(vscode.shelf_path(folder, move.shelf), move.place)
    source, target = (live, parked) if move.park else (parked, live)
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    if not os.path.lexists(source):
        return  # moved before an interruption
    if os.path.lexists(target):
        if os.path.samestat(os.lstat(source), os.lstat(target)):
            os.unlink(source)  # interrupted between the two names of one file
        return
    try:
        rename(source, target)
    except FileNotFoundError:
        if not os.path.lexists(target):  # a file server may carry out a rename and still answer with an error
            raise
    sync_folder(os.path.dirname(target))


def _tidy(shelf: Shelf) -> None:
    """Take away what brought-back pieces left: empty folders, and the record of an empty shelf."""
    for container in ("bin", os.path.join("cli", "servers"), "cli"):
        _remove_if_empty(os.path.join(shelf.path, container))
    _forget_unfinished(os.path.join(shelf.path, RECORD))
    if os.listdir(shelf.path) == [RECORD]:
        os.unlink(os.path.join(shelf.path, RECORD))
        _remove_if_empty(shelf.path)


def _forget_unfinished(path: str) -> None:
    """Take away what a killed writer left beside a file (`atomic.write_bytes`); under the lock nobody writes."""
    folder, prefix = os.path.split(path + ".tmp-")
    for name in os.listdir(folder):
        if name.startswith(prefix):
            os.unlink(os.path.join(folder, name))


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:  # not empty, or not there
        pass


def sizes(folder: str, older_than: float = 0.0) -> List[Dict[str, Any]]:
    """Return what is parked: `{"machine", "path", "bytes", "files", "parked", "extensions"}`, one row per shelf.

    Parameters
    ----------
    older_than:
        Seconds; what was parked later is left out.
    """
    old = [shelf for shelf in vscode.shelves(folder) if time.time() - shelf.record.get("parked", 0) >= older_than]
    return [{"machine": shelf.machine, "path": shelf.path, **_weigh(shelf.path), **shelf.record} for shelf in old]


def weigh(folder: str, names: List[str]) -> int:
    """Return the bytes of some pieces of a folder."""
    return sum(_weigh(os.path.join(folder, name))["bytes"] for name in names)


def _weigh(path: str) -> Dict[str, int]:
    found = [os.path.join(top, name) for top, _, names in os.walk(path) for name in names] or [path]
    lengths = []
    for name in found:
        try:
            lengths.append(os.lstat(name).st_size)
        except OSError:
            continue
    return {"bytes": sum(lengths), "files": len(lengths)}


def purge(folder: str, agreed: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Delete parked shelves that a person has seen listed.

    Parameters
    ----------
    agreed:
        Rows of `sizes`; a shelf to which something was added since is refused.

    Returns
    -------
    dict
        `bytes` and `paths` that were deleted.

    Raises
    ------
    OrchError, NotFound
        A shelf has changed or is gone: list them again.
    """
    deleted = []
    with shared_lock(vscode.lock_of(folder)):
        known = {shelf.machine: shelf for shelf in vscode.shelves(folder)}
        for row in agreed:
            shelf = known.get(str(row["machine"]))
            if shelf is None:
                raise NotFound("nothing is parked of {}".format(row["machine"]), "list it again")
            if shelf.record.get("parked") != row["parked"] or _weigh(shelf.path)["bytes"] != row["bytes"]:
                raise OrchError("{} has changed since it was listed".format(shelf.path), "list it again")
        for row in agreed:
            _delete(known[str(row["machine"])])
            deleted.append(row)
    return {"bytes": sum(row["bytes"] for row in deleted), "paths": [row["path"] for row in deleted]}


def _delete(shelf: Shelf) -> None:
    """Delete all but the record, then the record: an interrupted deletion is listed, and deleted, next time."""
    try:
        for name in os.listdir(shelf.path):
            path = os.path.join(shelf.path, name)
            if name != RECORD and os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif name != RECORD:
                os.unlink(path)
        os.unlink(os.path.join(shelf.path, RECORD))
        os.rmdir(shelf.path)
    except OSError as error:
        raise disk_error(error, shelf.path) from error
