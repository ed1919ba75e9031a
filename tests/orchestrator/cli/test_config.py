"""`orch config`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Orch


@pytest.fixture(autouse=True)
def _own_files(hostile_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(hostile_path / "user"))


def test_a_setting_is_written_and_read_back(orch: Orch, hostile_path: Path) -> None:
    assert orch("config", "parallel", "3").code == 0
    assert orch("config", "parallel").out == "3\n"
    origin = json.loads(orch("config", "parallel", "--json").out)["parallel"]["origin"]
    assert origin.endswith("config.yaml:1")
    assert orch("config", "--unset", "parallel").code == 0
    assert orch("config", "parallel").out == "\n"
    assert (hostile_path / "user/orch/config.yaml").read_text() == ""


def test_origins_are_shown(orch: Orch, hostile_path: Path) -> None:
    (hostile_path / "orch.yaml").write_text("home: runs\n")
    said = orch("config", "--show-origin").out
    assert f"home\t{str(hostile_path / 'runs').replace(chr(10), ' ')}\torch.yaml:1" in said
    assert "parallel\t\tdefault" in said


def test_a_file_that_wins_is_named(orch: Orch, hostile_path: Path) -> None:
    (hostile_path / "orch.yaml").write_text("parallel: 7\n")
    said = orch("config", "parallel", "2")
    assert "orch.yaml:1 wins over that file: parallel is 7 here" in said.err


@pytest.mark.parametrize("words", [["hom"], ["parallel", "x"], ["data", "x"], ["--unset"], ["--unset", "home", "x"]])
def test_what_cannot_be_set(orch: Orch, words: list[str]) -> None:
    said = orch("config", *words)
    assert said.code == 2
    assert "fix: " in said.err


def test_an_unknown_key_in_the_project_file(orch: Orch, hostile_path: Path) -> None:
    (hostile_path / "orch.yaml").write_text("# x\nhoem: runs\n")
    said = orch("config")
    assert said.code == 2
    assert "orch.yaml:2  hoem: unknown key. Did you mean 'home'?" in said.err
