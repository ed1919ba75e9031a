"""The verbs of `orch handover`: an orch home is copied into the group's, each file verified; nothing here is changed.

The group's home has an identity of its own (two homes of one name would share the locks of a host), but takes over the
secret of the pseudonyms when it is new, so that a patient stays the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, Dict, Generator, Iterator, List, Mapping, Optional, Sequence, Tuple

from . import CONTRACT, attempt, begun, estate, host
from .atomic import file_sha256, read_json, sync_folder, write_json
from .briefing import room
from .disktest import nearest
from .documents import open_plain
from .errors import ContractError, DataError, DiskError, OrchError, UsageError, disk_error
from .estate import CONFLICT, COPY, HERE, Estate, Page, Piece
from .events import EventWriter, read
from .folder import Home, RunFolder, listing, valid_name
from .homes import SHARED, mask, open_home
from .moves import rename, weigh
from .queue import waiting_everywhere
from .shared_lock import shared_lock
from .state import ENDED, judge

if TYPE_CHECKING:
    from .agent import Agent

TICK = 0.5  # seconds between words about the progress
DAY = 86400.0  # seconds until a handover on another host that holds the page's lock counts as gone
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
        `to` (absolute), `new` (no home yet), `same_names` (patients have the same pseudonyms there), `group` (who may
        read it), `copy` and `here` (`bytes`, `files`), `sweeps` (`name`, `as`, `attempts`), `data`, `known` (data sets
        that are registered there), `notes` (lines of the journal to come), `open` (attempts that wait, run, or of which
        nobody knows), `conflicts` (what stands there with other content), `room` (what may be written there), `outside`
        (data sets whose volumes lie in this user's own folders, and are not copied), `left_out` (links and the like).

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
    before = os.umask(SHARED)
    try:
        work.begin()
        with shared_lock(work.page.path + ".lock", wait=0, expiry=DAY):
            yield from work.copy(int(plan["copy"]["bytes"]))
            after = _Handover(agent, to, named, ended)
            now = after.plan()
            after.finish(now)
    except OSError as error:
        raise disk_error(error, work.to.path) from error
    finally:
        os.umask(before)
    deletable = {"path": agent.home.path, **weigh(agent.home.path)}
    return {**plan, "id": after.id, "deletable": deletable, "added": bool(now["open"] or now["copy"]["files"])}


class _Handover:
    def __init__(self, agent: Agent, to: str, named: Mapping[str, str], ended: Sequence[Row]) -> None:
        self.agent, self.home = agent, agent.home
        self.to = Home(os.path.abspath(os.path.expanduser(to)))
        self._check(named)
        self.identity = open_home(self.home.path, create=False)[1]
        self.new = self._is_new()
        theirs = self.identity if self.new else open_home(self.to.path, create=False)[1]
        self.id, self.same_names = str(theirs["id"]), theirs["secret"] == self.identity["secret"]
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
        chosen = list(named.values())
        taken = [new for new in chosen if new in names or chosen.count(new) > 1 or not valid_name(new)]
        if taken:
            raise UsageError("{} cannot be the other name of a sweep".format(taken[0]), "choose one that is free")

    def _is_new(self) -> bool:
        try:
            new = read_json(self.to.identity) is None
        except PermissionError:
            new = False
        if not new and mask(self.to.path) != SHARED:
            text = "{} is the home of one person, its group cannot use it".format(self.to.path)
            raise UsageError(text, "its owner: chmod -R g+rwX and chmod g+s on its folders; or name another folder")
        return new

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
            "same_names": self.same_names,
            "group": _group_name(self.group),
            "copy": _sum(todo),
            "here": _sum(here),
            "sweeps": [self._sweep(name) for name in self.home.sweep_names()],
            "data": sorted(listing(self.home.data)),
            "known": sorted(self.estate.known),
            "notes": len(list(self._lines())),
            "open": self._open(),
            "conflicts": sorted(conflicts),
            "room": room(self.to.path),
            "outside": list(estate.outside(self.home)),
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
            first, more = plan["open"][0], len(plan["open"]) - 1
            text = "not all has ended: {sweep} {job} attempt {attempt}: {why}".format(**first)
            hint = "wait, or orch stop {}; of a host that is gone: orch host declare-dead HOST".format(first["sweep"])
            raise OrchError(text + (" (and {} more)".format(more) if more else ""), hint, open=plan["open"])
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

    def begin(self) -> None:
        """Make the other home's folder, for the group of the folder in which it is made, who own all that comes."""
        if self.new:
            os.makedirs(self.to.path, exist_ok=True)
            if os.stat(self.to.path).st_gid != self.group:
                os.chown(self.to.path, -1, self.group)
            if mask(self.to.path) != SHARED:
                os.chmod(self.to.path, 0o2770)
        os.makedirs(os.path.dirname(self.page.path), exist_ok=True)

    def copy(self, total: int) -> Iterator[List[int]]:
        """Copy, verify, note; send bytes done and to do."""
        done, told = 0, time.monotonic()
        with open(self.page.path, "ab", buffering=0) as page:
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

    def finish(self, now: Reply) -> None:
        """Let attempts appear that are whole (`now`: the plan after the copy), then notes, then the home itself."""
        grows = {(row["sweep"], row["job"], row["attempt"]) for row in now["open"]}
        lacking = {
            "/".join(piece.target.split("/")[:4]) for piece, state in zip(self.pieces, self.states) if state == COPY
        }
        for folder in self.home.run_folders():
            key = (folder.sweep, folder.job_id, folder.attempt)
            target = self.to.attempt(self.estate.name(folder.sweep), folder.job_id, folder.attempt)
            whole = os.path.relpath(target.path, self.to.path).replace(os.sep, "/") not in lacking
            if key not in grows and whole and os.path.isdir(estate.beside(target)):
                self._appear(target, self.proofs.get(key))
        self._journal()
        self._identity()

    def _write(self, page: Any, *lines: Reply) -> None:
        for line in lines:
            page.write(b"\n" + json.dumps(line).encode())  # a torn line of before is closed by the newline

    def _one(self, piece: Piece) -> Reply:
        """Copy one file, read it again, put it into place; return its line for the page."""
        target = estate.staged(self.to, piece.target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = self.page.path + ".part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)  # of a handover that was killed; it may be a second name of a file that is in its place
        try:
            digest = _copied(piece, part)
            if file_sha256(part) != digest:
                raise DataError("{} arrived damaged".format(piece.target), "run the same command again")
            os.utime(part, ns=(piece.mtime_ns, piece.mtime_ns))
            if piece.target in self.page.files:  # a former copy of ours, which nobody has changed
                os.replace(part, target)
            else:
                rename(part, target)
        except FileExistsError:
            if file_sha256(target) != digest:
                raise _conflict([piece.group], self.to.path) from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
        return _line(piece, digest)

    def _appear(self, target: RunFolder, proof: Optional[str]) -> None:
        """Let an attempt appear; one whose end only this home's hosts could prove gets the proof."""
        beside = estate.beside(target)
        if proof:
            told = {"contract": CONTRACT, "at": time.time(), "host": host.name(), "proof": proof}
            write_json(RunFolder(beside).ended, told)
        begun.note(target)
        os.rename(beside, target.path)
        sync_folder(os.path.dirname(target.path))

    def _lines(self) -> Iterator[Reply]:
        """Notes, tags and fences that are not there yet."""
        there = {_key(line) for line in read(self.to.journal).events}
        for line in read(self.home.journal).events:
            if line.get("sweep"):
                line = {**line, "sweep": self.estate.name(str(line["sweep"]))}
            if _key(line) not in there:
                yield line

    def _journal(self) -> None:
        lines = list(self._lines())
        if lines:
            journal = EventWriter(self.to.journal)
            for line in lines:
                journal.write(**{key: value for key, value in line.items() if key != "seq"})
            journal.sync()
            journal.close()

    def _identity(self) -> None:
        """Make it a home, last of all: until then nobody takes half of it for the whole."""
        if not self.new:
            return
        made = open_home(self.to.path, secret=str(self.identity["secret"]))[1]
        self.id = str(made["id"])
        if made["secret"] != self.identity["secret"]:
            text = "somebody has made {} an orch home meanwhile, with a secret of its own".format(self.to.path)
            raise ContractError(text, "pseudonyms of data registered there from now on differ; those of before stay")


def _line(piece: Piece, digest: str) -> Reply:
    return {"file": piece.target, "size": piece.size, "mtime_ns": piece.mtime_ns, "sha256": digest}


def _copied(piece: Piece, part: str) -> str:
    """Write a file's content, synced; return its SHA-256 as it was read."""
    digest = hashlib.sha256()
    mode = 0o770 if piece.program else 0o660
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
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
    with open(piece.source, "rb", opener=open_plain) as handle:
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
