"""Byte pipes to an agent: `Pipe` is the seam; here is the one to a child process on this machine.

A pipe carries bytes both ways, says in words what the other end complained about, and closes. Nothing else: framing,
loading and errors belong to `wire`. A new way to a host is one class that passes `tests/jobs/pipe_suite.py`.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from typing import BinaryIO, Dict, List, Optional, Protocol, cast

from .errors import OrchError, Unreachable

CLOSE_WAIT = 5.0  # seconds that the other end has to leave after its input was closed


class Pipe(Protocol):
    """The bytes' way to one agent.

    Attributes
    ----------
    name:
        What people call the other end.
    input, output:
        Where to write to the agent, and where to read from it.
    """

    name: str
    input: BinaryIO
    output: BinaryIO

    def complaints(self) -> str:
        """Return what the other end wrote on its standard error."""

    def trouble(self, answered: bool, printed: str) -> Optional[OrchError]:
        """Return why the conversation broke off, where the way knows: a refused key, no route, no Python.

        Parameters
        ----------
        answered:
            The agent had answered before.
        printed:
            What came instead of the agent's first word: the text of start-up files.
        """

    def close(self) -> None:
        """Close both directions and wait for the other end to leave; may be called twice."""


class ProcessPipe:
    """An agent as a child process: a Python on this machine, or a program (`ssh`) that leads to one elsewhere.

    Parameters
    ----------
    name:
        What people call the other end.
    argv:
        Program and arguments.
    environment:
        The program's variables; None: ours.
    own_session:
        It cannot ask at our terminal, and Ctrl-C there is for us alone.

    Raises
    ------
    Unreachable
        The program cannot be started.
    """

    def __init__(
        self, name: str, argv: List[str], environment: Optional[Dict[str, str]] = None, own_session: bool = True
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (a file, not a pipe: nobody has to read it)
        try:
            self._process = subprocess.Popen(
                argv,
                bufsize=0,  # closing must not wait for a write that the other end never reads
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=own_session and os.name == "posix",
            )
        except OSError as error:
            self._errors.close()
            text = "cannot start {}: {}".format(argv[0], error.strerror)
            raise Unreachable(text, "is it installed? try: {} --version".format(argv[0])) from error
        self.input = cast(BinaryIO, self._process.stdin)
        self.output = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, self._process.stdout)))

    def complaints(self) -> str:
        """Return what the child wrote on its standard error (the last 8 KiB)."""
        if self._errors.closed:
            return ""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 8192))
        return self._errors.read().decode("utf-8", "replace")

    def trouble(self, answered: bool, printed: str) -> Optional[OrchError]:
        """Return nothing: a child's last words are all there is to know."""
        return None

    def status(self) -> Optional[int]:
        """Return the child's exit status; None when it still runs a second after it should have left."""
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Close the child's input and wait for it; a child that does not leave is ended."""
        try:
            self.input.close()
        except OSError:  # it left before it had read everything
            pass
        try:
            self._process.wait(CLOSE_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.output.close()
        self._errors.close()
