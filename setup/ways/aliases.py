"""The names that the user's own ssh configuration knows: only names are read here, what they mean tells `ssh -G`."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs.errors import OrchError
from jobs.folder import valid_name

from ..site import LOCAL, Host
from .target import Target, resolve

_ASK_WAIT = 30.0  # seconds for `ssh -G`
_READ = re.compile(r"debug1: Reading configuration data (.+)")
_HOST_LINE = re.compile(r"\s*host(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_PATTERN = re.compile(r"[*?!]")
_SIDE_BY_SIDE = 8


def aliases() -> list[tuple[str, Target]]:
    """Return the user's aliases with where each leads: the main file's first, then those of included files.

    Left out: patterns, names that cannot be a host's in a site file, services that speak git only (user `git`), and
    what `ssh -G` refuses. Empty where there is no `ssh` or no configuration.
    """
    found = [name for name in names(_files()) if valid_name(name) and name != LOCAL and not name.startswith("-")]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        targets = list(pool.map(_resolved, found))
    return [(name, target) for name, target in zip(found, targets, strict=True) if target and target.user != "git"]


def _resolved(name: str) -> Target | None:
    try:
        return resolve(Host(name, ssh=name))
    except OrchError:
        return None


def _files() -> list[Path]:
    """The files that `ssh` itself reads, those that they include among them, as it tells on the way."""
    try:
        told = subprocess.run(
            ["ssh", "-v", "-G", "orch-asks-which-files.invalid"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_WAIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = told.stderr.decode("utf-8", "replace").splitlines()
    read = (_READ.match(line.rstrip()) for line in lines)
    return list(dict.fromkeys(Path(match[1]) for match in read if match))


def names(files: Iterable[Path]) -> list[str]:
    """Return the names on the `Host` lines of some files, each once, patterns left out."""
    found = (word for file in files for word in _words(file))
    return list(dict.fromkeys(word for word in found if word and not _PATTERN.search(word)))


def _words(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for match in filter(None, map(_HOST_LINE.fullmatch, lines)):
        try:
            yield from shlex.split(match[1], comments=True)
        except ValueError:  # an open quote: ssh refuses the file
            continue
