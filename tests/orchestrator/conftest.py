"""What the tests of the laptop side share: a small data set, made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny volumes of five patients, with masks: `imagesTr`, `labelsTr`, `dataset.json`."""
    folder = tmp_path_factory.mktemp("phantom") / "bile ducts"
    words = ["phantom", str(folder), "--cases", "6", "--size", "32", "--depth", "8"]
    subprocess.run([sys.executable, "-I", "-m", "trainer", *words], check=True, capture_output=True)
    return folder
