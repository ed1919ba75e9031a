"""The command `orch` in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.cli import main


class Said:
    """Exit code and both streams of one call."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Orch = Callable[..., Said]


@pytest.fixture
def orch(capsys: pytest.CaptureFixture[str]) -> Orch:
    """Run `orch WORDS` here; no terminal."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(list(words))
        return Said(code, *capsys.readouterr())

    return call
