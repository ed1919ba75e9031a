"""Writes `docs/cli.md` from the live parsers: `python -m orchestrator.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from .parser import Parser, Row
from .registry import command_parser
from .table import GROUPS

HEAD = """# Command line

Written by `python -m orchestrator.cli.reference > docs/cli.md` from the parsers; a test fails when it is not fresh.

Results go to stdout, everything else to stderr. With `--json` stdout holds JSON only: one document, or one per line for
streams; errors too, as `{"error": {"code", "message", "hint", "context"}}`. The exit code is the same with and without.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage: a word, an option or a line in a file cannot be understood |
| 3 | not found: no such sweep, job, data set or host |
| 4 | authentication, or the key of a host |
| 5 | a host does not answer |
| 6 | ran well and found something (a check, a report with holes) |
| 130 | interrupted; jobs go on |

Settings are looked for in this order: option, `ORCH_*` variable, `orch.yaml` (searched upward), your own file. See
[`orch config`](#orch-config)."""


def document() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, commands in GROUPS.items():
        parts.append(f"## {title.capitalize()}")
        for name in commands:
            parts += _command(command_parser(name), "###")
    shared = [row for row in command_parser(next(iter(GROUPS["start"]))).rows() if row.shared]
    parts += ["## Options of every command", _table(shared)]
    return "\n\n".join(parts) + "\n"


def _command(parser: Parser, level: str) -> Iterator[str]:
    yield f"{level} {parser.prog}"
    yield f"{parser.description}."
    if parser.examples:
        yield f"```\n{parser.examples}\n```"
    yield f"`{parser.usage_line()}`"
    own = [row for row in parser.rows() if not row.shared]
    if own:
        yield _table(own)
    for verb in parser.verbs.values():
        yield from _command(verb, level + "#")


def _table(rows: list[Row]) -> str:
    lines = ["| argument | meaning |", "|---|---|"]
    for row in rows:
        name = " ".join(filter(None, (", ".join(row.flags), row.metavar)))
        lines.append(f"| `{_cell(name)}` | {_cell(row.help)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # whatever the terminal's own encoding is
    sys.stdout.write(document())
