"""Stop requests on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs import stop
from jobs.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path))


def test_asking_again_shortens_the_grace_and_never_lengthens_it(folder: RunFolder) -> None:
    """The watcher may read the file only after the second request was made."""
    assert stop.ask(folder, "a", 5.0) is True
    assert stop.ask(folder, "b", None) is False
    assert stop.grace_of(folder) == 5.0
    assert stop.ask(folder, "c", 0.5) is False
    assert stop.grace_of(folder) == 0.5


def test_an_empty_request_has_the_usual_grace_until_somebody_names_less(folder: RunFolder) -> None:
    os.close(os.open(folder.stop, os.O_WRONLY | os.O_CREAT))
    stop.ask(folder, "a", None)
    assert stop.grace_of(folder) == stop.GRACE
    stop.ask(folder, "b", 0.0)
    assert stop.grace_of(folder) == 0.0
