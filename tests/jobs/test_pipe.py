"""The pipe to a child process, under the suite that every pipe passes."""

from __future__ import annotations

import pytest
from pipe_suite import PipeSuite

from jobs.errors import Unreachable
from jobs.pipe import Pipe, ProcessPipe


class TestProcessPipe(PipeSuite):
    def make_pipe(self, argv: list[str]) -> Pipe:
        return ProcessPipe("here", argv)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match="cannot start no-such-program") as caught:
        ProcessPipe("here", ["no-such-program"])
    assert "is it installed" in caught.value.hint


def test_complaints_are_kept_to_their_end() -> None:
    pipe = ProcessPipe("here", ["/bin/sh", "-c", "head -c 20000 /dev/zero | tr '\\0' x >&2; echo end >&2"])
    assert pipe.output.read() == b""
    assert pipe.complaints().endswith("xend\n")
    assert len(pipe.complaints()) == 8192
    pipe.close()
    assert pipe.complaints() == ""
