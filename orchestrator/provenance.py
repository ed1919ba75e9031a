"""Where the code comes from and who ran it: git commit, uncommitted changes as a patch, user, host, version."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs import __version__
from jobs.atomic import write_bytes
from jobs.errors import disk_error
from jobs.folder import Home
from jobs.homes import private

from .snapshot import LARGEST, REFUSED

_TIMEOUT = 20.0  # seconds; a huge working tree on a network disk


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def caller() -> dict[str, str]:
    """Return who asks, on which machine, with which orch."""
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container without a user entry
        user = "unknown"
    return {"user": user, "host": platform.node() or "localhost", "orch": __version__}


def git(home: Home, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return what git knows of the code in a folder, and keep its uncommitted part.

    Parameters
    ----------
    home:
        The patch is written to `<home>/code/<sha>.patch`, without binary and image files.
    folder, names:
        The code; `names` are paths in it, of which at least one must be tracked (an installed package inside somebody's
        repository is not that repository's code).

    Returns
    -------
    dict
        `{"commit", "dirty", "patch", "untracked"}`; `patch` is the name of the file or None, `untracked` a number. Or
        `{"commit": None, "reason"}`.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "reason": "no git checkout"}
    if not _git(folder, "ls-files", "--", *names):
        return {"commit": None, "reason": "the code is not tracked by the repository around it"}
    excluded = [f":(exclude,icase)*{ending}" for ending in REFUSED]
    patch = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", *names, *excluded) or b""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", *names) or b""
    lines = changed.splitlines()
    untracked = sum(line.startswith(b"??") for line in lines)
    return {
        "commit": commit.decode().strip(),
        "dirty": bool(lines),
        "patch": _keep(home, _without_binary(patch)),
        "untracked": untracked,
    }


def _git(folder: Path, *words: str) -> bytes | None:
    command = ["git", "-C", str(folder), "-c", "core.quotepath=off", *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _without_binary(patch: bytes) -> bytes:
    parts = patch.split(b"diff --git ")
    kept = [part for part in parts[1:] if b"\nBinary files " not in part and b"\nGIT binary patch" not in part]
    return b"".join(b"diff --git " + part for part in kept)


def _keep(home: Home, patch: bytes) -> str | None:
    if not patch or len(patch) > LARGEST:
        return None
    name = hashlib.sha256(patch).hexdigest()[:16] + ".patch"
    path = Path(home.code, name)
    if not path.exists():
        try:
            with private():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, patch)
        except OSError as error:
            raise disk_error(error, str(path)) from error
    return name
