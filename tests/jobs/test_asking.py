"""A program that runs once on a host: its answer, its errors, its time limit, and no trace of its code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.asking import pack
from jobs.errors import OrchError, UsageError
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments


@pytest.fixture
def wire(hostile_path: Path) -> Iterator[Wire]:
    """An agent without an open home, whose local folder is hostile."""
    environment = {**os.environ, "ORCH_LOCAL": str(hostile_path)}
    with Wire(ProcessPipe("here", boot_arguments(sys.executable), environment)) as opened:
        yield opened


def ask(wire: Wire, main: str, *words: str, **more: Any) -> dict[str, Any]:
    files = {"__main__.py": main.encode(), "part/number.py": b"VALUE = 7\n", "part/raw": bytes(range(256))}
    return wire.call("ask_program", python=sys.executable, code=pack(files), words=list(words), **more)


def test_the_answer_is_found_among_what_it_says(wire: Wire, hostile_path: Path) -> None:
    main = """
import json, pathlib, sys
from part.number import VALUE
print("a warning", file=sys.stderr)
raw = pathlib.Path(__file__).parent / "part" / "raw"
print(json.dumps({"value": VALUE, "words": sys.argv[1:], "raw": raw.read_bytes() == bytes(range(256))}))
print("bye", file=sys.stderr)
"""
    assert ask(wire, main, "two words", "é") == {"value": 7, "words": ["two words", "é"], "raw": True}
    assert list(hostile_path.glob("orch-ask-*")) == []


@pytest.mark.parametrize(
    ("main", "text"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck"),
        ("print('hello')", "it printed no JSON object"),
        ("import json; print(json.dumps({'error': {'code': 'ERROR', 'message': 'so it is'}})); exit(1)", "so it is"),
    ],
)
def test_what_went_wrong_is_said(wire: Wire, hostile_path: Path, main: str, text: str) -> None:
    with pytest.raises(OrchError, match=text):
        ask(wire, main)
    assert list(hostile_path.glob("orch-ask-*")) == []


def test_it_has_a_time_limit(wire: Wire) -> None:
    began = time.monotonic()
    with pytest.raises(OrchError, match="did not answer within 1 s"):
        ask(wire, "import time; time.sleep(60)", limit=1.0)
    assert time.monotonic() - began < 20


def test_an_interpreter_that_is_not_there(wire: Wire) -> None:
    with pytest.raises(OrchError, match="cannot start /nowhere/python"):
        wire.call("ask_program", python="/nowhere/python", code=pack({"__main__.py": b""}), words=[])


def test_code_stays_in_its_folder(wire: Wire) -> None:
    with pytest.raises(UsageError, match="cannot lie at"):
        wire.call("ask_program", python=sys.executable, code=pack({"../out.py": b""}), words=[])
