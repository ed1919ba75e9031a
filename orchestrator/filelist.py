"""Which files of a folder travel to a host, and what does not, each with its reason: told before anything runs.

What git ignores never travels. Links are followed where they lead to what travels itself; a host gets plain files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jobs.errors import UsageError

from . import git

_SKIPPED = frozenset(
    {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints"}
)
_COMPILED = (".pyc", ".pyo")
_SHOWN = 8  # names in one line of a plan; `--json` has all
IGNORED = "ignored by git"

# Why something is left out, and what can be done about it.
REPAIRS: Mapping[str, str] = {
    "submodule not checked out": "git submodule update --init",
    "link that leads outside": "copy what it leads to here, or let the program read it by its full path",
    "link to nothing": "delete it, if the program needs it mend it",
    "link to a folder around it": "delete it: its files travel once",
    "link to what does not travel": "copy what it leads to here",
    "pipe, socket or device": "nothing of it can be copied; the program must make it on the host",
    "name that is not UTF-8": "rename it",
    "not readable": "chmod u+r (a folder: u+rx)",
    "image or medical file": "let the program read data by its path: code travels and is kept",
    IGNORED: "what git ignores stays here",
}


class LeftOut(NamedTuple):
    """Something that does not travel: its path in the folder, and why (a key of `REPAIRS`)."""

    name: str
    why: str


class FileList(NamedTuple):
    """What travels: where each file lies, by its path in the folder; and what does not."""

    files: dict[str, Path]
    left_out: tuple[LeftOut, ...]


def of_folder(base: Path) -> FileList:
    """Return what travels of a whole folder.

    Raises
    ------
    DataError
        Git refuses to say what it ignores.
    """
    scan = _Scan(base)
    scan.folder(scan.root)
    return scan.result()


def of_entries(base: Path, entries: Iterable[str]) -> FileList:
    """Return what travels of the files and folders that `code:` lists; a file that is listed itself always does.

    Raises
    ------
    UsageError
        An entry does not exist, lies outside of `base`, or is wholly ignored by git.
    DataError
        Git refuses to say what it ignores.
    """
    scan = _Scan(base)
    for entry in entries:
        path = os.path.normpath(os.path.join(scan.root, entry))
        real = os.path.realpath(path)
        if not (scan.is_inside(path) and scan.is_inside(real)):
            raise UsageError(f"code: {entry} lies outside of {base}", "list files and folders below that folder")
        if not os.path.exists(real):
            raise UsageError(f"code: there is no {entry} in {base}", "correct the list `code:` in the sweep file")
        scan.entry(path, real)
    return scan.result()


class _Scan:
    """One look at a folder. Paths are absolute; nothing but names and kinds is read."""

    def __init__(self, base: Path) -> None:
        self.root = os.path.realpath(base)
        self.plain: dict[str, str] = {}  # path -> where its bytes lie
        self.links: list[str] = []
        self.left: dict[str, str] = {}  # path -> why

    def is_inside(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root.rstrip(os.sep) + os.sep)

    def result(self) -> FileList:
        self._follow_links()
        files = {self._name(path): Path(place) for path, place in sorted(self.plain.items())}
        left = (LeftOut(self._name(path), why) for path, why in sorted(self.left.items()) if path not in self.plain)
        return FileList(files, tuple(left))

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def entry(self, path: str, real: str) -> None:
        """Take one entry of `code:`; it keeps the name under which it is listed, also where that is a link."""
        if os.path.isdir(real):
            self._listed_folder(path, real)
            return
        probe = _Scan(Path(self.root))
        probe._see(real)
        if real in probe.plain:
            self.plain[path] = real
        else:
            self.left[path] = probe.left.get(real, "not readable")

    def _listed_folder(self, path: str, real: str) -> None:
        before = len(self.plain) + len(self.links)
        if path == real:
            self.folder(real)
        else:
            self.links.append(path)
        found = len(self.plain) + len(self.links) - before
        if not found and any(why == IGNORED and _is_below(one, real) for one, why in self.left.items()):
            text = f"code: nothing in {self._name(path)} travels, because git ignores it"
            raise UsageError(text, "name its files one by one in `code:`, or correct .gitignore")

    def folder(self, place: str) -> None:
        """Take what travels of a folder."""
        if git.is_under_git(Path(place)):
            self._repository(place)
        else:
            for path in self._walk(place):
                self._see(path)

    def _repository(self, place: str) -> None:
        names = git.listing(Path(place), "--cached", "--others", "--exclude-standard", "--", ".")
        top = git.top(Path(place))
        found = (os.path.normpath(os.path.join(top, name)) for name in git.ignored(Path(place)))
        hidden = {place if _is_below(place, path) else path for path in found}
        self.left.update((path, IGNORED) for path in hidden if not is_skipped(os.path.relpath(path, place)))
        listed = [name.rstrip("/") for name in names if not is_skipped(name)]
        for name in dict.fromkeys(listed):
            path = os.path.normpath(os.path.join(place, name))
            if os.path.isdir(path) and not os.path.islink(path):
                self._nested(path, any(other.startswith(name + "/") for other in listed))
            else:
                self._see(path)
        for path in (
            () if place in hidden else self._walk(place, hidden)
        ):  # git lists neither pipes nor what it may not open
            if path not in self.plain and path not in self.left and _kind(path) not in (stat.S_IFREG, stat.S_IFLNK):
                self._see(path)

    def _nested(self, path: str, replaced: bool) -> None:
        """A submodule, or a repository within the repository: what it tracks travels too."""
        if os.path.lexists(os.path.join(path, ".git")):
            self._repository(path)
        elif not replaced:  # else git knows a file of this name, in the place of which is a folder now
            self.left[path] = "submodule not checked out"

    def _walk(self, top: str, hidden: Iterable[str] = ()) -> Iterator[str]:
        """All that is no folder below a folder; repositories below it are asked themselves."""
        within_git = bool(hidden) or git.is_under_git(Path(top))
        frontier: list[tuple[str, frozenset[tuple[int, int]]]] = [(top, frozenset())]
        known = frozenset(hidden)
        while frontier:
            folder, above = frontier.pop()
            try:
                about = os.stat(folder)
                entries = sorted(os.scandir(folder), key=lambda one: one.name)
            except OSError:
                self.left[folder] = "not readable"
                continue
            here = (about.st_dev, about.st_ino)
            if here in above:  # a file system mounted within itself
                self.left[folder] = "link to a folder around it"
                continue
            for entry in entries:
                if is_skipped(entry.name) or entry.path in known:
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    yield entry.path
                elif not os.path.lexists(os.path.join(entry.path, ".git")):
                    frontier.append((entry.path, above | {here}))
                elif not within_git:
                    self._repository(entry.path)

    def _see(self, path: str) -> None:
        """Sort one path: a file travels, a link is looked at later, anything else is left out."""
        kind = _kind(path)
        if kind is None:
            return  # git tracks it, but it was deleted here
        if not _is_utf8(self._name(path)):
            self.left[path] = "name that is not UTF-8"
        elif kind == stat.S_IFLNK:
            self.links.append(path)
        elif kind != stat.S_IFREG:
            self.left[path] = "pipe, socket or device" if kind else "not readable"
        elif not os.access(path, os.R_OK):
            self.left[path] = "not readable"
        else:
            self.plain[path] = path

    def _follow_links(self) -> None:
        """Links to files first: a link to a folder then brings them along. One within a linked folder is told."""
        folders: dict[str, str] = {}
        for path in self.links:
            target = os.path.realpath(path)
            if not os.path.exists(target):
                self.left[path] = "link to nothing"
            elif not self.is_inside(target):
                self.left[path] = "link that leads outside"
            elif os.path.isdir(target):
                folders[path] = target
            else:
                self._link_file(path, target)
        linked = {target: self._below(target) for target in set(folders.values())}
        for path, target in folders.items():
            self._link_folder(path, target, linked[target], folders)

    def _link_file(self, path: str, target: str) -> None:
        place = self.plain.get(target) or (target if self._travels(target) else None)
        if place is None:
            self.left[path] = "link to what does not travel"
        else:
            self.plain[path] = place

    def _travels(self, target: str) -> bool:
        """Tell whether a file inside may travel that is not among what was asked for."""
        if target in self.left or _kind(target) != stat.S_IFREG or not os.access(target, os.R_OK):
            return False
        folder, name = os.path.split(target)
        if not git.is_under_git(Path(folder)):
            return True
        return bool(git.listing(Path(folder), "--cached", "--others", "--exclude-standard", "--", f":(literal){name}"))

    def _below(self, target: str) -> dict[str, str]:
        """What travels of a folder inside, by its path below it; it need not be among what was asked for."""
        own = {path[len(target) :]: place for path, place in self.plain.items() if _is_below(path, target)}
        if own:
            return own
        other = _Scan(Path(self.root))
        other.folder(target)
        return {path[len(target) :]: place for path, place in other.plain.items()}

    def _link_folder(self, path: str, target: str, below: Mapping[str, str], folders: Mapping[str, str]) -> None:
        if _is_below(path, target):
            self.left[path] = "link to a folder around it"
        elif not below:
            self.left[path] = "link to what does not travel"
        else:
            self.plain.update((path + rest, place) for rest, place in below.items())
            inner = (other[len(target) :] for other in folders if _is_below(other, target))
            self.left.update((path + rest, "link to what does not travel") for rest in inner)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def is_skipped(name: str) -> bool:
    """Tell whether a path is what tools make anew: caches, compiled Python, environments, git's own."""
    return name.endswith(_COMPILED) or not _SKIPPED.isdisjoint(name.rstrip("/").split("/"))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(path: str) -> int | None:
    """The kind of what lies at a path (`stat.S_IFMT`): None where nothing does, 0 where nobody may look."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0


def shown(name: str) -> str:
    """Return a name for one line of text: what cannot be printed as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def describe(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Say what is left out of the code, one line for each reason, with the repair."""
    found: dict[str, list[str]] = {}
    for name, why in left_out:
        found.setdefault(why, []).append(shown(name))
    for why, names in found.items():
        more = f" and {len(names) - _SHOWN} more (--json lists all)" if len(names) > _SHOWN else ""
        yield f"not sent, {len(names)} x {why}: {', '.join(names[:_SHOWN])}{more}; {REPAIRS[why]}"
