"""The one door to git: its answers as bytes, its refusals as errors in its own words.

A git that fails below a `.git` is not the same as no git: what it ignores is not known then, and must not travel.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from jobs.errors import DataError

TIMEOUT = 20.0  # seconds; a huge working tree on a network disk
# What a hook or a script says of one repository (git rev-parse --local-env-vars), and what steers the search for it.
_OF_ONE_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES"),
)
_OF_PATHS = ("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")
_WORDS = 6  # lines of git's own words that are shown


class Answer(NamedTuple):
    """What git said: its output, or why there is none (`refusal`: its own words)."""

    output: bytes = b""
    refusal: str = ""


def repository(folder: Path) -> Path | None:
    """Return the nearest folder, this one or one above, in which something named `.git` stands; or None."""
    here = Path(os.path.realpath(folder))
    return next((place for place in (here, *here.parents) if os.path.lexists(place / ".git")), None)


def is_under_git(folder: Path) -> bool:
    """Tell whether git has a say about a folder: a `.git` stands in it or above, or the environment names one."""
    return repository(folder) is not None or "GIT_DIR" in os.environ


def ask(folder: Path, *words: str) -> Answer:
    """Ask git about a folder; it is never waited for longer than 20 s."""
    command = ["git", "-C", str(folder), "-c", "core.quotepath=off", *words]
    dropped = {*_OF_PATHS, *(_OF_ONE_REPOSITORY if repository(folder) else ())}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            env={**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return Answer(refusal=f"it did not answer within {TIMEOUT:.0f} s")
    except OSError as error:
        return Answer(refusal=f"it cannot be started: {error.strerror or error}")
    if done.returncode:
        return Answer(refusal=_words(done.stderr) or f"it ended with exit status {done.returncode}")
    return Answer(done.stdout)


def _words(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    return "; ".join([line for line in lines if line][:_WORDS])


def listing(folder: Path, *words: str) -> list[str]:
    """Return names that `git ls-files -z WORDS` lists, relative to the folder; any bytes (`os.fsdecode`).

    Raises
    ------
    DataError
        Git refuses: then nobody knows what it ignores.
    """
    return [os.fsdecode(name) for name in _asked(folder, "ls-files", "-z", *words).split(b"\0") if name]


def ignored(folder: Path) -> list[str]:
    """Return what git ignores in a folder, relative to `top`; a folder that is ignored itself is one name.

    Raises
    ------
    DataError
        See `listing`.
    """
    words = ("--porcelain", "-z", "--ignored=matching", "--untracked-files=all", "--ignore-submodules=all", "--", ".")
    lines = _asked(folder, "status", *words).split(b"\0")
    return [os.fsdecode(line[3:]) for line in lines if line.startswith(b"!! ")]


def top(folder: Path) -> str:
    """Return the folder at the top of the working tree in which a folder lies.

    Raises
    ------
    DataError
        See `listing`.
    """
    return os.fsdecode(_asked(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n"))


def _asked(folder: Path, *words: str) -> bytes:
    answer = ask(folder, *words)
    if answer.refusal:
        raise _refused(folder, answer.refusal)
    return answer.output


def _refused(folder: Path, words: str) -> DataError:
    place = repository(folder)
    text = f"{place or folder} is under git, which cannot say what it ignores there, so nothing is sent: {words}"
    return DataError(text, _repair(folder, words, place))


def _repair(folder: Path, words: str, place: Path | None) -> str:
    by_hand = "or name the files one by one in a sweep file: code: [FILE, ...]"
    if "safe.directory" in words or "dubious ownership" in words:
        return f"if you trust its owner: git config --global --add safe.directory '{place or folder}'; {by_hand}"
    if words.startswith("it cannot be started"):
        return f"install git on this machine; {by_hand}"
    return f"run `git -C '{folder}' status` and do what it says; {by_hand}"
