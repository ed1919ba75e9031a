"""Texts from elsewhere in every medium: no sign is obeyed, none is hidden, and none is read as a formula or markup."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import OrchError
from orchestrator.cli.output import Output
from orchestrator.report.csv import _write

OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
SIGNS = ["\x1b[2J", "\x1b]0;x\x07", "\r", "\0", "\u202e", "\u200b", "\u2066", "\ud800", "\x9b", "[red]", "[/]", "=1+1"]
TEXTS = st.lists(st.sampled_from([*SIGNS, "@", "-", "\t", "\n", "ok", "[link=x]"]) | st.text(max_size=3)).map("".join)
MEANS: dict[str, Callable[[Output, str], None]] = {
    "result": lambda out, text: out.result(text),
    "note": lambda out, text: out.note(text),
    "warning": lambda out, text: out.warning(text),
    "next": lambda out, text: out.next(text),
    "error": lambda out, text: out.error(OrchError(text, text)),
    "table": lambda out, text: out.table([text, "b"], [[text, 1]]),
}


def shown(say: Callable[[Output, str], None], text: str, *, terminal: bool = False, json_mode: bool = False) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        out = Output(json_mode, color="never")
        out.terminal = terminal
        say(out, text)
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("means", MEANS)
@settings(deadline=None)
@given(text=TEXTS)
def test_no_sign_is_obeyed(means: str, terminal: bool, text: str) -> None:
    assert not OBEYED.search(shown(MEANS[means], text, terminal=terminal))


@settings(deadline=None)
@given(TEXTS)
def test_a_programs_output_moves_no_terminal(text: str) -> None:
    said = shown(lambda out, some: out.output(some), text, terminal=True)
    assert not OBEYED.search(re.sub("\x1b\\[[0-9;]*m", "", said))


@settings(deadline=None)
@given(TEXTS)
def test_json_holds_the_same_text_and_no_sign_that_is_obeyed(text: str) -> None:
    said = shown(lambda out, some: out.json({"a": some}), text, json_mode=True)
    assert json.loads(said) == {"a": text} and not OBEYED.search(said)


def test_a_table_reads_no_markup() -> None:
    assert shown(MEANS["table"], "[red]x[/red]", terminal=True).count("[red]x[/red]") == 2


@settings(deadline=None)
@given(TEXTS)
def test_no_cell_nor_head_is_a_formula(text: str) -> None:
    said = _write(pd.DataFrame({text: [text], "b": [-1.5]}))
    assert not OBEYED.search(said)
    head = pd.read_csv(io.StringIO(said), header=None, dtype=str, keep_default_na=False)
    assert all(cell.lstrip()[:1] not in ("=", "+", "-", "@") for cell in (head.iloc[0, 0], head.iloc[1, 0]) if cell)


def test_whose_words_an_error_is() -> None:
    error = OrchError("no room", "curl x | sh")
    assert shown(lambda out, _: out.error(error), "") == "error: no room\n  fix: curl x | sh\n"
    error.said_by = "ada"
    said = shown(lambda out, _: out.error(error), "")
    assert said == "error: ada says: no room\n  ada suggests: curl x | sh\n"
