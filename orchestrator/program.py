"""The trainer as a child program: one request on stdin, one JSON document on stdout. The only door to it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from jobs.errors import OrchError, from_json

from .config import Settings
from .guard import check_package
from .snapshot import Snapshot

Progress = Callable[[str], None]  # gets lines such as "read 3/40"
_KEPT = 20  # last lines of stderr, for the message


class Program(NamedTuple):
    """An interpreter and the code snapshot that it runs.

    Attributes
    ----------
    python:
        Interpreter with the trainer's libraries.
    code:
        Snapshot folder with a `__main__.py`.
    """

    python: str
    code: str

    def ask(
        self,
        verb: str,
        *words: str,
        request: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Run one verb and return its answer.

        Raises
        ------
        OrchError
            The trainer's own error (a `DataError`, ...), or the program could not be started or died.
        """
        command = [self.python, "-I", "-B", self.code, verb, *words]
        try:
            with tempfile.TemporaryFile() as answer:
                status, said = _run(command, json.dumps(request or {}).encode(), answer, progress)
                answer.seek(0)
                return _understood(answer.read(), status, said, verb)
        except OSError as error:
            text = f"{self.python} cannot be started: {error.strerror or error}"
            raise OrchError(text, "name another: orch config python /path/to/python") from error


def _run(command: list[str], request: bytes, answer: IO[bytes], progress: Progress | None) -> tuple[int, list[str]]:
    """Return exit status and last lines of stderr; the answer goes to a file, so that no pipe can fill up."""
    said: list[str] = []
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=answer, stderr=subprocess.PIPE)
    with child:
        try:
            _send(child, request)
            for line in child.stderr or ():
                said = [*said[1 - _KEPT :], line.decode("utf-8", "replace").rstrip()]
                if progress:
                    progress(said[-1])
        except BaseException:
            child.kill()  # Ctrl-C: nobody waits for the answer
            raise
    return child.returncode, said


def _send(child: subprocess.Popen[bytes], request: bytes) -> None:
    try:
        if child.stdin:
            child.stdin.write(request)
            child.stdin.close()
    except BrokenPipeError:  # a verb that reads nothing, or died: its answer tells
        pass


def _understood(text: bytes, status: int, said: list[str], verb: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and "error" in value:
        raise from_json(value["error"])
    if not isinstance(value, dict) or status:
        last = said[-1] if said else f"exit status {status}"
        hint = "is it the right Python? orch config --show-origin python"
        raise OrchError(f"the trainer could not {verb}: {last}", hint, stderr=said, status=status)
    return value


def trainer_program(settings: Settings, code: Snapshot) -> tuple[Program, dict[str, Any]]:
    """Return the trainer as a child program, and the facts of its environment.

    Raises
    ------
    OrchError
        The interpreter does not start, or lacks a library of the trainer.
    """
    check_package("setup")
    from setup.environment import find

    chosen = settings.value("python")
    found = find(str(chosen.value), chosen.origin, code.path, str(settings.home))
    return Program(found.python, code.path), found.to_json()
