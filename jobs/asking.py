"""The agent's verb that runs a program once and takes its JSON answer: code comes over the wire and leaves no trace.

For questions that only an environment's own Python can answer. Jobs have their code snapshot in the orch home.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import time
import zlib
from typing import TYPE_CHECKING, Any, Dict, Generator, List, Mapping, Optional

from . import child
from .errors import OrchError, Unreachable, UsageError, disk_error, from_json

if TYPE_CHECKING:
    from .agent import Agent

LIMIT = 300.0  # seconds for one answer; the first import of torch from a cold network home takes a minute


def pack(files: Mapping[str, bytes]) -> str:
    """Return files by their path below the code folder as one text for `ask_program`."""
    texts = {name: data.decode("latin-1") for name, data in files.items()}  # any bytes, and back
    return base64.b64encode(zlib.compress(json.dumps(texts).encode(), 6)).decode()


def ask_program(
    agent: Agent, python: str, code: str, words: List[str], limit: float = LIMIT
) -> Generator[Any, None, Dict[str, Any]]:
    """Run `python -I -B <code> WORDS` and return the JSON object that it prints; yields lines of what it says.

    Parameters
    ----------
    python:
        Interpreter on this host.
    code:
        What `pack` returned: a folder with a `__main__.py`. It is unpacked on local disk and deleted afterwards.
    words:
        Arguments of the program.
    limit:
        Seconds that it may take.

    Raises
    ------
    OrchError
        It cannot be started, ran too long, or ended without an answer: with its last line. Or its own error.
    DiskError
        The code cannot be written.
    """
    folder = _unpack(code)
    try:
        return (yield from answered(agent, [python, "-I", "-B", folder, *words], limit))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answered(
    agent: Agent, command: List[str], limit: float = LIMIT, request: Optional[str] = None
) -> Generator[Any, None, Dict[str, Any]]:
    """Run a command and return the JSON object that it prints; yields lines of what it says.

    Parameters
    ----------
    request:
        Path of a file that becomes its standard input.

    Raises
    ------
    OrchError
        See `ask_program`.
    """
    ended = yield from _limited(agent, command, limit, request)
    answer = _document(ended.lines)
    if answer and "error" in answer:
        raise from_json(answer["error"])
    what = "{} could not answer `{}`".format(command[0], " ".join(command[4:]))
    child.check(ended, what, "look at that environment: orch doctor")
    if answer is None:
        raise OrchError("{}: it printed no JSON object".format(what), "this is a fault of orch: please report it")
    return answer


def _limited(agent: Agent, command: List[str], limit: float, request: Optional[str]) -> child.Lines:
    deadline = time.monotonic() + limit

    def over() -> bool:
        return time.monotonic() > deadline or agent.client_left()

    try:
        return (yield from child.run(command, dict(os.environ), over, request=request))
    except Unreachable:
        if time.monotonic() <= deadline:
            raise
        text = "{} did not answer within {:.0f} s".format(command[0], limit)
        raise OrchError(text, "is the host overloaded? ask again later") from None


def unpack(code: str, folder: str) -> None:
    """Write the files of one text (`pack`) into a folder.

    Raises
    ------
    UsageError
        One of them would lie outside of it.
    OSError
        It cannot be written.
    """
    files: Dict[str, str] = json.loads(zlib.decompress(base64.b64decode(code)))
    for name, text in files.items():
        _write(folder, name, text)


def _unpack(code: str) -> str:
    base = os.environ.get("ORCH_LOCAL") or "/var/tmp"
    try:
        folder = tempfile.mkdtemp(prefix="orch-ask-", dir=base if os.path.isdir(base) else None)
        unpack(code, folder)
    except OSError as error:
        raise disk_error(error, base) from error
    return folder


def _write(folder: str, name: str, text: str) -> None:
    if os.path.isabs(name) or ".." in name.split("/"):
        raise UsageError("code cannot lie at {}".format(name), "give paths below the code folder")
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(text.encode("latin-1"))


def _document(lines: List[str]) -> Optional[Dict[str, Any]]:
    """Return the last line that is a JSON object; warnings may stand before and behind it."""
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None
