"""Streams, colours, and tables on a pipe and on a terminal."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from jobs.errors import DataError
from orchestrator.cli.output import Output, from_flags


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_results_and_notes_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.result("r")
    out.json({"not": "now"})
    out.note("n")
    out.warning("w")
    out.next("orch status")
    out.table(["a", "b"], [[1, None], ["x\ty", "long " * 40]])
    streams = capsys.readouterr()
    assert streams.out == "r\na\tb\n1\t\nx y\t" + "long " * 40 + "\n"
    assert streams.err == "n\nwarning: w\nnext: orch status\n"


def test_json_mode_prints_json_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json_mode=True)
    out.result("r")
    out.table(["a"], [[1]])
    out.next("x")
    out.json([])
    out.json({"é": 1})
    out.error(DataError("m", "h", file="f"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["[]", '{"é": 1}']
    expected = {"error": {"code": "BAD_DATA", "message": "m", "hint": "h", "context": {"file": "f"}}}
    assert [json.loads(line) for line in lines[2:]] == [expected]


def test_an_error_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(DataError("first\nsecond", "do this"))
    assert capsys.readouterr().err == "error: first\n  second\n  fix: do this\n"


@pytest.mark.parametrize(
    ("flag", "environment", "terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "0"}, False, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_when_there_are_colours(
    monkeypatch: pytest.MonkeyPatch, flag: str, environment: dict[str, str], terminal: bool, colored: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Output(color=flag).colored(Terminal() if terminal else io.StringIO()) is colored


def test_a_terminal_gets_an_aligned_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    out = Output()
    out.table(["name", "Dice"], [["rotate[0]", 0.5], ["[bold]x", None]])
    assert "\t" not in screen.getvalue()
    assert "rotate[0]" in screen.getvalue()
    assert "[bold]x" in screen.getvalue()  # a value is text, never markup


def test_a_table_too_wide_goes_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 columns a comparison of five folds showed no number at all."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    heads = ["strategy", *(f"fold {number}" for number in range(12)), "reason"]
    Output().table(heads, [["rotate+noise", *(f"0.{number:03d}" for number in range(12)), "a long word " * 20]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    assert all(f"0.{number:03d}" in shown and f"fold {number}" in shown for number in range(12))
    assert shown.count("rotate+noise") == 3


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_COLOR", "always")
    assert from_flags({}).colored(io.StringIO())
    assert not from_flags({"color": "never"}).colored(io.StringIO())
    assert not from_flags({}).progress  # no terminal, no live display
