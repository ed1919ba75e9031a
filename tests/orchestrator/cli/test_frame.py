"""The frame of `orch`: help, errors, exit codes, and how little is loaded for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.registry import command_parser, load
from orchestrator.cli.table import COMMANDS

from .conftest import Orch

HEAVY = (
    "torch pandas matplotlib sqlalchemy paramiko numpy yaml rich jsonschema submitit jinja2 importlib.metadata trainer"
)


def child(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from orchestrator.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "-h"], ["status", "-h"], ["nonsense"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from orchestrator.cli import main; main(sys.argv[2:]);"
        "found = [name for name in sys.argv[1].split() if name in sys.modules]; sys.exit(', '.join(found) or 0)"
    )
    light = HEAVY if words[0] != "status" else HEAVY.replace("rich ", "")
    done = subprocess.run([sys.executable, "-c", code, light, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_overview_lists_every_command(orch: Orch) -> None:
    for words in (["--help"], ["-h"], ["help"]):
        said = orch(*words)
        assert said.code == 0
        assert all(re.search(rf"^  {name} ", said.out, re.MULTILINE) for name in COMMANDS)
        assert said.out.index("examples:") < said.out.index("usage:")
    assert orch().code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_first(orch: Orch, name: str) -> None:
    for words in ([name, "-h"], [name, "--help"], ["help", name]):
        said = orch(*words)
        assert said.code == 0
        assert said.out.startswith(COMMANDS[name])
        assert said.out.index("examples:") < said.out.index(f"usage: orch {name}")
        assert "--json" in said.out
    examples = load(name).EXAMPLES.strip().splitlines()
    assert all(line.startswith("orch ") or " orch " in line for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_parsed(name: str) -> None:
    import shlex

    for line in load(name).EXAMPLES.strip().splitlines():
        if line.startswith(f"orch {name}"):
            words = shlex.split(line.split(" > ")[0].split(" >> ")[0].split(" | ")[0], comments=True)
            command_parser(name).parse_args(words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    parser = command_parser(name)
    for one in (parser, *parser.verbs.values()):
        assert all(row.help for row in one.rows())


def test_version(orch: Orch) -> None:
    from jobs import __version__

    assert orch("--version").out == f"orch {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["statsu"], "orch has no command 'statsu'. Did you mean 'status'?", "orch --help"),
        (
            ["config", "--show-orign"],
            "unrecognized arguments: --show-orign. Did you mean '--show-origin'?",
            "orch config -h",
        ),
        (["completion"], "orch completion: the following arguments are required: shell", "orch completion -h"),
        (["data"], "orch data: the following arguments are required: VERB", "orch data -h"),
        (["config", "--color", "pink"], "invalid choice: 'pink'", "orch config -h"),
    ],
)
def test_usage_errors(orch: Orch, words: list[str], said: str, hint: str) -> None:
    plain, as_json = orch(*words), orch(*words, "--json")
    assert (plain.code, as_json.code) == (2, 2)
    assert plain.out == ""
    assert said in plain.err
    assert f"fix: {'look at ' if hint.endswith('-h') else ''}{hint}" in plain.err
    error = json.loads(as_json.out)["error"]
    assert said in error["message"]
    assert set(error) == {"code", "message", "hint", "context"}
    assert as_json.err == ""


def test_global_options_stand_anywhere(orch: Orch, tmp_path: Path) -> None:
    for words in (["--json", "--home", "/x", "config", "home"], ["config", "--home", "/x", "home", "--json"]):
        assert json.loads(orch(*words).out) == {"home": {"value": "/x", "origin": "flag --home"}}
    listed = orch("data", "--home", str(tmp_path / "h"), "--json", "list")
    assert json.loads(listed.out) == []


def test_environment_twins(orch: Orch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_JSON", "1")
    assert json.loads(orch("config", "parallel").out)["parallel"]["value"] is None
    assert json.loads(orch("nonsense").out)["error"]["code"] == "USAGE"
    monkeypatch.setenv("ORCH_JSON", "0")
    assert orch("config", "parallel").out == "\n"


def test_an_error_of_orch_itself_shows_its_traceback_only_on_demand(hostile_path: Path) -> None:
    (hostile_path / "orch.yaml").write_text("home: a\n")
    (hostile_path / "yaml.py").write_text("raise ZeroDivisionError('planted')\n")
    plain = child("config", "--config", str(hostile_path / "orch.yaml"), PYTHONPATH=str(hostile_path))
    assert plain.returncode == 1
    assert "orch itself failed: ZeroDivisionError: planted" in plain.stderr
    assert "Traceback" not in plain.stderr
    debug = child("config", "--debug", "--config", str(hostile_path / "orch.yaml"), PYTHONPATH=str(hostile_path))
    assert "Traceback" in debug.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "import sys; from orchestrator.cli import main; sys.exit(main(['completion', 'bash']))"
    producer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with producer:
        assert producer.stdout is not None
        assert producer.stderr is not None
        producer.stdout.close()
        assert producer.stderr.read() == b""
    assert producer.returncode == 0


def test_ctrl_c_is_130(hostile_path: Path) -> None:
    (hostile_path / "yaml.py").write_text("raise KeyboardInterrupt\n")
    (hostile_path / "orch.yaml").write_text("home: a\n")
    done = child("config", "--config", str(hostile_path / "orch.yaml"), PYTHONPATH=str(hostile_path))
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_terminal_without_the_characters_gets_escapes() -> None:
    done = child("completion", "-h", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert child("config", "home", "--home", "/é", PYTHONIOENCODING="ascii", PYTHONUTF8="0").stdout == "/\\xe9\n"


def test_a_disk_that_cannot_be_written_is_told(orch: Orch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = orch("data", "list", "--home", str(tmp_path / "file" / "home"), "--json")
    assert said.code == 1
    assert json.loads(said.out)["error"]["code"] == "DISK"
