"""The verbs of `orch handover`: an orch home is copied into another one, each file verified; nothing here is changed.

The other home keeps an identity of its own (two homes of one name would share the locks of a host), but takes over the
secret of the pseudonyms when it is new, so that a patient stays the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, Dict, Generator, Iterator, List, Mapping, Sequence, Tuple

from . import CONTRACT, attempt, estate, host
from .atomic import file_sha256, read_json, sync_folder, write_json
from .briefing import room
from .disktest import nearest
from .errors import ContractError, DataError, DiskError, OrchError, UsageError, disk_error
from .estate import CONFLICT, COPY, HERE, Estate, Page, Piece
from .events import read
from .folder import Home, RunFolder, valid_name
from .homes import open_home
from .moves import weigh
from .queue import waiting_everywhere
from .state import ENDED, judge

if TYPE_CHECKING:
    from .agent import Agent

FOLDER, FILE, WRITTEN = 0o2770, 0o640, 0o660  # modes in the other home: its group's; WRITTEN is appended to by all
TICK = 0.5  # seconds between words about the progress
Reply = Dict[str, Any]
Row = List[Any]  # sweep, job, attempt, proof


def handover_proofs(agent: Agent) -> Reply:
    """Return the attempts that this host can prove ended although no record says so: sweep, job, attempt, proof."""
    found = []
    for folder in agent.home.run_folders():
        job = attempt.read_job(folder) or {}
        spooled = attempt.read_exit(folder) is None and attempt.read_exit(folder, attempt.place_of(job, agent.local))
        if not attempt.is_told(folder) and not spooled:  # what is spooled must come to its folder first
            seen = attempt.evidence(folder, job, agent.local)
            if judge(seen).state in ENDED:
                found.append([folder.sweep, folder.job_id, folder.attempt, seen.proof or "nothing followed it"])
    return {"ended": found}


def handover_look(agent: Agent, to: str, named: Mapping[str, str], ended: Sequence[Row]) -> Reply:
    """Return what a handover would do.

    Parameters
    ----------
    to:
        Path of the other home on this host.
    named:
        Other names for sweeps there.
    ended:
        What `handover_proofs` of all hosts of this home told.

    Returns
    -------
    dict
        `to` (absolute), `new` (no home yet), `group` (who may read it), `copy` and `here` (`bytes`, `files`), `sweeps`
        (`name`, `as`, `attempts`), `data`, `notes` (lines of the journal to come), `open` (attempts that wait, run, or
        of which nobody knows), `conflicts` (what stands there with other content), `room` (what may be written there),
        `outside` (data sets whose volumes lie in this user's own folders, and are not copied), `left_out` (links and
        the like).

    Raises
    ------
    UsageError
        One home lies in the other, or a name cannot be used.
    """
    return _Handover(agent, to, named, ended).plan()


def handover(
    agent: Agent, to: str, named: Mapping[str, str], ended: Sequence[Row]
) -> Generator[List[int], None, Reply]:
    """Copy what is not there yet; send bytes done and to do, return the plan with `deletable` and `added`.

    Raises
    ------
    OrchError
        Something waits or runs, or stands there with other content; nothing was copied.
    DiskError
        There is no room, or it cannot be written; the same again goes on.
    DataError
        A file arrived with another SHA-256.
    """
    work = _Handover(agent, to, named, ended)
    plan = work.plan()
    work.refuse(plan)
    try:
        yield from work.copy(int(plan["copy"]["bytes"]))
    except OSError as error:
        raise disk_error(error, work.to.path) from error
    after = _Handover(agent, to, named, ended).plan()
    deletable = {"path": agent.home.path, **weigh(agent.home.path)}
    return {**plan, "id": work.id, "deletable": deletable, "added": bool(after["open"] or after["copy"]["files"])}


class _Handover:
    def __init__(self, agent: Agent, to: str, named: Mapping[str, str], ended: Sequence[Row]) -> None:
        self.agent, self.home = agent, agent.home
        self.to = Home(os.path.abspath(os.path.expanduser(to)))
        self._check(named)
        self.identity = open_home(self.home.path, create=False)[1]
        self.new = read_json(self.to.identity) is None
        self.id = str(self.identity["id"] if self.new else open_home(self.to.path, create=False)[1]["id"])
        self.page = Page(self.to, str(self.identity["id"]))
        self.estate = Estate(self.home, self.to, {**self.page.sweeps, **named})
        self.proofs = {(row[0], row[1], row[2]): str(row[3]) for row in ended}
        self.group = os.stat(nearest(self.to.path)).st_gid
        self.pieces = self.estate.pieces()
        self.states: List[str] = []

    def _check(self, named: Mapping[str, str]) -> None:
        here, there = os.path.realpath(self.home.path), os.path.realpath(self.to.path)
        if os.path.commonpath([here, there]) in (here, there):
            raise UsageError("{} and {} lie in each other".format(here, there), "name a folder on group storage")
        names = self.home.sweep_names()
        unknown = [name for name in named if name not in names]
        if unknown:
            text = "{} has no sweep {}; it has {}"
            raise UsageError(text.format(here, unknown[0], ", ".join(names) or "none"), "--as OLD=NEW")
        taken = [new for new in named.values() if new in names or not valid_name(new)]
        if taken:
            raise UsageError("{} cannot be the other name of a sweep".format(taken[0]), "choose one that is free")

    # --- The plan ----------------------------------------------------------------------------------------------------

    def plan(self) -> Reply:
        states = self.states = [estate.state(piece, self.to, self.page) for piece in self.pieces]
        todo = [piece for piece, state in zip(self.pieces, states) if state == COPY]
        here = [piece for piece, state in zip(self.pieces, states) if state == HERE]
        conflicts = {piece.group for piece, state in zip(self.pieces, states) if state == CONFLICT}
        conflicts |= {"sweep " + name for _, name in estate.strangers(self.estate, self.page)}
        return {
            "to": self.to.path,
            "new": self.new,
            "group": _group_name(self.group),
            "copy": _sum(todo),
            "here": _sum(here),
            "sweeps": [self._sweep(name) for name in self.home.sweep_names()],
            "data": sorted(os.listdir(self.home.data)) if os.path.isdir(self.home.data) else [],
            "notes": len(list(self._lines())),
            "open": self._open(),
            "conflicts": sorted(conflicts),
            "room": room(self.to.path),
            "outside": list(_outside(self.home)),
            "left_out": self.estate.left_out,
        }

    def _sweep(self, name: str) -> Reply:
        attempts = sum(len(self.home.attempts(name, job)) for job in self.home.jobs(name))
        return {"name": name, "as": self.estate.name(name), "attempts": attempts}

    def _open(self) -> List[Reply]:
        """What waits, runs, or has no end that anybody can prove."""
        waiting = [(entry.key, "waits on " + place) for place, entry in waiting_everywhere(self.home)]
        for folder in self.home.run_folders():
            key = (folder.sweep, folder.job_id, folder.attempt)
            if key not in self.proofs and not attempt.is_told(folder):
                waiting.append((key, self.agent.verdict(folder).reason))
        return [{"sweep": key[0], "job": key[1], "attempt": key[2], "why": why} for key, why in waiting]

    def refuse(self, plan: Reply) -> None:
        """Refuse what must not, or cannot, be done."""
        if plan["open"]:
            first = "{sweep} {job} attempt {attempt}: {why}".format(**plan["open"][0])
            text = "{} attempts wait, run or have no known end; {}".format(len(plan["open"]), first)
            hint = "wait, or orch stop SWEEP; of a host that is gone: orch host declare-dead HOST"
            raise OrchError(text, hint, open=plan["open"])
        if plan["conflicts"]:
            raise _conflict(plan["conflicts"], self.to.path)
        free = plan["room"]
        lacks = [key for key in ("bytes", "files") if (free["free_" + key] or 0) < plan["copy"][key]]
        lacks = [key for key in lacks if free["free_" + key] is not None]
        if lacks:
            text = "{} has room for {} {}, {} are to come".format(
                self.to.path, free["free_" + lacks[0]], lacks[0], plan["copy"][lacks[0]]
            )
            raise DiskError(text, "orch gc --checkpoints best --yes parks what is superseded; or name another folder")

    # --- Copying -----------------------------------------------------------------------------------------------------

    def copy(self, total: int) -> Iterator[List[int]]:
        done, told = 0, time.monotonic()
        self._folder(os.path.dirname(self.page.path))
        with open(self.page.path, "ab", buffering=0) as page:
            self._owned(self.page.path, FILE)
            self._write(page, *({"sweep": name, "as": self.estate.name(name)} for name in self.home.sweep_names()))
            for piece, state in zip(self.pieces, self.states):
                if state == COPY:
                    self._write(page, self._one(piece))
                    done += piece.size
                elif piece.target not in self.page.files:  # the same content was there
                    self._write(page, _line(piece, estate.content_sha256(piece)))
                if time.monotonic() - told > TICK:
                    told = time.monotonic()
                    yield [done, total]
            os.fsync(page.fileno())
        self._settle()
        self._journal()
        self._identity()

    def _write(self, page: Any, *lines: Reply) -> None:
        for line in lines:
            page.write(b"\n" + json.dumps(line).encode())  # a torn line of before is closed by the newline

    def _one(self, piece: Piece) -> Reply:
        """Copy one file beside its place, read it again, put it into place; return its line for the page."""
        target = estate.staged(self.to, piece.target)
        self._folder(os.path.dirname(target))
        part = target + ".tmp-{}-{}".format(os.getpid(), os.urandom(4).hex())
        try:
            digest = _copied(piece, part)
            if file_sha256(part) != digest:
                raise DataError("{} arrived damaged".format(piece.target), "run the same command again")
            os.utime(part, ns=(piece.mtime_ns, piece.mtime_ns))
            self._owned(part, FILE)
            os.replace(part, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
        return _line(piece, digest)

    def _settle(self) -> None:
        """Let attempts appear, each as a whole; those whose end only this host could prove get the proof with them."""
        for folder in self.home.run_folders():
            target = self.to.attempt(self.estate.name(folder.sweep), folder.job_id, folder.attempt)
            beside = os.path.join(os.path.dirname(target.path), ".{}.handover".format(os.path.basename(target.path)))
            if os.path.isdir(beside):
                proof = self.proofs.get((folder.sweep, folder.job_id, folder.attempt))
                if proof:
                    told = {"contract": CONTRACT, "at": time.time(), "host": host.name(), "proof": proof}
                    write_json(RunFolder(beside).ended, told)
                    self._owned(RunFolder(beside).ended, FILE)
                os.rename(beside, target.path)
                sync_folder(os.path.dirname(target.path))

    def _lines(self) -> Iterator[Reply]:
        """Notes, tags and fences that are not there yet."""
        there = {_key(line) for line in read(self.to.journal).events}
        for line in read(self.home.journal).events:
            line = {**line, "sweep": self.estate.name(str(line.get("sweep") or ""))}
            if _key(line) not in there:
                yield line

    def _journal(self) -> None:
        lines = list(self._lines())
        last = max((line["seq"] for line in read(self.to.journal).events), default=-1)
        if not lines:
            return
        with open(self.to.journal, "ab") as handle:
            self._owned(self.to.journal, WRITTEN)
            for line in lines:
                last = max(last + 1, line["seq"])
                handle.write(json.dumps({**line, "seq": last}, ensure_ascii=False).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    def _identity(self) -> None:
        """Make it a home, last of all: until then nobody takes half of it for the whole."""
        if not self.new:
            return
        made = open_home(self.to.path, secret=str(self.identity["secret"]))[1]
        self.id = str(made["id"])
        if made["secret"] != self.identity["secret"]:
            text = "somebody has made {} an orch home meanwhile, with a secret of its own".format(self.to.path)
            raise ContractError(text, "pseudonyms of data registered there from now on differ; those of before stay")
        self._owned(self.to.identity, FILE)

    # --- Owners ------------------------------------------------------------------------------------------------------

    def _folder(self, path: str) -> None:
        """Make a folder and those above it, for the group; those that are there stay as they are."""
        if os.path.isdir(path):
            return
        self._folder(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            self._owned(path, FOLDER)

    def _owned(self, path: str, mode: int) -> None:
        about = os.stat(path)
        if about.st_uid != os.geteuid():
            return  # a colleague's journal
        if about.st_gid != self.group:
            with contextlib.suppress(PermissionError):  # not a member: the folder is of the group all the same
                os.chown(path, -1, self.group)
        os.chmod(path, mode)


def _line(piece: Piece, digest: str) -> Reply:
    return {"file": piece.target, "size": piece.size, "mtime_ns": piece.mtime_ns, "sha256": digest}


def _copied(piece: Piece, part: str) -> str:
    """Write a file's content, synced; return its SHA-256 as it was read."""
    digest = hashlib.sha256()
    with open(part, "xb") as handle:
        for block in _blocks(piece):
            digest.update(block)
            handle.write(block)
        handle.flush()
        os.fsync(handle.fileno())
    return digest.hexdigest()


def _blocks(piece: Piece) -> Iterator[bytes]:
    if piece.text is not None:
        yield piece.text
        return
    with open(piece.source, "rb") as handle:
        yield from iter(lambda: handle.read(1 << 20), b"")


def _group_name(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _sum(pieces: List[Piece]) -> Dict[str, int]:
    return {"bytes": sum(piece.size for piece in pieces), "files": len(pieces)}


def _key(line: Mapping[str, Any]) -> Tuple[Any, ...]:
    return tuple(line.get(key) for key in ("t", "kind", "sweep", "job", "attempt", "text"))


def _conflict(groups: List[str], to: str) -> OrchError:
    text = "{} has other contents under the same name: {}".format(to, ", ".join(groups))
    sweeps = [name[len("sweep ") :] for name in groups if name.startswith("sweep ")]
    again = " ".join("--as {0}={0}-2".format(name) for name in sweeps)
    hint = (
        "orch handover with {}".format(again) if sweeps else "name another folder: patients must keep their pseudonyms"
    )
    return OrchError(text, hint, conflicts=groups)


def _outside(home: Home) -> Iterator[Reply]:
    """Data sets whose volumes go when the account goes."""
    own = os.path.join(os.path.realpath(os.path.expanduser("~")), "")
    inside = os.path.join(os.path.realpath(home.path), "")
    for name in sorted(os.listdir(home.data)) if os.path.isdir(home.data) else ():
        cases = (read_json(home.manifest(name)) or {}).get("cases") or ()
        paths = {os.path.realpath(str(case.get(key) or "/")) for case in cases for key in ("image", "label")}
        lost = sorted(path for path in paths if path.startswith(own) and not path.startswith(inside))
        if lost:
            yield {
                "data": name,
                "files": len(lost),
                "folder": os.path.commonpath([os.path.dirname(one) for one in lost]),
            }
