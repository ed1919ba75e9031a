"""`orch config`: the settings, where each comes from, and how to change one."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from jobs.errors import UsageError

from ..config import KEYS, Settings
from .output import Output
from .parser import Parser

EXAMPLES = """
orch config --show-origin
orch config home /scratch/me/orch
orch config parallel 2
orch config --unset parallel
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("key", nargs="?", help=f"one of: {', '.join(KEYS)}")
    parser.add_argument("value", nargs="?", help="new value, written to your own settings file")
    parser.add_argument("--show-origin", action="store_true", help="say where each value comes from")
    parser.add_argument("--unset", action="store_true", help="take the key out of your own settings file")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Show or change settings."""
    if args.value is not None or args.unset:
        return _change(args, settings, out)
    keys = [args.key] if args.key else list(KEYS)
    found = {key: settings.value(key) for key in keys}
    out.json({key: {"value": value.value, "origin": value.origin} for key, value in found.items()})
    if args.key and not args.show_origin:
        out.result(_shown(found[args.key].value))
        return 0
    columns = ["setting", "value", *(["origin"] if args.show_origin else [])]
    out.table(columns, [[key, _shown(value.value), value.origin][: len(columns)] for key, value in found.items()])
    return 0


def _change(args: Namespace, settings: Settings, out: Output) -> int:
    from ..userfile import set_value

    if args.key is None or (args.unset and args.value is not None):
        raise UsageError("--unset takes one key and no value", "orch config --unset KEY")
    path = set_value(settings, args.key, None if args.unset else args.value)
    now = Settings.of({name: value for name, value in vars(args).items() if name in ("home", "config")}).value(args.key)
    out.json({"file": path, "key": args.key, "value": now.value, "origin": now.origin})
    out.note(f"wrote {path}")
    if not args.unset and not now.origin.startswith(str(path)):
        out.warning(f"{now.origin} wins over that file: {args.key} is {_shown(now.value)} here")
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(value)
    return "" if value is None else str(value)
