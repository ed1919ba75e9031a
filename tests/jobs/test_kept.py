"""The agent's sources are sent once to a host, and believed only with their hash."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost

from jobs import kept
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, _sources, boot_arguments


class Counting:
    """A pipe's way in, counted."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.bytes = inner, 0

    def write(self, data: memoryview) -> int | None:
        written: int | None = self.inner.write(data)
        self.bytes += len(data) if written is None else written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def opened(host: LocalHost) -> int:
    """Connect and open the home; return the bytes that were sent."""
    pipe = ProcessPipe("local", boot_arguments(sys.executable))
    pipe.input = counting = Counting(pipe.input)  # type: ignore[assignment]
    with Wire(pipe, timeout=60, first=("open", {"home": host.home.path})) as wire:
        assert wire.answer(wire.first)["home"] == host.home.path
        assert wire.call("probe")  # a module that is imported later
    return counting.bytes


@pytest.fixture
def file(host: LocalHost) -> Iterator[Path]:
    """Where this version's sources are kept once a home was opened."""
    path = Path(host.local.path).parent / (kept.PREFIX + hashlib.sha256(_sources()).hexdigest())
    assert path.read_bytes() == _sources()
    yield path
    assert path.read_bytes() == _sources()


def test_sources_are_sent_once(host: LocalHost, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert opened(host) < 5000 < len(_sources())
    file.unlink()
    assert opened(host) > len(_sources())
    assert opened(host) < 5000


@pytest.mark.parametrize("damage", ["cut", "one byte", "empty"])
def test_what_is_not_whole_is_not_believed(host: LocalHost, file: Path, damage: str) -> None:
    """Injected: kept sources that are cut, changed or empty, once each. Run of them: nothing; they are sent again."""
    data = file.read_bytes()
    wrong = {"cut": data[:-1], "one byte": data[:1000] + bytes([data[1000] ^ 1]) + data[1001:], "empty": b""}[damage]
    file.write_bytes(wrong)
    assert opened(host) > len(_sources())


def test_a_folder_or_a_pipe_in_their_place_hinders_nobody(host: LocalHost) -> None:
    """Injected: a folder, then a named pipe with the file's name. Lost: the saving."""
    path = Path(host.local.path).parent / (kept.PREFIX + hashlib.sha256(_sources()).hexdigest())
    path.unlink()
    path.mkdir()
    assert opened(host) > len(_sources())
    path.rmdir()
    os.mkfifo(path)
    assert opened(host) > len(_sources())  # and puts the file in the pipe's place
    assert opened(host) < 5000


def test_only_the_newest_versions_are_kept(host: LocalHost, file: Path) -> None:
    for number in range(5):
        old = file.with_name(kept.PREFIX + str(number))
        old.touch()
        os.utime(old, (number, number))
    file.unlink()
    opened(host)
    assert sorted(path.name for path in file.parent.glob(kept.PREFIX + "*")) == sorted(
        ["agent-3", "agent-4", file.name]
    )
