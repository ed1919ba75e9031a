"""The queue of one host: a folder of batch files, one for each submit, drained in order.

A batch is a header line and one line for each job (the words of its `job.json`, with the attempt's number). It is
written once, synced: from then on nothing due is forgotten. An entry has been served when its attempt folder exists;
a batch whose entries have all been served is deleted.
"""

from __future__ import annotations

import errno
import json
import os
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from . import CONTRACT, host
from .atomic import forget, move, patiently, read_bytes, write_bytes
from .errors import ContractError
from .folder import Home, RunFolder

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
    """Batches of one host in one orch home."""

    def __init__(self, home: Home, host_name: str) -> None:
        self.home = home
        self.folder = home.queue(host_name)

    def add(self, jobs: Iterable[Dict[str, Any]]) -> str:
        """Write one batch (jobs with their `attempt`), synced; return its name.

        Raises
        ------
        OSError
            The disk is full or not writable; nothing was added.
        """
        os.makedirs(self.folder, exist_ok=True)
        name = "{:020d}-{}.jsonl".format(time.time_ns(), os.urandom(4).hex())
        self._write(name, [json.dumps(job, ensure_ascii=False).encode() for job in jobs])
        return name

    def _write(self, name: str, lines: List[bytes]) -> None:
        said = {"contract": CONTRACT, "boot_id": host.boot_id(), "user": host.user(), "jobs": len(lines)}
        header = json.dumps(said).encode()
        write_bytes(os.path.join(self.folder, name), b"\n".join([header, *lines, b""]))

    def batches(self) -> List[str]:
        """Names of all batches, oldest first."""
        try:
            names = patiently(lambda: os.listdir(self.folder))
            return sorted(name for name in names if name.endswith(".jsonl"))
        except FileNotFoundError:
            return []

    def mine(self) -> List[str]:
        """Names of the batches that this user queued: in the group's home each user's keeper serves their own."""
        return [name for name in self.batches() if self._user(name) in (None, host.user())]

    def _user(self, batch: str) -> Optional[int]:
        """Who queued a batch; None where it does not say, or is damaged."""
        try:
            with open(os.path.join(self.folder, batch), "rb") as handle:
                user = dict(json.loads(handle.readline())).get("user")
        except (OSError, ValueError, TypeError):
            return None
        return user if isinstance(user, int) else None

    def entries(self, batch: str) -> List[Entry]:
        """Read one batch; none when it has been served and deleted meanwhile, or is damaged."""
        try:
            return self._read(batch)[1]
        except ContractError:  # the keeper sets it aside
            return []

    def whole(self, batch: str) -> List[Entry]:
        """Read one batch; none when it has been served and deleted meanwhile.

        Raises
        ------
        ContractError
            It is damaged.
        """
        return self._read(batch)[1]

    def _read(self, batch: str) -> Tuple[Dict[str, Any], List[Entry]]:
        try:
            header, *lines = read_bytes(os.path.join(self.folder, batch)).splitlines()
            return dict(json.loads(header)), [Entry(batch, _key(line), line) for line in lines]
        except FileNotFoundError:
            return {}, []
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(
                "the queue's batch {} is damaged".format(batch), "run the sweep again: its jobs are queued anew"
            ) from error

    def due(self, batch: str) -> List[Entry]:
        """Return the entries of a batch that have no attempt folder yet.

        After a reboot an entry without a folder may have begun and been lost with the disk's last seconds. So that no
        attempt number can begin twice, such entries take the next number first.

        Raises
        ------
        ContractError
            The batch is damaged.
        """
        header, entries = self._read(batch)
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
            return read_bytes(os.path.join(self.folder, batch))
        except FileNotFoundError:
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
        """Rename a damaged batch, so that it stops nobody; return its new name."""
        move(os.path.join(self.folder, batch), os.path.join(self.folder, batch + ".damaged"))
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


def _key(line: bytes) -> Key:
    job = json.loads(line)
    return job["sweep"], job["id"], job["attempt"]
