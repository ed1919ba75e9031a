"""From the name of a command to its module and its parser; only that module is imported."""

from __future__ import annotations

import importlib
from argparse import Namespace
from typing import Protocol, cast

from jobs.errors import UsageError

from ..config import Settings
from ..words import did_you_mean
from .output import Output
from .parser import Parser, columns
from .table import COMMANDS, GROUPS, MODULES


class Command(Protocol):
    """What the module of a command offers."""

    EXAMPLES: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare arguments and options."""

    def run(self, args: Namespace, settings: Settings, out: Output) -> int:
        """Do it; return the exit code."""


def load(name: str) -> Command:
    """Import the module of a command.

    Raises
    ------
    UsageError
        There is no such command; the nearest one is named.
    """
    if name not in COMMANDS:
        raise UsageError(f"orch has no command '{name}'{did_you_mean(name, list(COMMANDS))}", "orch --help lists them")
    return cast(Command, importlib.import_module(f".{MODULES.get(name, name)}", __package__))


def command_parser(name: str) -> Parser:
    """Return the whole parser of one command."""
    module = load(name)
    parser = Parser(f"orch {name}", COMMANDS[name], module.EXAMPLES)
    module.add_arguments(parser)
    return parser


def overview() -> str:
    """Return what `orch --help` prints; it imports no command."""
    parts = ["Sweeps, hosts and honest tables for labs with a handful of GPU machines."]
    parts.append(
        "examples:\n  orch demo\n  orch init ~/data/liver\n  orch sweep augmentations --dry-run\n  orch status"
    )
    parts.append("usage: orch COMMAND [options]")
    parts += [f"{title}:\n{columns(list(group.items()))}" for title, group in GROUPS.items()]
    parts.append("orch COMMAND -h explains a command; orch --version prints the version.")
    return "\n\n".join(parts) + "\n"
