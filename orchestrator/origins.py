"""Where a data set is copied from: this machine, or a host on which it is registered; the bytes of its files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jobs import host as machine
from jobs import outgoing
from jobs.errors import DataError, OrchError

from .dispatch import Contact

BLOCK = 1 << 20  # bytes of one piece
_PART = 1 << 24  # bytes that a host is asked for at a time: what the other end takes slowly must not pile up here

Blocks = Generator[bytes, None, OrchError | None]  # bytes in their order; at the end, why they are not the file


class Volume(NamedTuple):
    """One file of a data set.

    Attributes
    ----------
    file:
        Its name in copies: `<SHA-256>.nii.gz`.
    bytes:
        Its size.
    path:
        Where it lies, if that is on this machine.
    """

    file: str
    bytes: int
    path: Path | None = None


class Origin(Protocol):
    """Where a data set is registered.

    Attributes
    ----------
    name:
        The machine's.
    document:
        The manifest of a copy (`jobs.outgoing.portable`).
    volumes:
        Its files, each content once.
    """

    name: str
    document: Mapping[str, Any]
    volumes: list[Volume]

    def blocks(self, volume: Volume, begin: int) -> Blocks:
        """Yield the bytes of a file from an offset on."""


class Here:
    """This machine.

    Parameters
    ----------
    manifest:
        As it is registered.

    Raises
    ------
    DataError
        A file is not there any more, or cannot be read.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.name = machine.name()
        self.document: Mapping[str, Any] = outgoing.portable(manifest)
        self._data = str(manifest["name"])
        paths = {file: Path(path) for file, path in outgoing.paths_of(manifest).items()}
        self.volumes = [self._volume(file, path) for file, path in paths.items()]

    def _volume(self, file: str, path: Path) -> Volume:
        try:
            return Volume(file, path.stat().st_size, path)
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: OSError) -> DataError:
        hint = f"put it back, then: orch data check {self._data}"
        return DataError(f"{path} cannot be read: {error.strerror}", hint, path=str(path))

    def blocks(self, volume: Volume, begin: int) -> Blocks:
        """See `Origin`; all of the file is read, so that one that changed is found out."""
        assert volume.path
        total, offset = hashlib.sha256(), 0
        try:
            with volume.path.open("rb") as handle:
                while block := handle.read(BLOCK):
                    total.update(block)
                    fresh = block[max(0, begin - offset) :]
                    offset += len(block)
                    if fresh:
                        yield fresh
        except OSError as error:
            return self._unreadable(volume.path, error)
        if total.hexdigest() == volume.file[:64]:
            return None
        text = f"{volume.path} changed since the data set was registered"
        hint = f"put the old file back, or register anew: orch data add {self._data} … --replace"
        return DataError(text, hint, path=str(volume.path))


class There:
    """A host on which it is registered; its bytes pass through this machine and leave nothing here.

    Raises
    ------
    NotFound, DataError
        It is not registered there; one of its files cannot be read.
    """

    def __init__(self, contact: Contact, data: str) -> None:
        self.name, self.home_id, self._contact, self._data = contact.name, contact.home_id, contact, data
        told = contact.wire.call("give_data", name=data)
        self.document: Mapping[str, Any] = told["document"]
        self.volumes = [Volume(str(file), int(size)) for file, size in told["files"]]

    def blocks(self, volume: Volume, begin: int) -> Blocks:
        """See `Origin`; whether they are the file is found out at the other end."""
        for offset in range(begin, volume.bytes, _PART):
            asked = {"name": self._data, "file": volume.file, "offset": offset, "count": _PART}
            stream = self._contact.wire.stream("give_file", **asked)
            yield from map(base64.b64decode, stream)
        return None
