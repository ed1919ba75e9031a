"""Grounds for whole commands in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A project of its own; all processes of it are ended afterwards."""
    found = Ground(tmp_path / "ground")
    yield found
    found.close()
