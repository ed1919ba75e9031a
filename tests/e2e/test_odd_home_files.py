"""What may lie in place of a file of the home itself: it is told or passed over, and hides no other sweep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import Ground

pytestmark = pytest.mark.slow
LIMIT_S = 20  # for one command, on a loaded machine


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    """It was deleted."""


def sparse(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(100 << 30)


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


ODD = (pipe, endless, Path.mkdir, sparse, garbage, nested, nothing)
PLACES = ("sweeps/odd.json", "begun/*/*", "dead/{host}.json", "queue/{host}/00000000000000000001-aaaaaaaa.jsonl")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.sweep("good", "echo {n} >> ran", "{n: [1, 2]}")
    found.sweep("odd", "echo odd >> ran")
    for name in ("good", "odd"):
        assert found.orch("sweep", name).code == 0
    yield found
    found.close()


def place_of(ground: Ground, pattern: str) -> Path:
    """The file that a pattern means, with its folder."""
    home = Path(ground.home.path)
    (host,) = (path.name for path in (home / "begun").iterdir())
    path = home / pattern.format(host=host)
    path = next(iter(home.glob(pattern)), path) if "*" in pattern else path
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_an_odd_file_of_the_home_hides_no_sweep(ground: Ground, place: str) -> None:
    """Injected: each odd thing, one after the other, in place of one file of the home. Hidden or run again: none."""
    path = place_of(ground, place)
    kept = path.read_bytes() if path.exists() else None
    for odd in ODD:
        path.unlink(missing_ok=True)
        act: Callable[[Path], object] = odd
        act(path)
        for words in (("status", "good", "--refresh", "--json"), ("sweep", "good"), ("report", "good"), ("status",)):
            began = time.monotonic()
            said = ground.orch(*words)
            assert said.code == 0 and time.monotonic() - began < LIMIT_S, (odd, words, said.err)
            assert "Traceback" not in said.err
        assert set(ground.states("good").values()) == {"done"}, odd
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    if kept is not None:
        path.write_bytes(kept)
    assert ground.ran() == ["1", "2", "odd"], "nothing ran again"
