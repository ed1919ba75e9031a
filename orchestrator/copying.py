"""A data set goes to a host with a home of its own: only what is missing there, verified there, on from a cut."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jobs.atomic import read_json, write_json
from jobs.errors import DiskError, NotFound, OrchError, disk_error
from jobs.folder import Home
from jobs.homes import private

from . import datasets
from .config import Settings
from .dispatch import Contact, user
from .origins import Here, Origin, Volume
from .price import MARGIN, size
from .words import counted, did_you_mean

AHEAD = 12  # pieces and seals that are on their way without an answer: a slow line must not wait for each
Progress = Callable[[int], None]  # gets the bytes that have arrived


class Offer(NamedTuple):
    """What a host says of a data set that it is offered.

    Attributes
    ----------
    registered:
        It has these contents under this name, from files of its own: nothing is to be done.
    due:
        Files that it lacks, each with the bytes of it that had come before.
    free_bytes, free_files:
        What may still be written there; None: nobody knows.
    part:
        Path there of what has come of a file; `{}` stands for its name.
    rsync:
        The host has that program.
    """

    registered: bool
    due: tuple[tuple[Volume, int], ...]
    free_bytes: int | None
    free_files: int | None
    part: str = ""
    rsync: bool = False

    @property
    def bytes(self) -> int:
        """Bytes that are to be sent."""
        return sum(volume.bytes - begun for volume, begun in self.due)


def offer(contact: Contact, name: str, origin: Origin, replace: bool, progress: Progress | None = None) -> Offer:
    """Ask a host what it lacks of a data set; `progress` gets the bytes that it reads meanwhile.

    Raises
    ------
    UsageError
        The name stands there for other contents.
    DiskError
        Its home cannot be written.
    """
    files = [(volume.file, volume.bytes) for volume in origin.volumes]
    asked = {"name": name, "hash": origin.document["hash"], "files": files, "replace": replace}
    stream = contact.wire.stream("offer_copy", **asked)
    told = ended(stream, progress)
    by_name, room = {volume.file: volume for volume in origin.volumes}, told["room"]
    due = tuple((by_name[file], int(begun)) for file, begun in told["missing"])
    free = (room["free_bytes"], room["free_files"])
    return Offer(bool(told["registered"]), due, *free, str(told["part"]), bool(told["rsync"]))


def ended(stream: Iterator[Any], progress: Progress | None = None) -> dict[str, Any]:
    """Return the last word of a verb that tells meanwhile how many bytes it has read."""
    while True:
        try:
            count = next(stream)
        except StopIteration as stop:
            return dict(stop.value)
        if progress:
            progress(count)


def refuse_lacking(host: str, offered: Offer) -> None:
    """Refuse a copy for which there is no room, before its first byte.

    Raises
    ------
    DiskError
        With what is needed and what is free.
    """
    hint = f"free some space on {host}, or name another home for it: `home:` in the site file"
    if offered.free_bytes is not None and offered.bytes and offered.bytes + MARGIN > offered.free_bytes:
        free = size(offered.free_bytes)
        raise DiskError(f"{host} would have to take {size(offered.bytes)}; {free} are free there", hint)
    if offered.free_files is not None and len(offered.due) >= offered.free_files:
        free = f"{offered.free_files} more may be made there"
        raise DiskError(f"{host} would have to take {counted(len(offered.due), 'file')}; {free}", hint)


def keep(contact: Contact, name: str, origin: Origin, replace: bool) -> None:
    """Register the copy on a host to which all files have come.

    Raises
    ------
    UsageError, DiskError
        See `jobs.intake.keep_copy`.
    """
    about = {"from": origin.name, "by": user(), "t": time.time()}
    contact.wire.call("keep_copy", name=name, document={**origin.document, "copy": about}, replace=replace)


class Sender:
    """Files on their way to a host; several pieces are under way at once.

    Parameters
    ----------
    contact:
        A host that was made an offer.
    name, origin:
        Name of the data set, and where its bytes come from.
    progress:
        Gets the bytes that have arrived.
    """

    def __init__(self, contact: Contact, name: str, origin: Origin, progress: Progress) -> None:
        self._contact, self._name, self._origin, self._progress = contact, name, origin, progress
        self._under_way: deque[tuple[int, int, Volume | None]] = deque()  # question, bytes, the file that it seals
        self._damaged: list[Volume] = []

    def send(self, due: tuple[tuple[Volume, int], ...]) -> None:
        """Send what is due. A file of which something else had come is sent once more, from its beginning.

        Raises
        ------
        DataError
            A file is no longer what was registered: it is named, and nothing of it stays there.
        DiskError
            The host's disk takes no more; what has come stays, for the next time.
        Unreachable
            The connection broke; what has come stays.
        """
        for volume, begun in due:
            self._send(volume, begun)
        self._send_again()

    def seal(self, due: tuple[tuple[Volume, int], ...]) -> None:
        """Give the files their names that another program has brought there; what came damaged is sent once more.

        Raises
        ------
        DataError, DiskError, Unreachable
            See `send`.
        """
        for volume, _ in due:
            self._seal(volume)
        self._send_again()

    def make_room(self, volume: Volume, begun: int) -> None:
        """Let the folder be made in which another program shall put its files."""
        self._post_piece(volume, begun, b"")
        self._settle(0)

    def _send_again(self) -> None:
        self._settle(0)
        again, self._damaged = self._damaged, []
        for volume in again:
            self._send(volume, 0)
        self._settle(0)
        if self._damaged:
            text = (
                f"a file of {self._name} ({self._damaged[0].file}) arrives on {self._contact.name} with other contents"
            )
            raise OrchError(text, f"is it as registered? orch data verify {self._name} --host {self._origin.name}")

    def _send(self, volume: Volume, begun: int) -> None:
        blocks, offset = self._origin.blocks(volume, begun), begun
        while True:
            try:
                block = next(blocks)
            except StopIteration as stop:
                trouble = stop.value
                break
            self._post_piece(volume, offset, block)
            offset += len(block)
        self._seal(volume)
        if trouble:
            self._settle(0)  # the seal has thrown it away there
            raise trouble

    def _post_piece(self, volume: Volume, offset: int, data: bytes) -> None:
        asked = {"name": self._name, "file": volume.file, "offset": offset}
        number = self._contact.wire.post_bytes("take_piece", data, **asked)
        self._await(number, len(data))

    def _seal(self, volume: Volume) -> None:
        number = self._contact.wire.post("seal_file", name=self._name, file=volume.file)
        self._await(number, 0, volume)

    def _await(self, number: int, count: int, sealed: Volume | None = None) -> None:
        self._under_way.append((number, count, sealed))
        self._settle(AHEAD)

    def _settle(self, most: int) -> None:
        """Take answers in until at most so many questions are under way."""
        while len(self._under_way) > most:
            number, count, sealed = self._under_way.popleft()
            told = self._contact.wire.answer(number)
            if sealed and not told["whole"]:
                self._damaged.append(sealed)
            self._progress(count)


def total(origin: Origin) -> int:
    """Return the bytes of all files."""
    return sum(volume.bytes for volume in origin.volumes)


def lacking(settings: Settings, host: str, name: str, known: list[str], error: OrchError | None = None) -> OrchError:
    """Return the error that says that a host lacks a data set, with the command that brings it there.

    Parameters
    ----------
    known:
        Names of the data sets that are registered there.
    error:
        Why it could not be registered there from the folder that the project file names.
    """
    home = Home(str(settings.home))
    if name in datasets.names(home):
        origin = Here(datasets.manifest(home, name))
        amount = f"{counted(len(origin.volumes), 'file')}, {size(total(origin))}"
        why = f" ({error.message})" if error else ""
        text = f"the data set {name} is not on {host}{why}; registered here are {amount}"
        return NotFound(text, f"orch data copy {name} --host {host}", host=host, data=name)
    if error:
        return error
    listed = f"known there: {', '.join(known)}; " if known else ""
    hint = f"{listed}orch data add {name} IMAGES LABELS, then orch data copy {name} --host {host}"
    return NotFound(f"no data set named '{name}' on {host}{did_you_mean(name, known)}", hint)


def remember(home: Home, name: str, contact: Contact, origin: Origin, whole: bool) -> None:
    """Write down beside a registration that a copy of it goes, or went, to a host.

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    amount = {"files": len(origin.volumes), "bytes": total(origin)}
    place = {"host": contact.name, "home_id": contact.home_id, "home": contact.home, "hash": origin.document["hash"]}
    note(home, name, {**place, **amount, "whole": whole, "by": user(), "t": time.time()})


def note(home: Home, name: str, record: Mapping[str, Any]) -> None:
    """Write down what is known of a data set on one host (`record["host"]`).

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    path = Path(home.copies(name)) / f"{record['host']}.json"
    try:
        with private(home.path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, dict(record))
    except OSError as error:
        raise disk_error(error, str(path)) from error


def remembered(home: Home, name: str) -> dict[str, dict[str, Any]]:
    """Return what was written down of a data set's copies, by host; one under another name is none."""
    found = ((path.stem, read_json(path)) for path in sorted(Path(home.copies(name)).glob("*.json")))
    return {host: dict(one) for host, one in found if isinstance(one, dict) and one.get("host") == host}


def half_forgotten(home: Home) -> list[str]:
    """Return the data sets that a host has still to forget."""
    names = {path.parent.parent.name for path in Path(home.data).glob("*/copies/*.json")}
    return sorted(name for name in names if any("forget" in one for one in remembered(home, name).values()))
