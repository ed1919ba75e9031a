"""What of an orch home is handed over: each file with its place in the other home, and what has changed hands already.

<other home>/handovers/<id of this home>.jsonl   a line for each file that was copied and verified, and for each sweep

The page is what makes a second run copy nothing: a file whose size and date are as they were is not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from .atomic import file_sha256, read_bytes, read_json
from .folder import Home, RunFolder, listing
from .uses import Mentions

COPY, HERE, CONFLICT = "copy", "here", "conflict"
_SNAPSHOT = re.compile(r"[0-9a-f]{16}(\.patch)?\Z")
_PASSING = re.compile(r"\.tmp-\d+-[0-9a-f]+\Z")  # what `atomic` is about to put into place


class Piece(NamedTuple):
    """One file that is handed over.

    Attributes
    ----------
    source:
        Where it lies.
    target:
        Its path in the other home, with `/`.
    group:
        To what it belongs: `code`, `data NAME`, `sweep NAME` (as it is named there).
    text:
        Its content there, where it is another one than here; else None.
    size, mtime_ns:
        Of the source.
    program:
        Whether its owner may execute it.
    """

    source: str
    target: str
    group: str
    text: Optional[bytes]
    size: int
    mtime_ns: int
    program: bool


class Page:
    """What was handed over to a home from one other, as far as it is verified."""

    def __init__(self, to: Home, source_id: str) -> None:
        self.path = os.path.join(to.path, "handovers", source_id + ".jsonl")
        self.files: Dict[str, Mapping[str, Any]] = {}
        self.sweeps: Dict[str, str] = {}  # name here -> name there
        try:
            lines = read_bytes(self.path).decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        try:
            said = json.loads(line)
            if "sweep" in said:
                self.sweeps[str(said["sweep"])] = str(said["as"])
            else:
                self.files[str(said["file"])] = {key: said[key] for key in ("size", "mtime_ns", "sha256")}
        except (ValueError, KeyError, TypeError):  # torn by a kill: that file is read again
            return


class Estate:
    """All that a home has to hand over.

    Parameters
    ----------
    named:
        Other names for sweeps, by their name here.
    """

    def __init__(self, home: Home, to: Home, named: Mapping[str, str]) -> None:
        self.home, self.to, self.named = home, to, dict(named)
        self.left_out: List[str] = []  # what is no plain file, or cannot be read
        self.known: List[str] = []  # data sets that are registered there with the same contents
        self.mentions = Mentions(name for name in listing(home.code) if _SNAPSHOT.match(name))

    def name(self, sweep: str) -> str:
        """The name of a sweep there."""
        return self.named.get(sweep, sweep)

    def pieces(self) -> List[Piece]:
        """Return all files in the order in which they go: what jobs need, the jobs, the records that speak of them."""
        runs = [piece for sweep in self.home.sweep_names() for piece in self._runs(sweep)]
        records = [piece for sweep in self.home.sweep_names() for piece in self._record(sweep)]
        return [*self._code(), *self._data(), *runs, *records]

    def _code(self) -> Iterator[Piece]:
        for name in sorted(self.mentions.found):
            for path in (name, name + ".json") if "." not in name else (name,):
                yield from self._walk(os.path.join(self.home.code, path), "code/" + path, "code")

    def _data(self) -> Iterator[Piece]:
        for name in sorted(name for name in listing(self.home.data) if not name.startswith(".")):
            known = self._is_known(name)
            self.known += [name] if known else []
            for piece in self._walk(os.path.join(self.home.data, name), "data/" + name, "data " + name):
                file = os.path.basename(piece.source)
                if not file.startswith(".") and (file.startswith("split-") or not known):
                    yield piece._replace(text=self._moved(piece.source)) if file.endswith(".json") else piece

    def _is_known(self, name: str) -> bool:
        """Whether the same contents are registered there: that registration stays, only splits are added."""
        here, there = (read_json(home.manifest(name)) for home in (self.home, self.to))
        return bool(isinstance(here, dict) and isinstance(there, dict) and here.get("hash") == there.get("hash"))

    def _moved(self, path: str) -> Optional[bytes]:
        """A manifest whose volumes lie in the home itself names their place in the other one."""
        document = read_json(path)
        old, new = (os.path.join(home.path, "data", "") for home in (self.home, self.to))
        changed = _with(document, lambda text: new + text[len(old) :] if text.startswith(old) else text)
        return None if changed == document else _json(changed)

    def _runs(self, sweep: str) -> Iterator[Piece]:
        group, base = "sweep " + self.name(sweep), "runs/" + self.name(sweep)
        for job in self.home.jobs(sweep):
            for folder in self.home.attempts(sweep, job):
                target = "{}/{}/{}".format(base, job, os.path.basename(folder.path))
                for piece in self._walk(folder.path, target, group):
                    yield self._renamed(piece, sweep, "sweep") if piece.source == folder.job else piece

    def _record(self, sweep: str) -> Iterator[Piece]:
        target = "sweeps/{}.json".format(self.name(sweep))
        for piece in self._walk(self.home.sweep(sweep), target, "sweep " + self.name(sweep)):
            yield self._renamed(piece, sweep, "name")

    def _renamed(self, piece: Piece, sweep: str, key: str) -> Piece:
        """Note what a record mentions; one of a sweep with another name there says that name."""
        self.mentions.read(read_bytes(piece.source), piece.target)
        document = read_json(piece.source) if self.name(sweep) != sweep else None
        if not isinstance(document, dict):
            return piece
        titled = {"title": self.name(sweep)} if key == "name" and "title" in document else {}
        return piece._replace(text=_json({**document, key: self.name(sweep), **titled}))

    def _walk(self, path: str, target: str, group: str) -> Iterator[Piece]:
        """Plain files at or below a path; no link is followed. What others are at work on is left out silently."""
        try:
            about = os.lstat(path)
            names = sorted(os.listdir(path)) if stat.S_ISDIR(about.st_mode) else []
        except FileNotFoundError:
            return
        except OSError:
            self.left_out.append(path)
            return
        for name in names:
            yield from self._walk(os.path.join(path, name), target + "/" + name, group)
        if stat.S_ISREG(about.st_mode) and not _PASSING.search(path):
            program = bool(about.st_mode & stat.S_IXUSR)
            yield Piece(path, target, group, None, about.st_size, about.st_mtime_ns, program)
        elif not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            self.left_out.append(path)


def beside(folder: RunFolder) -> str:
    """Where the files of an attempt are put, until all have come: the folder appears as a whole."""
    parent, name = os.path.split(folder.path)
    return os.path.join(parent, ".{}.handover".format(name))


def staged(to: Home, target: str) -> str:
    """Where a file is put at first."""
    parts = target.split("/")
    folder = RunFolder(os.path.join(to.path, *parts[:4]))
    if parts[0] != "runs" or os.path.isdir(folder.path):
        return os.path.join(to.path, *parts)
    return os.path.join(beside(folder), *parts[4:])


def state(piece: Piece, to: Home, page: Page) -> str:
    """Return whether a file is to be copied, is there, or stands there with other content that is not ours."""
    path, known = staged(to, piece.target), page.files.get(piece.target)
    same = known is not None and (known["size"], known["mtime_ns"]) == (piece.size, piece.mtime_ns)
    if not os.path.lexists(path):
        return COPY
    if same:
        return HERE
    there = file_sha256(path) if os.path.isfile(path) and not os.path.islink(path) else ""
    if there == content_sha256(piece):
        return HERE
    return COPY if known is not None and there == known["sha256"] else CONFLICT


def content_sha256(piece: Piece) -> str:
    """Return the SHA-256 of what a file will be there."""
    return file_sha256(piece.source) if piece.text is None else hashlib.sha256(piece.text).hexdigest()


def strangers(estate: Estate, page: Page) -> List[Tuple[str, str]]:
    """Return sweeps (name here, name there) whose name there has attempts that ours has not."""
    found = []
    for sweep in estate.home.sweep_names():
        name = estate.name(sweep)
        ours = page.sweeps.get(sweep) == name
        if not ours and any(_attempts(estate.to, name) - _attempts(estate.home, sweep)):
            found.append((sweep, name))
    return found


def _attempts(home: Home, sweep: str) -> "set[Tuple[str, int]]":
    folders: List[RunFolder] = [one for job in home.jobs(sweep) for one in home.attempts(sweep, job)]
    return {(folder.job_id, folder.attempt) for folder in folders}


def outside(home: Home) -> Iterator[Dict[str, Any]]:
    """Yield data sets whose volumes go when the account goes: `data`, `files`, `folder`."""
    own = os.path.join(os.path.realpath(os.path.expanduser("~")), "")
    inside = os.path.join(os.path.realpath(home.path), "")
    for name in sorted(listing(home.data)):
        cases = (read_json(home.manifest(name)) or {}).get("cases") or ()
        paths = {os.path.realpath(str(case.get(key) or "/")) for case in cases for key in ("image", "label")}
        lost = sorted(path for path in paths if path.startswith(own) and not path.startswith(inside))
        if lost:
            yield {
                "data": name,
                "files": len(lost),
                "folder": os.path.commonpath([os.path.dirname(one) for one in lost]),
            }


def _with(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_with(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()
