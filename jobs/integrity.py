"""Before a job starts: its code is what its hash says, and its environment was made by somebody whom its user trusts.

A snapshot is compared file by file with the hash that names it; what was found is kept host-locally by inode, times and
size, so that the next job of the same snapshot costs a look at each file. In a home that a group shares, a job runs a
copy of its own: a colleague may write into the snapshot, also between a look and the start.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from . import ownership
from .aside import aside
from .atomic import digest, file_sha256, move, read_json, write_json
from .errors import ContractError
from .folder import Home, HostFolder
from .homes import SHARED, mask
from .uses import needs

_SETTLED = 1.0  # seconds after its last change at which a file's times are believed: they tick, coarsely
_UNUSED = 30 * 86400.0  # seconds after which a copy that no job has used is deleted
_MAIN = "__main__.py"

Seen = List[List[Any]]  # for each file of a snapshot: its path, inode, times of change and size


def verified(job: Mapping[str, Any], home: Home, local: HostFolder) -> Dict[str, Any]:
    """Return a job whose code and environment may be used, its words leading to the code that was verified.

    Raises
    ------
    ContractError
        The code is not what its hash says (it is put aside then), or the environment is a stranger's.
    OSError
        They cannot be read, or a copy cannot be made.
    """
    found = dict(job)
    for need in needs(home, [job]):
        place = os.path.join(home.path, need)
        kind, _, name = need.partition("/")
        if kind == "envs":
            check_environment(place, home, local)
            continue
        code = _code(home, local, name)
        if code != place:
            found["argv"] = [_led(str(word), place, code) for word in found["argv"]]
            found["cwd"] = _led(str(found["cwd"]), place, code)
    return found


def _led(word: str, place: str, code: str) -> str:
    inside = word == place or word.startswith(place + os.sep)
    return code + word[len(place) :] if inside else word


def _code(home: Home, local: HostFolder, name: str) -> str:
    """Verify a snapshot; return the folder from which it is run."""
    place = os.path.join(home.code, name)
    if mask(home.path) != SHARED:
        if os.path.exists(place + ".json"):  # else nobody but its owner has made it, by hand
            _verify(home, local, name, place)
        return place
    copy = local.code(name)
    if os.path.isdir(copy):
        try:
            _verify(home, local, name, copy)
            os.utime(copy)
            return copy
        except ContractError:  # it was put aside
            pass
    _copy(home, local, name, place, copy)
    return copy


def _verify(home: Home, local: HostFolder, name: str, folder: str) -> None:
    known = read_json(local.seen(name))
    if isinstance(known, list) and known and known == _seen(folder, [str(row[0]) for row in known]):
        return
    began = time.time()
    files = _files(home, name, folder)
    seen = _seen(folder, files)
    wrong = next((file for file in files if not _is_whole(folder, file, files[file])), None)
    if wrong is not None or seen is None:
        raise _altered(home, name, folder, wrong or "a file")
    if all(max(row[2], row[3]) / 1e9 < began - _SETTLED for row in seen):
        os.makedirs(os.path.dirname(local.seen(name)), exist_ok=True)
        write_json(local.seen(name), seen, sync=False)


def _seen(folder: str, names: "Dict[str, str] | List[str]") -> Optional[Seen]:
    """What tells that a file was not changed since; None when one is not there or no plain file."""
    found: Seen = []
    try:
        for name in names:
            about = os.lstat(os.path.join(folder, name))
            if not stat.S_ISREG(about.st_mode):
                return None
            found.append([name, about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size])
    except OSError:
        return None
    return found


def _is_whole(folder: str, name: str, sha256: str) -> bool:
    try:
        path = os.path.join(folder, name)
        return stat.S_ISREG(os.lstat(path).st_mode) and file_sha256(path) == sha256
    except OSError:
        return False


def _files(home: Home, name: str, folder: str) -> Dict[str, str]:
    """SHA-256 of each file of a snapshot, from the list that its own hash covers."""
    if not os.path.isdir(folder):
        raise ContractError("the code {} is not in {}".format(name, home.code), _repair())
    said = read_json(os.path.join(home.code, name + ".json"))
    files = said.get("files") if isinstance(said, dict) else None
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise _altered(home, name, folder, "its list of files")
    for main in _mains(folder, files):
        if digest({"files": dict(sorted(files.items())), "main": main}) == name:
            return {**files, **({_MAIN: file_sha256(os.path.join(folder, _MAIN))} if main else {})}
    raise _altered(home, name, folder, _MAIN if os.path.exists(os.path.join(folder, _MAIN)) else "its list of files")


def _mains(folder: str, files: Mapping[str, str]) -> Iterator[str]:
    """Texts that its start may have: the one that is there, where it is none of the files, or none."""
    if _MAIN not in files:
        try:
            yield ownership.read(os.path.join(folder, _MAIN)).data.decode("utf-8", "replace")
        except OSError:
            pass
    yield ""


def _altered(home: Home, name: str, folder: str, what: str) -> ContractError:
    """Put altered code aside, so that it is sent anew; say what was changed."""
    text = "the code {} is not what its hash says: {} was changed; it is not run".format(name, what)
    token = ".altered-{}-{}".format(name, os.urandom(4).hex())
    try:
        os.rename(folder, os.path.join(os.path.dirname(folder), token))
        text += ", and was put aside as {}".format(os.path.join(os.path.dirname(folder), token))
    except OSError:  # somebody was faster, or it may not be renamed by us
        pass
    return ContractError(text, _repair())


def _repair() -> str:
    return "the same sweep again sends the code anew; if yours has changed since: orch sweep NAME --rerun changed"


def _copy(home: Home, local: HostFolder, name: str, place: str, copy: str) -> None:
    """Make a copy that is ours alone; what was verified is what was copied."""
    beside = aside(copy)
    os.makedirs(os.path.dirname(copy), 0o700, exist_ok=True)
    _forget_unused(os.path.dirname(copy))
    try:
        files = _files(home, name, place)
        for file in files:
            target = os.path.join(beside, file)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as handle:
                handle.write(ownership.read(os.path.join(place, file)).data)
            os.chmod(target, 0o700 if os.access(os.path.join(place, file), os.X_OK) else 0o600)
        wrong = next((file for file in files if file_sha256(os.path.join(beside, file)) != files[file]), None)
        if wrong is not None:
            raise _altered(home, name, place, wrong)
        _settle(beside, copy)
    except FileNotFoundError as error:
        raise _altered(home, name, place, str(error.filename)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _settle(beside: str, copy: str) -> None:
    try:
        move(beside, copy)
    except OSError:
        if not os.path.isdir(copy):  # else another job of ours was faster, with the same content
            raise


def _forget_unused(folder: str) -> None:
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if time.time() - os.lstat(path).st_mtime > _UNUSED:
            shutil.rmtree(path, ignore_errors=True)


def check_environment(prefix: str, home: Home, local: HostFolder) -> None:
    """Refuse an environment that a stranger has made: whoever made it can change what runs from it.

    Raises
    ------
    ContractError
        Its prefix, its Python or its record is neither ours nor root's, nor of anybody in `trust`.
    """
    if mask(home.path) != SHARED:
        return
    for path in (prefix, os.path.join(prefix, "bin"), os.path.join(prefix, "orch-env.json")):
        uid = _uid(path)
        if uid is None or uid == 0 or ownership.is_our_uid(home.path, uid):
            continue
        who = ownership.name_of(uid)
        if who not in trusted(local):
            text = "the environment {} was made by {}, whom you have not said to trust".format(prefix, who)
            hint = "orch setup makes one of yours; or, if {0} may run programs as you: `trust: [{0}]` of the host"
            raise ContractError(text, hint.format(who) + " in the site file")


def _uid(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def trusted(local: HostFolder) -> Tuple[str, ...]:
    """Names of the users whose environments this user's jobs may use, as the site file says."""
    said = read_json(local.trust)
    return tuple(str(name) for name in said) if isinstance(said, list) else ()
