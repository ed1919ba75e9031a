"""Old things in an orch home, for the tests of what may go."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from local_host import LocalHost

DAY = 86400.0
LONG_AGO = time.time() - 30 * DAY
CODE = "code/00000000000000{:02x}"


def age(path: Path) -> None:
    """Let a file, or a folder with all that is in it, look 30 days old."""
    for one in [*(path.rglob("*") if path.is_dir() else ()), path]:
        os.utime(one, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def names(path: str) -> set[str]:
    return {one.name for one in Path(path).iterdir()}


def snapshot(host: LocalHost, number: int = 0) -> Path:
    """Put an old snapshot into the home."""
    path = Path(host.home.path) / CODE.format(number)
    path.mkdir(parents=True)
    (path / "main.py").write_text("print('here')\n")
    age(path)
    return path


def look(host: LocalHost, **more: Any) -> dict[str, dict[str, Any]]:
    """What may go, by name."""
    return {item["name"]: item for item in host.wire.call("gc_look", **{"older": 7 * DAY, **more})["items"]}


def park(host: LocalHost, **more: Any) -> dict[str, Any]:
    return dict(host.wire.call("gc_park", **{"older": 7 * DAY, "by": "me", **more}))


def record(code: str) -> dict[str, Any]:
    return {"contract": 1, "name": "s", "created": "2026", "updated": "2026", "cells": [], "code": code}


def python(path: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, str(path / "main.py"), *words)
