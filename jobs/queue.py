"""The queue of one host: a folder of batch files, one for each submit, drained in order.

A batch is a header line and one line for each job (the words of its `job.json`, with the attempt's number). It is
written once, synced: from then on nothing due is forgotten. An entry has been served when its attempt folder exists;
a batch whose entries have all been served is deleted.

A batch is its file's owner's, who alone may write to it: whoever else puts one here in their name is found out
(`ownership`), and so is one that somebody else has written to.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

from . import CONTRACT, host, ownership
from .atomic import forget, move, patiently, write_bytes
from .documents import is_no_document
from .errors import ContractError
from .folder import Home, RunFolder, valid_name
from .home_identity import make_folder

Key = Tuple[str, str, int]  # sweep, job id, attempt


class Entry(NamedTuple):
    """One job due: its batch, its key and the JSON line with the whole specification."""

    batch: str
    key: Key
    line: bytes

    @property
    def job(self) -> Dict[str, Any]:
        """The specification."""
        return dict(json.loads(self.line))


class Queue:
    """Batches of one host in one orch home.

    Parameters
    ----------
    home_id:
        The home that must stand there when a batch is added.
    """

    def __init__(self, home: Home, host_name: str, home_id: str = "") -> None:
        self.home, self.home_id = home, home_id
        self.folder = home.queue(host_name)
        self.refused: Set[str] = set()  # batches that are not what they say, and cannot be renamed

    def add(self, jobs: Iterable[Dict[str, Any]]) -> str:
        """Write one batch (jobs with their `attempt`), synced; return its name.

        Raises
        ------
        OSError
            The disk is full or not writable; nothing was added.
        HomeMissing, HomeMismatch
            The home does not stand there; nothing was added.
        """
        make_folder(self.home, self.folder, self.home_id)
        name = "{:020d}-{}.jsonl".format(time.time_ns(), os.urandom(4).hex())
        self._write(name, [json.dumps(job, ensure_ascii=False).encode() for job in jobs])
        return name

    def _write(self, name: str, lines: List[bytes]) -> None:
        said = {"contract": CONTRACT, "boot_id": host.boot_id(), "user": host.user(), "jobs": len(lines)}
        header = json.dumps(said).encode()
        write_bytes(os.path.join(self.folder, name), b"\n".join([header, *lines, b""]), mode=0o644)

    def batches(self) -> List[str]:
        """Names of all batches, oldest first."""
        try:
            names = patiently(lambda: os.listdir(self.folder))
            return sorted(name for name in names if name.endswith(".jsonl"))
        except FileNotFoundError:
            return []

    def mine(self) -> List[str]:
        """Names of the batches that are this user's, or say so: in the group's home each keeper serves its own user's.

        One that only says so is found out by `due`.
        """
        return [name for name in self.batches() if name not in self.refused and self._seems_mine(name)]

    def _seems_mine(self, batch: str) -> bool:
        path = os.path.join(self.folder, batch)
        try:
            about = patiently(lambda: os.lstat(path))
            if about.st_uid == host.user() or not hasattr(os, "getuid"):
                return True
            said = _header(ownership.read(path).data) if stat.S_ISREG(about.st_mode) else {}
        except (OSError, ContractError):
            return False
        return said.get("user") == host.user()

    def entries(self, batch: str) -> List[Entry]:
        """Read one batch, whosever it is; none when it has been deleted, is damaged, or closed to us."""
        try:
            return self._read(batch)[1]
        except (ContractError, PermissionError):  # its owner's keeper sets it aside
            return []

    def whole(self, batch: str) -> List[Entry]:
        """Read one batch; none when it has been served and deleted meanwhile.

        Raises
        ------
        ContractError
            It is damaged.
        """
        return self._read(batch)[1]

    def _read(self, batch: str, own: bool = False) -> Tuple[Dict[str, Any], List[Entry]]:
        """Header and entries; with `own`, only of a batch that is this user's."""
        path = os.path.join(self.folder, batch)
        try:
            read = patiently(lambda: ownership.read(path))
        except FileNotFoundError:
            return {}, []
        except OSError as error:
            if not is_no_document(error):
                raise
            raise _damaged(batch, ": it is no plain file") from error
        header = _header(read.data, batch)
        if own:
            _check_owner(batch, path, read, header)
        try:
            return header, [Entry(batch, _key(line), line) for line in read.data.splitlines()[1:]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(batch) from error

    def due(self, batch: str) -> List[Entry]:
        """Return the entries of a batch that have no attempt folder yet.

        After a reboot an entry without a folder may have begun and been lost with the disk's last seconds. So that no
        attempt number can begin twice, such entries take the next number first.

        Raises
        ------
        ContractError
            The batch is damaged, or somebody else's, or somebody else may have written to it.
        """
        header, entries = self._read(batch, own=True)
        waiting = [entry for entry in entries if not os.path.isdir(self.run_folder(entry.key).path)]
        if not waiting or header.get("boot_id") == host.boot_id():
            return waiting
        lines = [json.dumps({**entry.job, "attempt": entry.key[2] + 1}).encode() for entry in waiting]
        self._write(batch, lines)
        return [Entry(batch, _key(line), line) for line in lines]

    def has(self, sweep: str, job_id: str) -> bool:
        """Tell whether an attempt of this job waits; batches that do not name it are not parsed."""
        for batch in self.batches():
            if job_id.encode() in self._bytes(batch) and any(
                entry.key[:2] == (sweep, job_id) and not os.path.isdir(self.run_folder(entry.key).path)
                for entry in self.entries(batch)
            ):
                return True
        return False

    def _bytes(self, batch: str) -> bytes:
        try:
            return patiently(lambda: ownership.read(os.path.join(self.folder, batch))).data
        except OSError:  # it is gone, or closed to us
            return b""

    def waiting(self) -> Iterator[Entry]:
        """All entries that wait, in order."""
        for batch in self.batches():
            for entry in self.entries(batch):
                if not os.path.isdir(self.run_folder(entry.key).path):
                    yield entry

    def run_folder(self, key: Key) -> RunFolder:
        """The run folder that an entry will have."""
        return self.home.attempt(*key)

    def set_aside(self, batch: str) -> str:
        """Rename a batch that cannot be served, so that it stops nobody; return its new name."""
        try:
            move(os.path.join(self.folder, batch), os.path.join(self.folder, batch + ".damaged"))
        except OSError:  # another user's, in a folder that is sticky
            self.refused.add(batch)
            return batch
        return batch + ".damaged"

    def delete(self, batch: str) -> None:
        """Delete a batch all of whose entries have been served."""
        forget(os.path.join(self.folder, batch))


def ring(path: str) -> bool:
    """Write a byte into the keeper's wake-up pipe; False when nobody reads it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    try:
        os.write(descriptor, b"w")
    except BlockingIOError:
        pass  # full: it will wake anyway
    finally:
        os.close(descriptor)
    return True


def waiting_everywhere(home: Home) -> Iterator[Tuple[str, Entry]]:
    """All entries that wait in this home, with the host in whose queue each stands."""
    for name in home.queue_hosts():
        for entry in Queue(home, name).waiting():
            yield name, entry


def _header(data: bytes, batch: str = "") -> Dict[str, Any]:
    try:
        return dict(json.loads(data.partition(b"\n")[0]))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(batch) from error


def _damaged(batch: str, why: str = "") -> ContractError:
    text = "the queue's batch {} is damaged{}".format(batch, why)
    return ContractError(text, "run the sweep again: its jobs are queued anew")


def _check_owner(batch: str, path: str, read: ownership.Owned, header: Dict[str, Any]) -> None:
    """Refuse a batch that another user has put here in our name, or may have written to."""
    if not ownership.is_ours(path, read.uid, read.mode):
        who = "may have been written to by others" if read.uid == host.user() else "is " + ownership.name_of(read.uid)
        text = "the queue's batch {} says that it is {}'s, but its file {}: its jobs are not run"
        raise ContractError(
            text.format(batch, ownership.name_of(os.getuid()), who + ("" if read.uid == host.user() else "'s")),
            "run the sweep again if you have queued these jobs; if not, ask whoever put it there",
        )
    if header.get("user") not in (None, host.user()):
        text = "the queue's batch {} says that it is {}'s, but its file is ours: its jobs are not run"
        raise ContractError(text.format(batch, header["user"]), "run the sweep again: its jobs are queued anew")


def _key(line: bytes) -> Key:
    """The key of an entry; its words become names of folders.

    Raises
    ------
    ValueError, KeyError, TypeError
        It has none that can.
    """
    job = json.loads(line)
    sweep, job_id, number = job["sweep"], job["id"], job["attempt"]
    if not (valid_name(sweep) and valid_name(job_id) and isinstance(number, int) and number > 0):
        raise ValueError("its sweep, id or attempt cannot name a folder")
    return sweep, job_id, number
