"""Files that are either old or new, never half: temporary file in the same folder, then `os.replace`."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Optional


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, 15.0 written as 15.

    Numbers are canonical so that `15` and `15.0` in a sweep name the same job.

    Raises
    ------
    ValueError
        A number is not finite: it has no JSON form.
    """
    try:
        text = _dumps(value)
    except TypeError:  # keys of several types have no order before they are texts
        text = ".0"
    return _dumps(_plain(value)) if ".0" in text else text  # else no float is written as 15.0: nothing to change


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def digest(value: Any, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def file_sha256(path: "str | os.PathLike[str]") -> str:
    """Return the SHA-256 of a file's bytes, read in blocks of 1 MiB."""
    total = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def stamp(path: "str | os.PathLike[str]") -> int:
    """Return a number (63 bits) that changes when a file is replaced; 0 when there is none."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return 0
    text = "{} {} {}".format(now.st_ino, now.st_size, now.st_mtime_ns)
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def write_bytes(path: "str | os.PathLike[str]", data: bytes, sync: bool = True) -> None:
    """Replace a file's content in one step; with `sync` it outlives a power cut."""
    target = os.fspath(path)
    temporary = "{}.tmp-{}-{}".format(target, os.getpid(), os.urandom(4).hex())  # process ids repeat between hosts
    try:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            if sync:
                os.fsync(handle.fileno())
        os.replace(temporary, target)
    except BaseException:
        _forget(temporary)
        raise
    if sync:
        sync_folder(os.path.dirname(target) or ".")


def write_json(path: "str | os.PathLike[str]", value: Any, sync: bool = True) -> None:
    """Replace a JSON file in one step."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode(), sync)


def read_json(path: "str | os.PathLike[str]") -> Optional[Any]:
    """Return a JSON file's value, or None when it is missing, empty or not whole."""
    try:
        with open(path, "rb") as handle:
            return json.loads(handle.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def sync_file(path: str) -> None:
    """Make what was written into a file outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Make the names in a folder outlive a power cut (does nothing where folders cannot be opened)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse; the data itself is synced
        pass
    finally:
        os.close(descriptor)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
