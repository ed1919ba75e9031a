"""`orch protocols`, and that the protocols name only commands that `orch` has."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from jobs.errors import UsageError
from orchestrator.cli.registry import command_parser
from orchestrator.cli.table import COMMANDS
from orchestrator.inventory import read_site
from setup.protocols import documents, guides
from setup.protocols.blocks import spans
from setup.site import shipped

from .conftest import Orch


def named_commands() -> list[str]:
    """Every `orch ...` that the protocols name, in blocks and in running text."""
    found = set()
    for page in documents(guides(read_site(shipped("pilcam2")), {}, COMMANDS), "2026-02-03", "1"):
        lines = [line for code in page.codes() for line in code.text.splitlines()]
        words = [span.text for text in page.texts() for part in text for span in spans(part) if span.kind == "code"]
        found |= {line for line in (*lines, *words) if re.match(r"orch [a-zA-Z]", line)}
    return sorted(found - {"orch COMMAND -h"})


@pytest.mark.parametrize("line", named_commands())
def test_a_named_command_is_understood(line: str) -> None:
    """By the parser that reads it; a bare name (`orch setup`) need only exist."""
    _, name, *words = shlex.split(line)
    parser = command_parser(name)
    try:
        parser.parse_args(words)
    except UsageError:
        assert not words, line


def test_it_writes_all_files_and_names_them(orch: Orch, tmp_path: Path) -> None:
    said = orch("protocols", "--site", "pilcam2", "--out", str(tmp_path / "o"), "--date", "2026-02-03", "--json")
    told = json.loads(said.out)
    assert said.code == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == told["files"]
    assert len(told["files"]) == 12
    assert "2026-02-03" in (tmp_path / "o" / "nodal.fr.md").read_text(encoding="utf-8")


def test_the_day_comes_from_the_build(orch: Orch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert orch("protocols", "--site", "pilcam2", "--format", "md", "--out", str(tmp_path)).code == 0
    assert "1970-01-02" in (tmp_path / "index.en.md").read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--site", "pilcam"], 3, "Did you mean 'pilcam2'"),
        (["--site", "nowhere/site.yaml"], 3, "there is no file"),
        (["--site", "pilcam2", "--date", "tomorrow"], 2, "'tomorrow' is no day"),
    ],
)
def test_what_cannot_be_written_is_refused(
    orch: Orch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = orch("protocols", *words)
    assert (said.code, message in said.err) == (code, True), said.err
    assert list(tmp_path.iterdir()) == []
