"""Verbs of the agent on what a host holds of a data set: read it all again, weigh it, forget it for good.

A host may hold copied volumes, the registration of an original that lies elsewhere, and slices that jobs have decoded
into their cache. The volumes of an original are never touched.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Dict, Generator, Iterator, List, Mapping, Optional, Sequence, Tuple

from . import attempt
from .atomic import read_json
from .errors import NotFound, OrchError, disk_error
from .events import EventWriter
from .folder import Home
from .intake import hashed
from .lease import holding, is_held
from .queue import waiting_everywhere
from .state import ENDED, UNREACHABLE

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
Contents = Sequence[Sequence[str]]  # SHA-256 of image and mask of each volume
_SLICES = re.compile(r"[0-9a-f]{32}\Z")  # name of a folder of slices (`trainer.data.cache_key`)
_BUILDING = ".building-"  # in the name of one that is being made (`trainer.cache`)
TICK = 5.0  # seconds of work after which a sign of life is given


def verify_data(agent: Agent, name: str) -> Generator[int, None, Reply]:
    """Read all files of a data set and compare their hashes; yields the bytes read.

    Returns
    -------
    dict
        `files` and `bytes` read; `differ`: `case` (pseudonym), `role` (image, label) and `why` of each that is not what
        was registered.

    Raises
    ------
    NotFound
        There is no such data set here.
    """
    document = read_json(agent.home.manifest(name))
    if not isinstance(document, dict):
        raise NotFound("no data set named '{}' in {}".format(name, agent.home.path), "orch data list")
    seen: Dict[str, str] = {}  # why it differs, by path; a volume may stand in several cases
    size, differ = 0, []
    for case in document["cases"]:
        for role in ("image", "label"):
            path = case[role]
            if path not in seen:
                seen[path], count = yield from _why_differs(path, case[role + "_sha256"])
                size += count
            if seen[path]:
                differ.append({"case": case["case"], "role": role, "why": seen[path]})
    return {"files": len(seen), "bytes": size, "differ": differ}


def _why_differs(path: str, sha256: str) -> Generator[int, None, Tuple[str, int]]:
    try:
        size = os.path.getsize(path)
        return ("" if (yield from hashed(path)) == sha256 else "other contents ({} bytes)".format(size)), size
    except FileNotFoundError:
        return "it is not there", 0
    except OSError as error:
        return "it cannot be read: {}".format(error.strerror), 0


def weigh_data(
    agent: Agent, name: str, hash: Optional[str], contents: Optional[Contents] = None, others: Sequence[str] = ()
) -> Generator[int, None, Reply]:
    """Say what this host holds of a data set.

    Parameters
    ----------
    hash:
        That of its contents; None: whatever stands here under the name.
    contents:
        What slices are known by; None: as the manifest here says.
    others:
        Own names of machines of this home that are asked as well: each tells of its own attempts.

    Returns
    -------
    dict
        `hash` of what is registered, or None; `mine`: it is what is asked for; `files`, `bytes` of copied volumes;
        `original`: where volumes lie that are registered in place, or None; `slices`: folders in the cache, with
        `slice_bytes`; `live`: attempts (sweep/label) that use it and have not ended.
    """
    document = read_json(agent.home.manifest(name)) or {}
    known = document.get("hash")
    mine = known is None or hash in (None, known)
    told: Reply = {"hash": known, "mine": mine, "files": 0, "bytes": 0, "original": None, "home_id": _home_id(agent)}
    if mine:
        sizes = [size for _, size in _files(agent.home.data_files(name))]
        told.update(files=len(sizes), bytes=sum(sizes), original=_original(document))
        contents = contents or [(case["image_sha256"], case["label_sha256"]) for case in document.get("cases", ())]
    slices = _slices(agent, contents or ())
    live = yield from _live(agent, hash or known, others)
    space = sum(size for path in slices for _, size in _files(path))
    return {**told, "slices": [os.path.basename(path) for path in slices], "slice_bytes": space, "live": live}


def forget_data(
    agent: Agent, name: str, hash: Optional[str], slices: List[str], by: str, others: Sequence[str] = ()
) -> Generator[int, None, Reply]:
    """Delete what this host holds of a data set, for good; an original loses its registration only.

    The manifest goes last: what was cut in the middle is found again.

    Parameters
    ----------
    hash, others:
        See `weigh_data`.
    slices:
        Folders of the cache, as `weigh_data` named them.
    by:
        Who wants it; stands in the journal.

    Raises
    ------
    OrchError
        A job that uses it waits or runs.
    DiskError
        Something cannot be deleted.
    """
    told = yield from weigh_data(agent, name, hash, (), others)
    if told["live"]:
        raise OrchError("{} is used by {}".format(name, ", ".join(told["live"])), "orch stop ends jobs")
    folders = [os.path.join(_cache(agent), one) for one in slices if _SLICES.match(one)]
    try:
        for path in (*folders, *_dead_builders(agent), *([agent.home.data_files(name)] if told["mine"] else ())):
            yield 0
            _delete(path)
        if told["mine"]:
            _unregister(agent.home, name)
    except OSError as error:
        raise disk_error(error) from error
    text = "forgot {} ({}): {} copied files, {} bytes, {} folders of slices; by {}"
    counts = (told["files"], told["bytes"], len(folders))
    _write_down(agent, text.format(name, told["hash"] or hash or "not whole", *counts, by))
    return {key: told[key] for key in ("files", "bytes", "original")}


def _home_id(agent: Agent) -> Any:
    return (read_json(agent.home.identity) or {}).get("id")


def _original(document: Mapping[str, Any]) -> Optional[str]:
    source = document.get("source") or {}
    return source.get("images") or source.get("csv")


def _files(folder: str) -> Iterator[Tuple[str, int]]:
    """Paths and bytes of all files below a folder; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                yield path, os.lstat(path).st_size
            except FileNotFoundError:
                continue


def _cache(agent: Agent) -> str:
    return os.path.join(agent.local.cache, "slices")


def _slices(agent: Agent, contents: Contents) -> List[str]:
    """Folders of slices that hold any of these volumes, under whatever name the data set had."""
    wanted, found = {tuple(pair) for pair in contents}, []
    for name in sorted(_listing(_cache(agent))):
        path = os.path.join(_cache(agent), name)
        index = read_json(os.path.join(path, "index.json")) if _SLICES.match(name) else None
        if isinstance(index, dict) and wanted & {tuple(pair) for pair in index.get("cases", ())}:
            found.append(path)
    return found


def _dead_builders(agent: Agent) -> List[str]:
    """What killed builders of slices have left: nobody can tell any more of which volumes."""
    names = (name for name in _listing(_cache(agent)) if _BUILDING in name)
    paths = [os.path.join(_cache(agent), name) for name in names]
    return [path for path in paths if not is_held(path.split(_BUILDING)[0] + ".lock")]


def _live(agent: Agent, hash: Optional[str], others: Sequence[str]) -> Generator[int, None, List[str]]:
    """Attempts that use a data set and wait or run, as far as this host can tell."""
    jobs = (entry.job for _, entry in waiting_everywhere(agent.home))
    found = [_shown(job) for job in jobs if hash and _data_of(job) == hash]
    told = time.monotonic()
    for sweep in agent.home.sweep_names() if hash else ():
        for job_id in agent.home.jobs(sweep):
            for folder in agent.home.attempts(sweep, job_id)[-1:]:
                job = attempt.read_job(folder) or {}
                if _data_of(job) == hash:
                    state = agent.verdict(folder).state
                    if state not in ENDED and not (state == UNREACHABLE and attempt.teller_of(job) in others):
                        found.append(_shown(job))
            if time.monotonic() - told > TICK:
                told = time.monotonic()
                yield 0
    return found


def _data_of(job: Mapping[str, Any]) -> Any:
    return (job.get("cell") or {}).get("data")


def _shown(job: Mapping[str, Any]) -> str:
    return "{}/{}".format(job.get("sweep"), job.get("label"))


def _delete(path: str) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass


def _unregister(home: Home, name: str) -> None:
    folder = os.path.dirname(home.manifest(name))
    for file in [one for one in _listing(folder) if one.startswith("split-")] + ["manifest.json"]:
        try:
            os.unlink(os.path.join(folder, file))
        except FileNotFoundError:
            pass
    try:
        os.rmdir(folder)
    except OSError:  # it is not there, or still says where copies went
        pass


def _write_down(agent: Agent, text: str) -> None:
    with holding(agent.local.queue_lock):
        journal = EventWriter(agent.home.journal)
        journal.write("data", text=text)
        journal.sync()
        journal.close()


def _listing(path: str) -> List[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
