"""Files that are either old or new, never half: temporary file in the same folder, then `os.replace`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from typing import Any, Callable, Optional, TypeVar

from . import documents

# May pass at once: a file server that restarts, a table that is full. Not a full disk: everything would wait for it.
_ONCE_MORE = frozenset({errno.EIO, errno.EINTR, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
STALE_WAITS = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds before each new try of a call that met a stale handle
NAMES_BELIEVED = 65.0  # seconds that an NFS client may believe a name absent (acdirmax is 60), and a little

Value = TypeVar("Value")


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
    with open(path, "rb", opener=documents.open_plain) as handle:
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


def write_bytes(path: "str | os.PathLike[str]", data: bytes, sync: bool = True, mode: int = 0o666) -> None:
    """Replace a file's content in one step; with `sync` it outlives a power cut; `mode` before the umask."""
    target = os.fspath(path)
    temporary = "{}.tmp-{}-{}".format(target, os.getpid(), os.urandom(4).hex())  # process ids repeat between hosts
    try:
        with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, mode)) as handle:
            handle.write(data)
            handle.flush()
            if sync:
                os.fsync(handle.fileno())
        move(temporary, target)
    except BaseException:
        _forget(temporary)
        raise
    if sync:
        sync_folder(os.path.dirname(target) or ".")


def write_json(path: "str | os.PathLike[str]", value: Any, sync: bool = True) -> None:
    """Replace a JSON file in one step."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode(), sync)


def read_json(path: "str | os.PathLike[str]", most: int = documents.LARGEST) -> Optional[Any]:
    """Return a JSON file's value, or None when it is missing, empty, not whole, or no document (`documents`).

    Parameters
    ----------
    most:
        Bytes; a larger file is none.
    """
    try:
        return documents.parse(read_bytes(path, most))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        if documents.is_no_document(error):
            return None
        raise


def read_bytes(path: "str | os.PathLike[str]", most: int = documents.LARGEST) -> bytes:
    """Return a plain file's content, also when another host replaces it just now.

    Raises
    ------
    OSError
        It cannot be read, is no plain file, or larger than `most` bytes.
    """
    return patiently(lambda: documents.read(path, most))


def exists(path: str) -> bool:
    """Tell whether there is such a file; a stale handle is no answer."""
    try:
        patiently(lambda: os.stat(path))
    except (OSError, ValueError):
        return False
    return True


def patiently(call: Callable[[], Value]) -> Value:
    """Call, and call again while a file server has lost track of the file (ESTALE: another host has just moved it).

    What may pass at once is asked a second time.

    Raises
    ------
    OSError
        It has not found it again after a second, or the call failed in another way.
    """
    for tries, wait in enumerate(STALE_WAITS):
        try:
            return call()
        except OSError as error:
            if error.errno != errno.ESTALE and (tries or error.errno not in _ONCE_MORE):
                raise
        time.sleep(wait)
    return call()


def move(source: str, target: str) -> None:
    """Rename (replacing a file) what nobody else knows by its name.

    A file server whose first answer was lost is asked again, finds the work done and says that there is no such file.
    That our name is gone is the proof that it was done; the client may believe for a while that the new one is absent.

    Raises
    ------
    OSError
        It was not renamed.
    """
    try:
        os.replace(source, target)
    except FileNotFoundError:
        if os.path.lexists(source) or not os.path.isdir(os.path.dirname(target) or "."):
            raise
        deadline = time.monotonic() + NAMES_BELIEVED
        while not os.path.lexists(target):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def forget(path: str) -> None:
    """Delete a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


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
