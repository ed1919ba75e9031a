"""What the tests of the laptop side share: a small data set, made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny volumes of five patients, with masks: `imagesTr`, `labelsTr`, `dataset.json`."""
    folder = tmp_path_factory.mktemp("phantom") / "bile ducts"
    words = ["phantom", str(folder), "--cases", "6", "--size", "32", "--depth", "8"]
    subprocess.run([sys.executable, "-I", "-m", "trainer", *words], check=True, capture_output=True)
    return folder


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A project of its own, for commands in this process and in others; we stand in its folder."""
    found = Ground(tmp_path / "ground")
    for name, value in found.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(found.project)
    yield found
    found.close()
