"""Where the code comes from and who ran it: git commit, uncommitted changes as a patch, user, host, version."""

from __future__ import annotations

import getpass
import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jobs import __version__
from jobs.atomic import write_bytes
from jobs.errors import disk_error
from jobs.folder import Home
from jobs.homes import private

from . import git as git_program
from .snapshot import LARGEST, REFUSED


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


class Patch(NamedTuple):
    """What was not committed: the name under which it is kept, and the patch without binary and image files."""

    name: str
    text: bytes


def git(folder: Path, names: Sequence[str]) -> tuple[dict[str, Any], Patch | None]:
    """Return what git knows of the code in a folder, and its uncommitted part.

    Parameters
    ----------
    folder, names:
        The code; `names` are paths in it, of which at least one must be tracked (an installed package inside somebody's
        repository is not that repository's code).

    Returns
    -------
    dict
        `{"commit", "dirty", "patch", "untracked"}`; `patch` is the name of the file or None, `untracked` a number. Or
        `{"commit": None, "reason"}`.
    Patch or None
        See `keep`.
    """
    if not git_program.is_under_git(folder):
        return {"commit": None, "reason": "no git checkout"}, None
    commit = git_program.ask(folder, "rev-parse", "HEAD")
    known = git_program.ask(folder, "ls-files", "--", *names)
    excluded = [f":(exclude,icase)*{ending}" for ending in REFUSED]
    patch = git_program.ask(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--", *names, *excluded)
    changed = git_program.ask(folder, "status", "--porcelain", "--untracked-files=all", "--", *names)
    refusal = next((one.refusal for one in (commit, known, patch, changed) if one.refusal), "")
    if refusal:
        return {"commit": None, "reason": f"git refuses: {refusal}"}, None
    if not known.output:
        return {"commit": None, "reason": "the code is not tracked by the repository around it"}, None
    lines = changed.output.splitlines()
    untracked = sum(line.startswith(b"??") for line in lines)
    kept = _named(_without_binary(patch.output))
    facts = {"commit": commit.output.decode().strip(), "dirty": bool(lines), "patch": kept.name if kept else None}
    return {**facts, "untracked": untracked}, kept


def _without_binary(patch: bytes) -> bytes:
    parts = patch.split(b"diff --git ")
    kept = [part for part in parts[1:] if b"\nBinary files " not in part and b"\nGIT binary patch" not in part]
    return b"".join(b"diff --git " + part for part in kept)


def _named(patch: bytes) -> Patch | None:
    if not patch or len(patch) > LARGEST:
        return None
    return Patch(hashlib.sha256(patch).hexdigest()[:16] + ".patch", patch)


def keep(home: Home, patch: Patch | None) -> None:
    """Write a patch to `<home>/code/<name>`, unless it is there.

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    if patch is None:
        return
    path = Path(home.code, patch.name)
    if not path.exists():
        try:
            with private(home.path):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(path, patch.text)
        except OSError as error:
            raise disk_error(error, str(path)) from error
