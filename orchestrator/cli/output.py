"""Where texts go: results to stdout, everything else to stderr; with `--json` stdout holds JSON only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from jobs.errors import OrchError
from jobs.visible import in_json, on_terminal, visible

if TYPE_CHECKING:
    from rich.console import Console

MOST_TEXT = 24  # characters that a column may ask for; longer texts are wrapped
GAP = 3  # characters between columns


class Output:
    """The two streams of one command.

    Call both forms and let the mode decide: `out.json(value)` prints only with `--json`, `out.result`, `out.table` and
    `out.next` print only without it.

    Parameters
    ----------
    json_mode:
        stdout holds JSON documents, one per line.
    progress:
        Live progress is wanted, if stderr is a terminal.
    color:
        `auto`, `always` or `never`.
    """

    def __init__(self, json_mode: bool = False, progress: bool = True, color: str = "auto") -> None:
        self.json_mode = json_mode
        self.terminal = sys.stdout.isatty()  # tables for people; else tab-separated lines
        self.progress = progress and sys.stderr.isatty()  # a live display may be drawn on stderr
        self._color = color

    def result(self, text: str) -> None:
        """Print a result for people."""
        if not self.json_mode:
            _write(sys.stdout, visible(text))

    def json(self, value: Any) -> None:
        """Print a result for programs: one document, or one line of a stream."""
        if self.json_mode:
            _write(sys.stdout, in_json(json.dumps(value, ensure_ascii=False, default=str)))

    def note(self, text: str) -> None:
        """Say something about the way, not the result."""
        _write(sys.stderr, visible(text))

    def output(self, text: str) -> None:
        """Pass on what a program has printed: to a terminal without what it would obey, elsewhere byte for byte."""
        sys.stdout.write(on_terminal(text) if self.terminal else text)
        sys.stdout.flush()

    def warning(self, text: str) -> None:
        """Say something that needs attention but stops nothing."""
        _write(sys.stderr, self._paint("warning:", "33", sys.stderr) + " " + visible(text))

    def warnings(self, texts: Iterable[str]) -> None:
        """Say several things that need attention."""
        for text in texts:
            self.warning(text)

    def next(self, command: str) -> None:
        """Print the command that most people want next."""
        if not self.json_mode:
            _write(sys.stderr, f"next: {visible(command)}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table: aligned on a terminal, tab-separated and untruncated otherwise. Empty cells are None."""
        if self.json_mode:
            return
        columns = [visible(name) for name in columns]  # some are names of metrics, which programs choose
        texts = [["" if cell is None else visible(str(cell)) for cell in row] for row in rows]
        if self.terminal:
            self._rich_table(columns, texts)
        else:
            lines = [columns, *texts]
            _write(sys.stdout, "\n".join("\t".join(_one_line(cell) for cell in line) for line in lines))

    def _rich_table(self, columns: Sequence[str], rows: list[list[str]]) -> None:
        from rich import box
        from rich.table import Column, Table
        from rich.text import Text

        console = self.console(sys.stdout)
        for part in _parts(columns, rows, console.width):
            table = Table(*(Column(Text(columns[one])) for one in part), box=box.SIMPLE_HEAD, pad_edge=False)
            for row in rows:
                table.add_row(*(Text(row[one]) for one in part))
            console.print(table)

    def console(self, stream: TextIO | None = None) -> Console:
        """Return a rich console on a stream (stderr by default), under the rules for colour."""
        from rich.console import Console

        target = stream or sys.stderr
        colored = self.colored(target)
        return Console(file=target, no_color=not colored, force_terminal=True if colored else None, highlight=False)

    def colored(self, stream: TextIO) -> bool:
        """Tell whether colours are wanted on a stream: the flag, then NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, TERM."""
        if self._color != "auto":
            return self._color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        forced = os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE", "0")
        if forced != "0":
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"

    def error(self, error: OrchError) -> None:
        """Print an error: `{"error": ...}` on stdout with `--json`; else message and repair on stderr.

        What a host says stands as its words: another program may speak in its place, and its repair is not ours.
        """
        if self.json_mode:
            self.json({"error": error.to_json()})
            return
        head = self._paint("error:", "31;1", sys.stderr)
        says, fix = (f"{error.said_by} says: ", f"{error.said_by} suggests:") if error.said_by else ("", "fix:")
        _write(sys.stderr, f"{head} {visible(says + _indented(error.message, '  '))}")
        if error.hint:
            _write(sys.stderr, f"  {visible(fix)} {visible(_indented(error.hint, '       '))}")

    def _paint(self, text: str, code: str, stream: TextIO) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colored(stream) else text


def from_flags(flags: Mapping[str, Any]) -> Output:
    """Return the output that flags and environment ask for; a flag wins over its `ORCH_*` twin."""
    return Output(
        json_mode=bool(flags.get("json", switch("ORCH_JSON"))),
        progress=not flags.get("no_progress", switch("ORCH_NO_PROGRESS")),
        color=str(flags.get("color") or os.environ.get("ORCH_COLOR") or "auto"),
    )


def switch(variable: str) -> bool:
    """Tell whether an environment variable is on: set, and neither empty nor `0`."""
    return os.environ.get(variable, "0") not in ("", "0")


def _parts(columns: Sequence[str], rows: list[list[str]], width: int) -> Iterator[list[int]]:
    """Deal columns to tables that fit the width, so that no number is cut; each begins with the row's name."""
    needs = [min(MOST_TEXT, max(map(len, cells))) + GAP for cells in zip(columns, *rows, strict=True)]
    part = [0]
    for one in range(1, len(columns)):
        if len(part) > 1 and sum(needs[known] for known in part) + needs[one] > width:
            yield part
            part = [0]
        part.append(one)
    yield part


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _indented(text: str, prefix: str) -> str:
    return text.replace("\n", "\n" + prefix)


def _one_line(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")
