"""A conda channel in a folder, for both architectures: Python (a prefix over a Python of this machine) and pip."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}


class File(NamedTuple):
    """One file of a package: its bytes, or what it links to."""

    data: bytes = b""
    link: str = ""


def make(folder: Path, python: str, minor: str, patch: str = "") -> str:
    """Write the channel and return its address.

    Parameters
    ----------
    python:
        Interpreter over which the channel's Python stands; the same path on each host.
    minor, patch:
        Version that the package says it has (`3.12`), and the number behind it.
    """
    shared = {"linux-64": _records(folder, "linux-64", python, minor, patch or "0")}
    shared["linux-aarch64"] = _records(folder, "linux-aarch64", python, minor, patch or "0")
    shared["noarch"] = {}
    for subdir, records in shared.items():
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        about = {"info": {"subdir": subdir}, "packages": records, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(about))
    return folder.as_uri()


def _records(folder: Path, subdir: str, python: str, minor: str, patch: str) -> dict[str, Any]:
    site = f"lib/python{minor}/site-packages"
    settings = f"home = {Path(python).parent}\ninclude-system-site-packages = false\nversion = {minor}.{patch}\n"
    base = {
        "bin/python": File(link=python),
        f"bin/python{minor}": File(link="python"),
        "pyvenv.cfg": File(settings.encode()),
        f"{site}/README.txt": File(subdir.encode()),
    }
    found = [_package(folder / subdir, "python", f"{minor}.{patch}", base)]
    found.append(_package(folder / subdir, "pip", metadata.version("pip"), _pip(site), [f"python {minor}.*"]))
    return dict(found)


def _pip(site: str) -> dict[str, File]:
    """The pip of the Python that runs the tests: plain Python, the same for every architecture."""
    files = {}
    for entry in metadata.files("pip") or []:
        path = Path(str(entry.locate()))
        if path.suffix != ".pyc" and ".." not in entry.parts and path.is_file():
            files[f"{site}/{entry.as_posix()}"] = File(path.read_bytes())
    return files


def _package(
    folder: Path, name: str, version: str, files: Mapping[str, File], depends: list[str] | None = None
) -> tuple[str, dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-0.tar.bz2"
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends or []}
    index |= {"subdir": folder.name, "arch": None, "platform": "linux"}
    listed = [_path_record(name, file) for name, file in files.items()]
    info = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": listed}),
        "info/files": "\n".join(files),
    }
    with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
        for inner, file in {**files, **{key: File(text.encode()) for key, text in info.items()}}.items():
            member = tarfile.TarInfo(inner)
            member.mode, member.size = 0o755, len(file.data)
            if file.link:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
            archive.addfile(member, io.BytesIO(file.data))
    data = path.read_bytes()
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest(), "size": len(data)}
    return path.name, {**index, **sums}


def _path_record(name: str, file: File) -> dict[str, Any]:
    record = {"_path": name, "path_type": "softlink" if file.link else "hardlink"}
    return {**record, "sha256": hashlib.sha256(file.data).hexdigest(), "size_in_bytes": len(file.data)}
