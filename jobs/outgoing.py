"""Verbs of the agent that give a data set away: its manifest without names of files, and the bytes of its volumes."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Dict, Generator, List, Mapping

from .atomic import read_json
from .documents import open_plain
from .errors import DataError, NotFound, UsageError

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
BLOCK = 3 << 18  # bytes of one chunk: 1 MiB in base64
_KEPT = ("contract", "name", "hash", "classes", "sizes", "notes")  # what a copy's manifest takes over


def portable(document: Mapping[str, Any]) -> Reply:
    """Return the manifest of a copy: files by their contents, pseudonyms as they are, no name of file or folder."""
    cases = [{**case, **{role: file_of(case, role) for role in ("image", "label")}} for case in document["cases"]]
    return {**{key: document[key] for key in _KEPT if key in document}, "cases": cases}


def file_of(case: Mapping[str, Any], role: str) -> str:
    """Return the name in copies of a case's `image` or `label`: `<SHA-256>.nii.gz`."""
    suffix = ".nii.gz" if str(case[role]).lower().endswith(".gz") else ".nii"
    return str(case[role + "_sha256"]) + suffix


def paths_of(document: Mapping[str, Any]) -> Dict[str, str]:
    """Return where each file of a data set lies, by its name in copies."""
    return {file_of(case, role): str(case[role]) for case in document["cases"] for role in ("image", "label")}


def give_data(agent: Agent, name: str) -> Reply:
    """Return what a copy of a data set needs: `document` (see `portable`), and `files`: name and bytes of each.

    Raises
    ------
    NotFound
        There is no such data set here.
    DataError
        One of its files cannot be read.
    """
    document = _registered(agent, name)
    files: List[Any] = []
    for file, path in paths_of(document).items():
        try:
            files.append((file, os.path.getsize(path)))
        except OSError as error:
            hint = "orch data verify {} --host HOST names all that differ".format(name)
            raise DataError("a volume of {} cannot be read: {}".format(name, error.strerror), hint) from error
    return {"document": portable(document), "files": files}


def give_file(agent: Agent, name: str, file: str, offset: int, count: int) -> Generator[str, None, Reply]:
    """Send at most `count` bytes of a volume from an offset on, in base64.

    Whoever reads asks for a part at a time: what it passes on slowly must not pile up with it.

    Raises
    ------
    NotFound
        There is no such data set here.
    UsageError
        It has no such file.
    DataError
        The file cannot be read.
    """
    path = paths_of(_registered(agent, name)).get(file)
    if path is None:
        raise UsageError("{} has no file {}".format(name, file), "run the same command again")
    try:
        with open(path, "rb", opener=open_plain) as handle:
            handle.seek(offset)
            while count > 0 and (block := handle.read(min(BLOCK, count))):
                count -= len(block)
                yield base64.b64encode(block).decode("ascii")
    except OSError as error:
        raise DataError(
            "a volume of {} cannot be read: {}".format(name, error.strerror), "is its disk sound?"
        ) from error
    return {}


def _registered(agent: Agent, name: str) -> Dict[str, Any]:
    document = read_json(agent.home.manifest(name))
    if not isinstance(document, dict):
        raise NotFound("no data set named '{}' in {}".format(name, agent.home.path), "orch data list")
    return document
