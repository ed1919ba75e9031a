"""What VS Code left in a home: the pieces of its remote server, for which processor each is, and whether one is alive.

~/.vscode-server/code-<commit>                    command line program          of one processor
                 cli/servers/<Quality>-<commit>/  server                        of one processor
                 bin/<commit>/                    server, older layout          of one processor
                 extensions/                      some hold native code
                 data/                            settings, state, local history: never touched
~/.vscode-server.<processor>/                     what `parking` put aside, in the same places
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import elf, host
from .atomic import read_json
from .documents import open_plain

EDITIONS = (".vscode-server", ".vscode-server-insiders")
CONTAINERS = ("bin", os.path.join("cli", "servers"))  # each entry is one server
EXTENSIONS = "extensions"
RECENT = 300.0  # seconds; a server that lives writes to one of its logs more often than that while it is used
REPLACED = "replaced"  # shelf of what `--reset-vscode` put aside although it fits
RECORD = "orch-parked.json"
_PROGRAM = re.compile(r"code-[A-Za-z0-9-]+\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHELF = re.compile(r"[A-Za-z0-9_-]+\Z")
# What VS Code's marketplace calls the platforms of extensions that hold native code.
_PLATFORMS = {"x64": "x86_64", "arm64": "aarch64", "armhf": "arm"}
_PLATFORM = re.compile(r"(?:linux|alpine)-(x64|arm64|armhf)\Z")
_RUNNERS = re.compile(r"(sh|bash|dash)\Z|qemu|ld-")  # programs that run another one, named by an argument


class Piece(NamedTuple):
    """One part of a server that runs on one processor only; None: nothing in it says which."""

    name: str
    machine: Optional[str]

    @property
    def commit(self) -> str:
        """Commit of VS Code that it belongs to, or an empty text."""
        found = _COMMIT.search(self.name)
        return found.group() if found else ""


class Shelf(NamedTuple):
    """What was parked for one processor.

    Attributes
    ----------
    machine:
        The processor; `unknown` or `replaced` for what `--reset-vscode` put aside.
    path:
        Its folder.
    names:
        What lies in it, relative to the folder.
    record:
        `parked` (seconds since 1970 UTC), `host` and `extensions` (identifiers), from the last parking.
    """

    machine: str
    path: str
    names: List[str]
    record: Dict[str, Any]


def folders(home: Optional[str] = None) -> List[str]:
    """Return the server folders that this home has, or once had: something of theirs is parked."""
    base = home or os.path.expanduser("~")
    paths = [os.path.join(base, edition) for edition in EDITIONS]
    return [path for path in paths if os.path.lexists(path) or shelves(path)]


def look(folder: str, machine: Optional[str] = None) -> Dict[str, Any]:
    """Return the state of one server folder as JSON values; nothing is changed.

    Parameters
    ----------
    folder:
        `~/.vscode-server`; may be a link.
    machine:
        The processor that shall run it; by default this machine's.

    Returns
    -------
    dict
        `state` is `absent`, `empty`, `fits`, `foreign` (only of other processors), `mixed` or `unknown`.
    """
    here = elf.canonical(machine) if machine else elf.here()
    found = list(pieces(folder))
    return {
        "folder": folder,
        "link": os.path.realpath(folder) if os.path.islink(folder) else None,
        "machine": here,
        "state": _state(folder, found, here),
        "pieces": [list(piece) for piece in found],
        "extensions": extensions(folder),
        "alive": alive(folder),
        "recent": recent(folder),
        "parked": [{"machine": shelf.machine, **shelf.record, "names": shelf.names} for shelf in shelves(folder)],
        "unfinished": os.path.exists(journal_of(folder)),
    }


def journal_of(folder: str) -> str:
    """Where the moves stand that are under way."""
    return os.path.realpath(folder) + ".orch-moves.json"


def lock_of(folder: str) -> str:
    """The lock that whoever moves pieces holds, on whatever host."""
    return os.path.realpath(folder) + ".orch-lock"


def shelf_path(folder: str, machine: str) -> str:
    """Folder for what is parked of one processor: on the same file system, so that parking is a rename."""
    return "{}.{}".format(os.path.realpath(folder), machine)


def _state(folder: str, found: List[Piece], here: str) -> str:
    machines = {piece.machine for piece in found}
    if not os.path.isdir(folder):
        return "absent"
    if not machines:
        return "empty"
    others = machines - {here, None}
    if here in machines:
        return "mixed" if others else "fits"
    return "foreign" if others else "unknown"


def pieces(folder: str) -> Iterator[Piece]:
    """Yield the programs and servers in a folder, in a fixed order."""
    for name in _listing(folder):
        if _PROGRAM.match(name) and not os.path.isdir(os.path.join(folder, name)):
            yield Piece(name, elf.machine_of(os.path.join(folder, name)))
    for container in CONTAINERS:
        for name in _listing(os.path.join(folder, container)):
            path = os.path.join(folder, container, name)
            if os.path.isdir(path):
                yield Piece(os.path.join(container, name), _server_machine(path))


def _server_machine(path: str) -> Optional[str]:
    programs = (os.path.join(path, "node"), os.path.join(path, "server", "node"))
    return next(filter(None, map(elf.machine_of, programs)), None)


def side_files(folder: str, piece: Piece) -> List[str]:
    """Return the logs and process files that belong to a piece: of no use without it."""
    if not piece.commit:
        return []
    names = [".cli.{}.log", ".{}.log", ".{}.pid", ".{}.token"]
    named = [name.format(piece.commit) for name in names]
    return [name for name in named if os.path.lexists(os.path.join(folder, name))]


def extensions(folder: str) -> List[str]:
    """Return the identifiers of the installed extensions, sorted."""
    found = {_identifier(entry) for entry in _index(folder)}
    return sorted(found - {""}, key=str.lower)


def extension_machines(folder: str) -> Set[str]:
    """Return the processors for which extensions with native code were installed."""
    words = [str(_inner(entry, "metadata").get("targetPlatform", "")) for entry in _index(folder)]
    words += _listing(os.path.join(folder, EXTENSIONS))
    marks = filter(None, map(_PLATFORM.search, words))
    return {_PLATFORMS[mark.group(1)] for mark in marks}


def _index(folder: str) -> List[Dict[str, Any]]:
    entries = read_json(os.path.join(folder, EXTENSIONS, "extensions.json"))
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _identifier(entry: Dict[str, Any]) -> str:
    return str(_inner(entry, "identifier").get("id", ""))


def _inner(entry: Dict[str, Any], key: str) -> Dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def shelves(folder: str) -> List[Shelf]:
    """Return what is parked beside a folder, by processor."""
    real = os.path.realpath(folder)
    prefix, found = os.path.basename(real) + ".", []
    for name in _listing(os.path.dirname(real)):
        path = os.path.join(os.path.dirname(real), name)
        record = read_json(os.path.join(path, RECORD)) if name.startswith(prefix) else None
        if isinstance(record, dict) and _SHELF.match(name[len(prefix) :]):
            found.append(Shelf(name[len(prefix) :], path, list(_shelf_names(path)), record))
    return found


def _shelf_names(path: str) -> Iterator[str]:
    for name in _listing(path):
        if name not in ("bin", "cli") and not name.startswith(RECORD):
            yield name
    for container in CONTAINERS:
        for name in _listing(os.path.join(path, container)):
            yield os.path.join(container, name)


def alive(folder: str) -> List[Dict[str, Any]]:
    """Return this user's processes on this host whose program lies in the folder: `{"pid", "program"}`.

    A process counts by the path of its program and by its owner, never by its name: any program may be called `node`.
    """
    roots = tuple({os.path.join(os.path.realpath(folder), ""), os.path.join(os.path.abspath(folder), "")})
    found = []
    for pid in host.own_processes():
        program = _program(pid, roots)
        if program and host.is_alive(pid, None):
            found.append({"pid": pid, "program": program})
    return found


def _program(pid: int, roots: Tuple[str, ...]) -> Optional[str]:
    executable, words = host.program(pid)
    if executable.startswith(roots):
        return executable
    if _RUNNERS.match(os.path.basename(executable)):  # a script, or a program under an emulator
        return next((word for word in words[:4] if word.startswith(roots)), None)
    return None


def recent(folder: str) -> Optional[Dict[str, Any]]:
    """Return the log that was written last, with its age in seconds, if a server somewhere may just have written it.

    The home may be shared: a server on another host is seen by its files only. The age is by the file server's clock.
    """
    dated, now = sorted(((_modified(path), path) for path in _logs(folder)), reverse=True), _now(folder)
    for latest, path in dated:
        if now - latest >= RECENT:
            break
        if not _failed(path):
            return {"path": path, "seconds": round(max(now - latest, 0.0), 1)}
    return None


def _failed(path: str) -> bool:
    """Tell whether a log says no more than that a program of another processor could not be started."""
    try:
        with open(path, "rb", opener=open_plain) as handle:
            text = handle.read(4096)
    except OSError:
        return False
    return any(words in text for words in (b"Exec format error", b"cannot execute", b"required file not found"))


def _logs(folder: str) -> Iterator[str]:
    for name in _listing(folder):
        if name.startswith(".") and name.endswith((".log", ".pid", ".token")):
            yield os.path.join(folder, name)
    for container in CONTAINERS:
        for name in _listing(os.path.join(folder, container)):
            for file in ("log.txt", "pid.txt"):
                yield os.path.join(folder, container, name, file)
    logs = os.path.join(folder, "data", "logs")
    for name in _listing(logs)[-2:]:  # one folder per start, named by its time
        for file in _listing(os.path.join(logs, name)):
            yield os.path.join(logs, name, file)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _now(folder: str) -> float:
    """The file server's clock: the date it gives to a file touched just now; ours where nothing can be written."""
    probe = os.path.realpath(folder) + ".orch-clock"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return time.time()
    try:
        os.utime(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(probe)


def _listing(path: str) -> List[str]:
    """Names in a folder, sorted; those that no text can hold are none of VS Code's."""
    try:
        return sorted(name for name in os.listdir(path) if _is_text(name))
    except OSError:
        return []


def _is_text(name: str) -> bool:
    try:
        json.dumps(name, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
