"""Environments that `orch setup` made: immutable prefixes in the orch home, and whether they are still what they were.

<home>/envs/<arch>/<lock hash>/                    one prefix; never changed once it is verified
<home>/envs/<arch>/<lock hash>/orch-env.json       the record, written last: without it the prefix is half made
<home>/envs/<arch>/<lock hash>.build.json          stages done so far, while it is being made
<home>/envs/<arch>/<lock hash>.verified/<host>.json   what the environment found when it was tried on a host
<home>/pkgs/<arch>/                                package caches of conda and pip, one for each architecture
<home>/pkgs/<arch>.lease/                          who is at work on them and on the environments
<home>/conda/<arch>/                               a Miniforge that `orch setup` installed
<home>/wheelhouse/<arch>/                          wheels kept by the lab, used when the index fails
"""

from __future__ import annotations

import glob
import os
import platform
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .atomic import digest, file_sha256, read_json
from .folder import Home

VERIFIED, CHANGED, HALF_MADE = "verified", "changed", "half made"
_LOCK = re.compile(r"[0-9a-f]{8,64}(-\d+)?\Z")
_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class EnvFolder(NamedTuple):
    """All paths of one environment."""

    home: str
    arch: str
    lock: str

    @property
    def prefix(self) -> str:
        """The environment itself."""
        return os.path.join(self.home, "envs", self.arch, self.lock)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return os.path.join(self.prefix, "bin", "python")

    @property
    def record(self) -> str:
        """`orch-env.json`: it is whole and was verified."""
        return os.path.join(self.prefix, "orch-env.json")

    @property
    def build(self) -> str:
        """Stages done so far."""
        return self.prefix + ".build.json"

    @property
    def lease(self) -> str:
        """Folder that exists while somebody is at work on the environments of this architecture."""
        return self.packages + ".lease"

    @property
    def constraints(self) -> str:
        """What pip may not replace."""
        return self.prefix + ".constraints.txt"

    @property
    def packages(self) -> str:
        """Caches of conda and pip for this architecture."""
        return os.path.join(self.home, "pkgs", self.arch)

    @property
    def conda(self) -> str:
        """Where a Miniforge of ours stands."""
        return os.path.join(self.home, "conda", self.arch)

    @property
    def wheelhouse(self) -> str:
        """Wheels that the lab keeps."""
        return os.path.join(self.home, "wheelhouse", self.arch)


def architecture(machine: str = "") -> str:
    """Return an architecture (default: this machine's) in the words of wheels and conda: `x86_64`, `aarch64`, ..."""
    machine = machine or platform.machine()
    return _MACHINES.get(machine.lower(), machine)


def found(home: Home, arch: Optional[str] = None) -> List[Dict[str, Any]]:
    """Return the environments of an architecture (default: this machine's), the newest verified ones first.

    Returns
    -------
    list of dict
        `lock`, `prefix`, `python`, `state` (`verified`, `changed`, `half made`), `reason`, `record` (the content of
        `orch-env.json`, or None); of a half made one the `stages` that are done and the one that was `begun`.
    """
    arch = arch or architecture()
    base = os.path.join(home.path, "envs", arch)
    names = sorted(name for name in _listing(base) if _LOCK.match(name) and os.path.isdir(os.path.join(base, name)))
    told = [describe(EnvFolder(home.path, arch, name)) for name in names]
    return sorted(
        told, key=lambda env: (env["state"] == VERIFIED, (env["record"] or {}).get("created", 0)), reverse=True
    )


def describe(folder: EnvFolder) -> Dict[str, Any]:
    """Return one environment: see `found`."""
    record = read_json(folder.record)
    state, reason = _state(folder, record)
    about = {"lock": folder.lock, "arch": folder.arch, "prefix": folder.prefix, "python": folder.python}
    build = (read_json(folder.build) if state == HALF_MADE else None) or {}
    stages = {"stages": list(build.get("stages") or {}), "begun": build.get("begun")}
    return {**about, **stages, "state": state, "reason": reason, "record": record}


def newest(home: Home, arch: Optional[str] = None) -> Optional[Dict[str, Any]]:
    """Return the newest verified environment of an architecture, or None."""
    first = next(iter(found(home, arch)), None)
    return first if first and first["state"] == VERIFIED else None


def _state(folder: EnvFolder, record: Any) -> Tuple[str, str]:
    if not isinstance(record, dict) or not {"torch", "contents", "created"} <= set(record):
        return HALF_MADE, "it has no orch-env.json: it was never finished"
    if not os.path.exists(folder.python):
        return CHANGED, "its Python is gone"
    now, then = contents(folder.prefix), record["contents"]
    if now["digest"] == then.get("digest"):
        return VERIFIED, ""
    before, after = dict(then.get("packages", {})), now["packages"]
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    changes = ["{} {} -> {}".format(name, before.get(name, "absent"), after.get(name, "absent")) for name in names]
    return CHANGED, "changed after it was verified: " + (", ".join(changes[:4]) or "files of torch were replaced")


def contents(prefix: str) -> Dict[str, Any]:
    """Return what is installed: distributions with versions, the hash of torch's list of files, a digest of both.

    No Python of the environment is started: a listing and one small file tell whether a later install replaced a wheel.
    """
    packages, record = {}, ""
    for site in sorted(glob.glob(os.path.join(glob.escape(prefix), "lib", "python3*", "site-packages"))):
        for name in _listing(site):
            if name.endswith(".dist-info"):
                package, _, version = name[: -len(".dist-info")].partition("-")
                packages[re.sub(r"[-_.]+", "-", package).lower()] = version
                if package == "torch":
                    record = _sha256(os.path.join(site, name, "RECORD"))
    return {"packages": packages, "torch_files": record, "digest": digest({"packages": packages, "torch": record})}


def _sha256(path: str) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return ""


def size(path: str) -> int:
    """Return the bytes of a folder's files; each file with several names counts once."""
    total, seen = 0, set()
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                about = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                total += about.st_size
    return total


def _listing(path: str) -> List[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
