"""The argument parser of all commands: errors of our tree, examples first, the same global options everywhere."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from jobs.errors import UsageError

from ..words import did_you_mean

EVERYWHERE = "on every command"
VALUED = frozenset({"--home", "--config", "--color"})  # global options that take a value
_SILENT = argparse.SUPPRESS


class Row(NamedTuple):
    """One argument or option, as help, reference and completion show it."""

    flags: tuple[str, ...]  # empty for a positional argument
    metavar: str
    help: str
    choices: tuple[str, ...]
    shared: bool  # stands on every command


class Parser(argparse.ArgumentParser):
    """Parser of one command or verb.

    Parameters
    ----------
    prog:
        Words that start it: `orch data add`.
    summary, examples:
        One line, and command lines to copy.
    """

    def __init__(self, prog: str = "orch", summary: str = "", examples: str = "", **_: Any) -> None:
        super().__init__(prog=prog, description=summary, allow_abbrev=False, add_help=False)
        self.examples = examples.strip("\n")
        self.verbs: dict[str, Parser] = {}
        self._verb_action: Any = None
        _add_global_options(self)

    def add_verb(self, name: str, summary: str, examples: str) -> Parser:
        """Add a second word (`orch data add`); `args.verb` says which was given."""
        if self._verb_action is None:
            self._verb_action = self.add_subparsers(dest="verb", metavar="VERB", required=True)
        prog = f"{self.prog} {name}"
        self.verbs[name] = self._verb_action.add_parser(
            name, help=summary, prog=prog, summary=summary, examples=examples
        )
        return self.verbs[name]

    def words(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words of a command; options may stand between arguments: `orch note JOB --sweep NAME TEXT`."""
        rest = any(action.nargs == argparse.REMAINDER for action in self._actions)
        return self.parse_args(words) if self.verbs or rest else self.parse_intermixed_args(words)

    def error(self, message: str) -> NoReturn:
        """Raise the error of our tree instead of leaving.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"{self.prog}: {message}{self._nearest(message)}", f"look at {self.prog} -h")

    def _nearest(self, message: str) -> str:
        words = [word for word in message.split() if word.startswith("--")]
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        if "unrecognized" not in message or not words:
            return ""
        return did_you_mean(words[0].split("=")[0], known)

    def rows(self) -> Iterator[Row]:
        """Yield all arguments and options, positional ones first, the shared ones last."""
        actions = [action for action in self._actions if action.help != _SILENT]
        for action in sorted(actions, key=lambda one: (one in self._shared, bool(one.option_strings))):
            if action is not self._verb_action:
                yield _row(action, action in self._shared)

    @property
    def _shared(self) -> list[argparse.Action]:
        return next(group._group_actions for group in self._action_groups if group.title == EVERYWHERE)

    def format_help(self) -> str:
        """Return the help text: what it does, examples, arguments, options."""
        parts = [self.description or ""]
        if self.examples:
            parts.append("examples:\n" + "\n".join("  " + line for line in self.examples.splitlines()))
        parts.append(f"usage: {self.usage_line()}")
        parts += self._sections()
        return "\n\n".join(parts) + "\n"

    def usage_line(self) -> str:
        """Return the command with its arguments in one line."""
        words = [self.prog, *(["VERB"] if self.verbs else [])]
        words += [row.metavar for row in self.rows() if not row.flags]
        return " ".join([*words, "[options]"])

    def _sections(self) -> list[str]:
        rows = list(self.rows())
        sections = {
            "verbs": [(name, verb.description or "") for name, verb in self.verbs.items()],
            "arguments": [(row.metavar, row.help) for row in rows if not row.flags],
            "options": [(_invocation(row), row.help) for row in rows if row.flags and not row.shared],
            EVERYWHERE: [(_invocation(row), row.help) for row in rows if row.shared],
        }
        return [f"{title}:\n{columns(lines)}" for title, lines in sections.items() if lines]


def _row(action: argparse.Action, shared: bool) -> Row:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(str(choice) for choice in action.choices or ())
    if action.nargs == 0:
        metavar = ""
    elif choices and action.metavar is None:
        metavar = "|".join(choices)
    elif not action.option_strings and action.nargs in ("?", "*"):
        metavar = f"[{metavar}]" + ("…" if action.nargs == "*" else "")
    elif action.nargs in ("+", "*"):
        metavar += "…"
    return Row(tuple(action.option_strings), metavar, (action.help or "").replace("%%", "%"), choices, shared)


def _invocation(row: Row) -> str:
    return ", ".join(row.flags) + (" " + row.metavar if row.metavar else "")


def columns(lines: list[tuple[str, str]], width: int = 0) -> str:
    """Return two columns of text, the second one wrapped to the terminal (at most 110 characters)."""
    import textwrap

    left = min(26, max(len(first) for first, _ in lines)) + 4
    total = width or _terminal_width()
    out = []
    for first, second in lines:
        wrapped = textwrap.wrap(second, max(30, total - left)) or [""]
        head = f"  {first}".ljust(left)
        if len(first) + 4 > left:
            out.append(head)
            head = " " * left
        out.append((head + wrapped[0]).rstrip())
        out += [" " * left + line for line in wrapped[1:]]
    return "\n".join(out)


def _terminal_width() -> int:
    try:
        return min(110, os.get_terminal_size().columns)
    except OSError:
        return 110


def _add_global_options(parser: Parser) -> None:
    group = parser.add_argument_group(EVERYWHERE)
    group.add_argument("--home", metavar="FOLDER", default=_SILENT, help="orch home to use (ORCH_HOME)")
    group.add_argument(
        "--config", metavar="FILE", default=_SILENT, help="project file instead of orch.yaml (ORCH_CONFIG)"
    )
    group.add_argument("--json", action="store_true", default=_SILENT, help="one JSON document on stdout (ORCH_JSON)")
    group.add_argument(
        "--color", choices=("auto", "always", "never"), default=_SILENT, help="colours (ORCH_COLOR, NO_COLOR)"
    )
    group.add_argument(
        "--no-progress", action="store_true", default=_SILENT, help="no live progress (ORCH_NO_PROGRESS)"
    )
    group.add_argument("--debug", action="store_true", default=_SILENT, help="show tracebacks (ORCH_DEBUG)")
    group.add_argument("-h", "--help", action="help", default=_SILENT, help="show this help")
