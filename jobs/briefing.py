"""What a plan needs to know of a host, in one answer; and the code that its jobs run, taken in once."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence

from . import CONTRACT, disktest, envs, host, limits, sweep_records
from .aside import aside
from .asking import unpack
from .atomic import file_sha256, move, read_json, write_bytes, write_json
from .errors import ContractError, DataError, disk_error
from .folder import Home
from .home_identity import make_folder
from .homes import mask
from .uses import date

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]


def brief(agent: Agent, sweep: Optional[str] = None, slurm: Sequence[Mapping[str, Any]] = ()) -> Reply:
    """Return what this host has, and what its home knows of a sweep.

    Parameters
    ----------
    slurm:
        What Slurm is asked for here, once for each architecture (`slurmparts.part`); empty: it has no scheduler.

    Returns
    -------
    dict
        `arch`, `cpus`, `cards` and `cards_reason`; `parts`: for each that is asked of Slurm what its jobs find in place
        of these (`slurmparts.part`); `environment`: the newest one that is verified, or None, and `environments`: state
        and reason of each; `live`: attempts that have begun and not ended here; `disk`: what a plain user may still
        write (`free_bytes`, `free_files`, None where the system does not tell); `data`: `summary` of each registered
        data set; `splits` by data set; `record`: the sweep's record, and `pinned`: names and hashes of the code it is
        pinned to, or None; `codes`: the snapshots that are here.
    """
    from .gpu import look
    from .slurmparts import environments, part

    seen = look()
    record = sweep_records.read(agent.home, sweep) if sweep else None
    return {
        "arch": envs.architecture(),
        "cpus": limits.cpus().value or 1,
        "cards": [card.to_json() for card in seen.cards],
        "cards_reason": seen.reason,
        "parts": [part(agent.home, asked) for asked in slurm],
        **environments(agent.home, envs.architecture()),
        "live": len(_listing(os.path.join(agent.local.path, "locks"))),
        "disk": room(agent.home.path),
        "data": [summary(document, path) for document, path in _manifests(agent.home)],
        "splits": {name: list(_splits(agent.home, name)) for name in _listing(agent.home.data)},
        "record": record,
        "pinned": read_json(os.path.join(agent.home.code, "{}.json".format((record or {}).get("code")))),
        "codes": [name for name in _listing(agent.home.code) if not name.endswith((".json", ".patch"))],
    }


def room(path: str) -> Dict[str, Optional[int]]:
    """Return what may still be written below a path, quotas included: `free_bytes`, `free_files`; None: unknown."""
    try:
        found = disktest.room(path)
        quotas = disktest.quota() or []
    except (OSError, subprocess.TimeoutExpired):
        return {"free_bytes": None, "free_files": None}
    left = {}
    for key in ("bytes", "files"):
        rest = [row["limit_" + key] - row["used_" + key] for row in quotas if row["limit_" + key]]
        known = [number for number in (found["free_" + key], *(max(0, one) for one in rest)) if number is not None]
        left["free_" + key] = min(known, default=None)
    return left


def _manifests(home: Home) -> "Iterator[tuple[Dict[str, Any], str]]":
    for name in _listing(home.data):
        document = read_json(home.manifest(name))
        if isinstance(document, dict) and {"name", "hash", "classes", "cases", "sizes"} <= set(document):
            yield document, home.manifest(name)


def summary(document: Mapping[str, Any], path: str) -> Dict[str, Any]:
    """Return what may leave the host of a manifest: no name of a file, a patient or a volume."""
    kept = {key: document[key] for key in ("name", "hash", "classes", "sizes")}
    counts = {"cases": len(document["cases"]), "patients": len({case["group"] for case in document["cases"]})}
    return {**kept, **counts, "manifest": path, "source": document.get("source")}


def _splits(home: Home, name: str) -> Iterator[Dict[str, Any]]:
    for file in _listing(os.path.join(home.data, name)):
        path = os.path.join(home.data, name, file)
        split = read_json(path) if file.startswith("split-") and file.endswith(".json") else None
        if isinstance(split, dict):
            yield split_summary(split, path)


def split_summary(split: Mapping[str, Any], path: str) -> Dict[str, Any]:
    """Return what identifies a split, without its patients."""
    kept = {key: split.get(key) for key in ("hash", "data", "inner", "seed")}
    return {**kept, "folds": len(split.get("folds") or ()), "path": path}


def take_code(
    agent: Agent,
    hash: str,
    files: Mapping[str, str],
    pack: str,
    programs: List[str],
) -> Reply:
    """Take in a code snapshot, unless it is here; return its folder.

    Parameters
    ----------
    hash, files:
        Its name, and the SHA-256 of each file.
    pack:
        The files, as `asking.pack` makes it.
    programs:
        Files that may be executed.

    Raises
    ------
    DataError
        A file arrived with other contents.
    DiskError
        The home cannot be written.
    """
    target = os.path.join(agent.home.code, hash)
    beside = aside(target)
    try:
        make_folder(agent.home, agent.home.code, agent.local.home_id)
        if not date(target):
            write_json(target + ".json", {"contract": CONTRACT, "hash": hash, "files": dict(files)})
            os.mkdir(beside)  # a project without a file that travels is a folder too
            unpack(pack, beside)
            _check(beside, files)
            for name in programs:
                os.chmod(os.path.join(beside, name), 0o770 & ~mask(agent.home.path))
            _settle(beside, target)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {"path": target, "host": host.name()}


def take_patch(agent: Agent, name: str, text: str) -> Reply:
    """Keep what was not committed beside the code snapshots.

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    path = os.path.join(agent.home.code, os.path.basename(name))
    try:
        make_folder(agent.home, agent.home.code, agent.local.home_id)
        write_bytes(path, text.encode())
    except OSError as error:
        raise disk_error(error, path) from error
    return {"path": path}


def _check(folder: str, files: Mapping[str, str]) -> None:
    for name, sha256 in files.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or file_sha256(path) != sha256:
            raise DataError("the code arrived damaged: {}".format(name), "run the same command again")


def _settle(beside: str, target: str) -> None:
    try:
        move(beside, target)
    except OSError:
        if not os.path.isdir(target):  # else somebody was faster, with the same content
            raise


def code_folder(home: Home, hash: str) -> str:
    """Return the folder of a snapshot.

    Raises
    ------
    ContractError
        It is not here.
    """
    path = os.path.join(home.code, hash)
    if not os.path.isdir(path):
        raise ContractError("the code snapshot {} is not in {}".format(hash, home.code), "run the same command again")
    return path


def _listing(path: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError:
        return []
