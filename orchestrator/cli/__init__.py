"""The command `orch`: finds the command's module, parses, runs it, and turns every error into a text and an exit code.

Only the module of the given command is imported, so that help and completion answer at once.
"""

from __future__ import annotations

import errno
import os
import sys

from jobs import __version__
from jobs.errors import OrchError, UsageError, disk_error

from ..config import Settings
from .output import Output, from_flags, switch
from .parser import VALUED
from .registry import command_parser, load, overview

INTERRUPTED = 130
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(argv: list[str] | None = None) -> int:
    """Run `orch` with these words; return the exit code (`docs/cli.md` lists them)."""
    words = list(sys.argv[1:] if argv is None else argv)
    _never_fail_on_characters()
    out = from_flags({"json": True} if "--json" in words else {})
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SystemExit as leave:  # argparse leaves this way after printing help
        return leave.code if isinstance(leave.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader (`head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _fail(error, out, "--debug" in words or switch("ORCH_DEBUG"))


def _dispatch(words: list[str]) -> int:
    name, rest = _command_word(words)
    if name == "help" and rest:
        name, rest = rest[0], ["-h"]
    if name in ("", "help"):
        sys.stdout.write(f"orch {__version__}\n" if "--version" in rest else overview())
        return 0 if name or rest else UsageError.exit_code
    parser = command_parser(name)
    args = parser.words(rest)
    return load(name).run(args, Settings.of(vars(args)), from_flags(vars(args)))


def _command_word(words: list[str]) -> tuple[str, list[str]]:
    """Return the first word that is no global option, and all others: `orch --json status` = `orch status --json`."""
    skip = False
    for place, word in enumerate(words):
        if not skip and not word.startswith("-"):
            return word, words[:place] + words[place + 1 :]
        skip = word in VALUED
    return "", words


def _fail(error: Exception, out: Output, debug: bool) -> int:
    known = _translated(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    out.error(known)
    return known.exit_code


def _translated(error: Exception) -> OrchError:
    if isinstance(error, OrchError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
        return disk_error(error)
    text = f"{type(error).__name__}: {error}"
    return OrchError(f"orch itself failed: {text}", "run the same command with --debug and send us what it prints")


def _never_fail_on_characters() -> None:
    """Let a terminal that lacks a character, or a file name of another encoding, print an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
