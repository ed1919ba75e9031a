"""Data sets and splits of this host's home, made by the trainer here: names of files and patients stay on the host."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Dict, Generator, Mapping

from .asking import answered
from .atomic import read_json, write_json
from .briefing import code_folder, split_summary, summary
from .errors import NotFound, UsageError, disk_error
from .folder import valid_name

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
Lines = Generator[Any, None, Reply]  # what the trainer says meanwhile, then the answer

SCAN_LIMIT = 6 * 3600.0  # seconds; some thousand volumes on a slow network home


def register_data(
    agent: Agent, python: str, code: str, name: str, source: Mapping[str, Any], replace: bool = False
) -> Lines:
    """Check all volumes and keep the manifest under a name; return its `briefing.summary`.

    Parameters
    ----------
    python, code:
        Interpreter that runs the trainer, and the snapshot that holds it.
    source:
        `images`, `labels`, `csv`, `groups`, `classes`; paths are this host's, `~` is the home.
    replace:
        Let the name stand for other contents than before.

    Raises
    ------
    UsageError
        The name cannot be used, or stands for other contents.
    DataError
        A volume or mask cannot be used.
    DiskError
        The home cannot be written.
    """
    if not valid_name(name):
        raise UsageError("'{}' cannot name a data set".format(name), "use letters, digits and . _ + -")
    given = {key: _expanded(key, value) for key, value in source.items()}
    secret = (read_json(agent.home.identity) or {}).get("secret")
    request = {**given, "name": name, "secret": secret}
    found = yield from _asked(agent, python, code, ["scan", "--progress"], request)
    path = agent.home.manifest(name)
    former = read_json(path)
    if isinstance(former, dict) and former.get("hash") != found["hash"] and not replace:
        text = "the data set {} is registered with other contents ({}, now {})"
        hint = "choose another name, or --replace: unfinished jobs on the former contents then cannot go on"
        raise UsageError(text.format(name, former.get("hash"), found["hash"]), hint)
    document = {**found, "source": given, "name": name}
    _keep(path, document)
    return {**summary(document, path), "notes": found.get("notes", [])}


def make_split(agent: Agent, python: str, code: str, name: str, folds: int, inner: float, seed: int) -> Lines:
    """Deal the patients of a registered data set to folds; return the `briefing.split_summary`.

    Raises
    ------
    NotFound
        There is no such data set here.
    DataError
        It cannot be split so.
    DiskError
        The home cannot be written.
    """
    if read_json(agent.home.manifest(name)) is None:
        raise NotFound("no data set named '{}' in {}".format(name, agent.home.path), "orch data add " + name)
    request = {"manifest": agent.home.manifest(name), "folds": folds, "inner": inner, "seed": seed}
    document = yield from _asked(agent, python, code, ["split"], request)
    path = agent.home.split(name, str(document["hash"]))
    _keep(path, document)
    return split_summary(document, path)


def _expanded(key: str, value: Any) -> Any:
    return os.path.expanduser(value) if key in ("images", "labels", "csv") and value else value


def _asked(agent: Agent, python: str, code: str, words: "list[str]", request: Mapping[str, Any]) -> Lines:
    descriptor, path = tempfile.mkstemp(dir=agent.local.path, prefix="request-")  # mode 0600: it holds the secret
    try:
        with open(descriptor, "w", encoding="utf-8") as handle:
            json.dump(dict(request), handle)
        command = [python, "-I", "-B", code_folder(agent.home, code), *words]
        return (yield from answered(agent, command, SCAN_LIMIT, path))
    finally:
        os.unlink(path)


def _keep(path: str, document: Mapping[str, Any]) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_json(path, dict(document))
    except OSError as error:
        raise disk_error(error, path) from error
