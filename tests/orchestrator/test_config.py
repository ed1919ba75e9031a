"""Which setting wins, and where it came from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SpecError, UsageError
from orchestrator.config import DataSource, Settings
from orchestrator.userfile import set_value


def settings(folder: Path, flags: Mapping[str, Any] | None = None, **environment: str) -> Settings:
    base = {"XDG_CONFIG_HOME": str(folder / "user"), "XDG_STATE_HOME": str(folder / "states")}
    return Settings(flags or {}, {**base, **environment}, folder)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_then_environment_then_project_then_user_then_default(hostile_path: Path) -> None:
    user = write(hostile_path / "user/orch/config.yaml", "parallel: 1\n")
    project = write(hostile_path / "orch.yaml", "# mine\nparallel: 2\n")
    everything = settings(hostile_path, {"parallel": "4"}, ORCH_PARALLEL="3")
    assert everything.value("parallel") == (4, "flag --parallel")
    assert settings(hostile_path, ORCH_PARALLEL="3").value("parallel") == (3, "ORCH_PARALLEL")
    found = settings(hostile_path).value("parallel")
    assert found.value == 2
    assert found.origin.endswith("orch.yaml:2")
    project.unlink()
    assert settings(hostile_path).value("parallel").origin.endswith("config.yaml:1")
    user.unlink()
    assert settings(hostile_path).value("parallel") == (None, "default")


def test_the_project_file_is_searched_upward(tmp_path: Path) -> None:
    write(tmp_path / "orch.yaml", "home: runs\n")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert settings(deep).home == tmp_path / "runs"
    assert settings(deep).project_file == tmp_path / "orch.yaml"


def test_a_named_project_file_wins(tmp_path: Path) -> None:
    write(tmp_path / "orch.yaml", "home: a\n")
    other = write(tmp_path / "other/mine.yaml", "home: b\n")
    assert settings(tmp_path, {"config": "other/mine.yaml"}).home == other.parent / "b"
    assert settings(tmp_path, ORCH_CONFIG=str(other)).home == other.parent / "b"


def test_defaults(tmp_path: Path) -> None:
    plain = settings(tmp_path)
    assert plain.home == Path.home() / ".orch"
    assert plain.python == sys.executable
    assert plain.parallel is None
    assert plain.state == tmp_path / "states/orch"
    assert plain.data == {}


def test_a_command_for_python_stays_a_word(tmp_path: Path) -> None:
    assert settings(tmp_path, ORCH_PYTHON="python3").python == "python3"
    assert settings(tmp_path, ORCH_PYTHON="env/bin/python").python == str(tmp_path / "env/bin/python")


def test_data_sets_of_the_project_win_by_name(tmp_path: Path) -> None:
    write(tmp_path / "user/orch/config.yaml", "data: {a: {images: /u}, b: {csv: /u.csv}}\n")
    write(tmp_path / "orch.yaml", "data: {a: {images: im, labels: la, groups: '^(P)', classes: [x, y]}}\n")
    found = settings(tmp_path).data
    assert found["a"] == DataSource(str(tmp_path / "im"), str(tmp_path / "la"), None, "^(P)", ("x", "y"))
    assert found["b"] == DataSource(csv="/u.csv")


@pytest.mark.parametrize(
    ("text", "said", "repair"),
    [
        ("a: 1\nparalel: 2\n", "orch.yaml:1  a: unknown key", "keys are: home"),
        ("\nparalel: 2\n", "orch.yaml:2  paralel: unknown key. Did you mean 'parallel'?", "keys are"),
        ("- 1\n", "`key: value`", "keys"),
        ("data: [1]\n", "data: must be a mapping", "data: {liver"),
        ("data: {a: b}\n", "data.a: must be a mapping", "images"),
        ("data: {a: {image: b}}\n", "unknown key 'image'. Did you mean 'images'?", "keys are"),
        ("data: {a: {images: 3}}\n", "must be a text, not 3", "images: path"),
        ("data: {a: {labels: x}}\n", "names no images", "csv"),
        ("data: {a: {images: x, classes: y}}\n", "must be a list of names", "[anterior, posterior]"),
    ],
)
def test_a_wrong_file_names_its_line(tmp_path: Path, text: str, said: str, repair: str) -> None:
    write(tmp_path / "orch.yaml", text)
    with pytest.raises(SpecError) as caught:
        settings(tmp_path).value("parallel")
    assert said in caught.value.message
    assert repair in caught.value.hint


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_parallel_is_a_whole_number(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="ORCH_PARALLEL: parallel must be"):
        settings(tmp_path, ORCH_PARALLEL=value).parallel  # noqa: B018


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'home'"):
        settings(tmp_path).value("hom")


def test_setting_a_value_keeps_all_other_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "user/orch/config.yaml", "# mine\nhome: /a  # old\n\nparallel: 2\n")
    assert set_value(settings(tmp_path), "home", "/b: it's") == path
    assert path.read_text() == "# mine\nhome: '/b: it''s'\n\nparallel: 2\n"
    set_value(settings(tmp_path), "state", "/c")
    set_value(settings(tmp_path), "parallel", None)
    assert path.read_text() == "# mine\nhome: '/b: it''s'\n\nstate: '/c'\n"
    assert settings(tmp_path).home == Path("/b: it's")


def test_a_wrong_value_is_not_written(tmp_path: Path) -> None:
    for key, value in (("parallel", "x"), ("data", "x"), ("hom", "x")):
        with pytest.raises(UsageError):
            set_value(settings(tmp_path), key, value)
    assert not settings(tmp_path).user_file.exists()
