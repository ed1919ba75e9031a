"""The one door to the trainer: answers, errors and deaths of a real child program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import DataError, OrchError
from orchestrator.program import Program

Maker = Callable[[str], Program]


@pytest.fixture
def make(hostile_path: Path) -> Maker:
    def build(text: str) -> Program:
        (hostile_path / "__main__.py").write_text("import json, sys\n" + text, encoding="utf-8")
        return Program(sys.executable, str(hostile_path))

    return build


def test_an_answer_and_its_progress(make: Maker) -> None:
    text = "print('read 1/2', file=sys.stderr)\nprint(json.dumps({'got': json.load(sys.stdin), 'argv': sys.argv[1:]}))"
    lines: list[str] = []
    program = make(text)
    found = program.ask("scan", "--progress", request={"a": "é"}, progress=lines.append)
    assert found == {"got": {"a": "é"}, "argv": ["scan", "--progress"]}
    assert lines == ["read 1/2"]


def test_a_large_answer_with_much_talk_cannot_block(make: Maker) -> None:
    text = "print(json.dumps({'a': 'x' * 500000}))\nsys.stdout.flush()\nprint('y' * 500000, file=sys.stderr)"
    assert len(make(text).ask("scan")["a"]) == 500000


def test_the_trainers_error_becomes_ours(make: Maker) -> None:
    text = "print(json.dumps({'error': {'code': 'BAD_DATA', 'message': 'm', 'hint': 'h', 'context': {}}})); sys.exit(1)"
    with pytest.raises(DataError) as caught:
        make(text).ask("scan")
    assert (caught.value.message, caught.value.hint) == ("m", "h")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemError('broken')", "the trainer could not scan: SystemError: broken"),
        ("import os; os.kill(os.getpid(), 9)", "could not scan: exit status -9"),
        ("print('no json')", "could not scan"),
        ("print('{}'); sys.exit(3)", "could not scan: exit status 3"),
        ("print('[1]')", "could not scan"),
    ],
)
def test_a_program_that_dies_is_told(make: Maker, text: str, said: str) -> None:
    with pytest.raises(OrchError) as caught:
        make(text).ask("scan", request={"large": "x" * 300000})
    assert said in caught.value.message
    assert "orch config" in caught.value.hint


def test_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(OrchError, match="cannot be started"):
        Program(str(tmp_path / "python"), str(tmp_path)).ask("scan")
