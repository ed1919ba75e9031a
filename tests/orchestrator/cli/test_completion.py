"""Completion scripts: real shells read them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from orchestrator.cli.table import COMMANDS

from .conftest import Orch


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_all_commands_and_options_are_in_the_script(orch: Orch, shell: str) -> None:
    script = orch("completion", shell).out
    assert all(name in script for name in COMMANDS)
    assert "show-origin" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def complete(script: str, *words: str) -> list[str]:
    line = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _orch; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], text=True, capture_output=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes(orch: Orch) -> None:
    script = orch("completion", "bash").out
    assert complete(script, "orch", "sta") == ["status"]
    assert complete(script, "orch", "config", "--show") == ["--show-origin"]
    assert complete(script, "orch", "completion", "z") == ["zsh"]
    assert complete(script, "orch", "data", "ad") == ["add"]
