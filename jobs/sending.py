"""Verbs of the agent about files of run folders: which there are, which are gone, and their bytes from an offset on."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Any, Dict, Generator, Iterable, List, Tuple

from .atomic import read_json
from .documents import is_no_document, open_plain
from .errors import NoHome, NotFound, UsageError
from .folder import RunFolder
from .state import DONE

if TYPE_CHECKING:
    from .agent import Agent

BLOCK = 3 << 18  # bytes of one chunk: 1 MiB in base64


def files_of(agent: "Agent", jobs: List[Tuple[str, str]]) -> Dict[str, Any]:
    """Return the files of each job (sweep, id): those of the attempt that is done, else of the newest one.

    Returns
    -------
    dict
        `{"jobs": [{"sweep", "id", "attempt", "files": [{"name", "size", "mtime_ns"}]}]}`; names are relative to the
        run folder, with `/`. A job that has not begun has attempt None and no files.
    """
    return {"jobs": [_files_of(agent, sweep, job) for sweep, job in jobs]}


def _files_of(agent: "Agent", sweep: str, job: str) -> Dict[str, Any]:
    attempts = agent.home.attempts(sweep, job)
    done = [folder for folder in attempts if agent.verdict(folder).state == DONE]
    told: Dict[str, Any] = {"sweep": sweep, "id": job, "attempt": None, "files": []}
    for folder in (done or attempts)[-1:]:
        told.update(attempt=folder.attempt, files=list(_listing(folder)))
    return told


def _listing(folder: RunFolder) -> Generator[Dict[str, Any], None, None]:
    for place, folders, names in os.walk(folder.path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)
            about = os.lstat(path)
            if os.path.isfile(path) and not os.path.islink(path) and not name.startswith("."):
                shown = os.path.relpath(path, folder.path).replace(os.sep, "/")
                yield {"name": shown, "size": about.st_size, "mtime_ns": about.st_mtime_ns}


def send(
    agent: "Agent", sweep: str, job: str, attempt: int, name: str, offset: int = 0
) -> Generator[str, None, Dict[str, Any]]:
    """Send a file's bytes from an offset on, in base64; the final answer is `{"size", "sha256"}` of the whole file.

    Raises
    ------
    NotFound
        There is no such attempt or file.
    UsageError
        The name leads out of the run folder.
    """
    folder = next((one for one in agent.home.attempts(sweep, job) if one.attempt == attempt), None)
    if folder is None:
        raise NotFound(
            "no attempt {} of job {} in sweep {}".format(attempt, job, sweep), "orch status {}".format(sweep)
        )
    root, path = os.path.realpath(folder.path), os.path.realpath(os.path.join(folder.path, name))
    if os.path.commonpath([root, path]) != root:
        raise UsageError("{} does not lie in the run folder".format(name), "orch fetch lists what does")
    size, digest = 0, hashlib.sha256()
    try:
        with open(path, "rb", opener=open_plain) as handle:
            for block in iter(lambda: handle.read(BLOCK), b""):
                digest.update(block)
                fresh = block[max(0, offset - size) :]
                size += len(block)
                if fresh:
                    yield base64.b64encode(fresh).decode("ascii")
    except OSError as error:
        if not (isinstance(error, FileNotFoundError) or is_no_document(error)):
            raise
        raise NotFound("attempt {} of job {} has no file {}".format(attempt, job, name), "orch fetch again") from error
    return {"size": size, "sha256": digest.hexdigest()}


def missing(agent: "Agent", jobs: Iterable[Tuple[str, str]]) -> Dict[str, Any]:
    """Return which of these jobs (sweep, id) have no folder any more: somebody deleted it.

    Raises
    ------
    NoHome
        The home itself is not there (its disk is away): nothing is known of the jobs.
    """
    if read_json(agent.home.identity) is None:
        raise NoHome("no orch home at {}".format(agent.home.path), "is its disk mounted?")
    gone = []
    for sweep, job in jobs:
        try:
            os.lstat(os.path.join(agent.home.runs, sweep, job))
        except FileNotFoundError:
            gone.append((sweep, job))
        except OSError:
            continue  # a look that fails proves nothing
    return {"jobs": gone}
