"""One command as a job, without a sweep file: what `orch run` queues. Pure, but for the clock."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jobs import CONTRACT
from jobs.errors import UsageError
from jobs.spec import Cell, JobSpec, Resources

SWEEP = "runs"  # the sweep in which single commands stand, unless another is named
_INTERPRETERS = frozenset({"sh", "bash", "python", "python3", "env", "nice", "time", "conda", "mamba", "uv", "srun"})
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\Z")
_POWERS = {"k": 1, "M": 2, "G": 3, "T": 4}


def spec(
    argv: Sequence[str],
    cwd: str,
    resources: Resources,
    env: Mapping[str, str],
    sweep: str = SWEEP,
    provenance: Mapping[str, Any] | None = None,
) -> JobSpec:
    """Return the job of one command; the same command again is another job.

    Raises
    ------
    UsageError
        There is no command.
    """
    if not argv or not argv[0]:
        raise UsageError("there is no command to run", "orch run -- python3 train.py --epochs 5")
    once = f"{time.time():.6f}-{os.urandom(3).hex()}"
    cell = Cell("command", {"argv": list(argv), "grid": {}, "run": once})
    label = f"{_word(argv)}-{cell.id[:4]}"
    return JobSpec(
        sweep, label, {}, cell, tuple(argv), cwd, env, resources, provenance=dict(provenance or {}), placement={}
    )


def _word(argv: Sequence[str]) -> str:
    """The word of a command by which people know it: its script rather than its interpreter."""
    words = [word for word in argv if not word.startswith("-")]
    if len(argv) > 2 and argv[0] == "sh" and argv[1] == "-c":
        words = _split(argv[2])
    names = (posixpath.basename(word) for word in words)
    chosen = next((name for name in names if name and name not in _INTERPRETERS), posixpath.basename(argv[0]))
    return _UNFIT.sub("_", chosen).strip("_-.")[:40] or "job"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text) or [text]
    except ValueError:  # an open quote: the shell will say so
        return text.split() or [text]


def lines_to_commands(text: str) -> list[tuple[str, ...]]:
    """Return one shell command for each line that is neither empty nor a comment."""
    lines = (line.strip() for line in text.splitlines())
    return [("sh", "-c", line) for line in lines if line and not line.startswith("#")]


def megabytes(text: str, hint: str = "--memory 4G") -> int:
    """Return an amount of memory in MiB: `4G`, `500 MB`, `2.5GiB`; a bare number is MiB.

    Raises
    ------
    UsageError
        It is none.
    """
    found = _MEMORY.fullmatch(text.strip())
    if not found:
        raise UsageError(f"'{text}' is no amount of memory", hint)
    number, unit, binary = float(found[1]), found[2], found[3]
    if not unit:
        return max(1, round(number))
    base: float = 1024 if binary else 1000
    return max(1, round(number * base ** _POWERS[unit] / 1024**2))


def record(specs: Sequence[JobSpec], host: str, created: str) -> dict[str, Any]:
    """Return the record of the sweep that grows by these jobs."""
    cells = [{"id": one.id, "label": one.label, "names": {"command": shlex.join(one.argv)}} for one in specs]
    about = {"contract": CONTRACT, "name": specs[0].sweep, "source": "", "text": "", "kind": "command", "grows": True}
    empty = {"code": None, "columns": ["command"], "baseline": None, "metric": None, "steps": None, "strategies": []}
    when = {"created": created, "updated": created, "hosts": [host], "data": None}
    return {**about, **empty, **when, "cells": cells}
