"""docs/cli.md is what the parsers say now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.cli.reference import document
from orchestrator.cli.table import COMMANDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "python -m orchestrator.cli.reference > docs/cli.md"


def test_the_page_names_every_command() -> None:
    assert [line for line in document().splitlines() if line.startswith("### ")] == [
        f"### orch {name}" for name in COMMANDS
    ]


def test_the_module_prints_the_page_whatever_the_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.reference"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"},
    )
    assert done.stdout.decode("utf-8").replace("\r\n", "\n") == document()
