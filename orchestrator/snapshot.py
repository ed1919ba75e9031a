"""Code snapshots: what a sweep runs is copied once to `<home>/code/<hash>/` and never changes there.

The trainer's snapshot holds the packages `trainer` and `jobs` and a three-line `__main__.py`; a command's holds the
files that `code:` lists. No image or medical file gets in: code travels to hosts and is kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from jobs import CONTRACT, notebook
from jobs.aside import aside
from jobs.asking import pack
from jobs.atomic import digest, file_sha256, read_json, write_json
from jobs.errors import DataError, OrchError, disk_error
from jobs.folder import Home
from jobs.homes import mask, private
from jobs.notebookrun import PROJECT
from jobs.uses import date

from . import filelist
from .filelist import FileList, LeftOut
from .guard import check_package

LARGEST = 50 * 2**20  # bytes of a whole snapshot; more is data, not code
_MEDICAL = (".nii", ".nii.gz", ".dcm", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".hdr", ".img", ".ima")
REFUSED = (*_MEDICAL, ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".npz")
_MAIN = '''"""Start the trainer that lies beside this file."""
from trainer.commands import main
raise SystemExit(main())
'''


class Snapshot(NamedTuple):
    """One snapshot.

    Attributes
    ----------
    hash, path:
        Hash of all names and contents, and the folder.
    files:
        SHA-256 of every file, by its path inside.
    """

    hash: str
    path: str
    files: Mapping[str, str]


class Code(NamedTuple):
    """Code that is to be kept somewhere: here, or on a host.

    Attributes
    ----------
    hash:
        Of all names and contents: the snapshot's name.
    files, hashes:
        Where each file lies here, and its SHA-256, by its path in the snapshot.
    main:
        Text that becomes `__main__.py`, or empty.
    made:
        Contents that lie in no file here, by their path in the snapshot.
    left_out:
        What lies beside the files and does not travel.
    """

    hash: str
    files: Mapping[str, Path]
    hashes: Mapping[str, str]
    main: str = ""
    made: Mapping[str, bytes] = MappingProxyType({})
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(
        cls,
        files: Mapping[str, Path],
        main: str = "",
        made: Mapping[str, bytes] = MappingProxyType({}),
        left_out: tuple[LeftOut, ...] = (),
    ) -> Code:
        """Hash files.

        Raises
        ------
        DataError
            An image or medical file is among them, they exceed 50 MB, or one cannot be read.
        """
        _refuse_images(files)
        try:
            _refuse_large(files)
            hashes = {name: file_sha256(path) for name, path in files.items()}
        except OSError as error:
            text = f"the code cannot be read: {error.filename}: {error.strerror or error}"
            raise DataError(text, "is it being changed? then run the same command again") from error
        hashes.update((name, hashlib.sha256(data).hexdigest()) for name, data in made.items())
        hashes = dict(sorted(hashes.items()))
        return cls(digest({"files": hashes, "main": main}), files, hashes, main, made, left_out)

    def packed(self) -> str:
        """Return all of it as one text, for a host (`jobs.asking.unpack`)."""
        return pack({**{name: path.read_bytes() for name, path in self.files.items()}, **self.written()})

    def written(self) -> dict[str, bytes]:
        """Return what lies in no file here: contents by their path in the snapshot."""
        return {**self.made, **({"__main__.py": self.main.encode()} if self.main else {})}

    def programs(self) -> list[str]:
        """Return the files that may be executed."""
        return [name for name, path in self.files.items() if os.access(path, os.X_OK)]


def trainer_code() -> dict[str, Path]:
    """Return the files of the packages `trainer` and `jobs`, by their path in the snapshot.

    Raises
    ------
    OrchError
        One of them is not ours, or not installed.
    """
    return {**_package("trainer"), **_package("jobs")}


def _package(package: str) -> dict[str, Path]:
    check_package(package)
    found = importlib.util.find_spec(package)
    folder = Path(str(found.origin)).parent if found else Path()
    return {f"{package}/{path.relative_to(folder).as_posix()}": path for path in _installed(folder)}


def _installed(folder: Path) -> Iterator[Path]:
    """The plain files of an installed package; whether it lies in somebody's repository is no matter."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not filelist.is_skipped(name))
        paths = (Path(root, name) for name in sorted(names) if not filelist.is_skipped(name))
        yield from (path for path in paths if path.is_file())


def listed_code(base: Path, entries: Iterable[str]) -> FileList:
    """Return the files that `code:` lists, by their path relative to `base`; git is asked what it ignores of folders.

    Raises
    ------
    UsageError
        An entry does not exist, or lies outside of `base`.
    DataError
        An image or medical file is among them, or git refuses.
    """
    found = filelist.of_entries(base, entries)
    _refuse_images(found.files)
    return found


def notebook_code(base: Path, name: str, entries: Iterable[str]) -> Code:
    """Return what a sweep of a notebook runs: the notebook without its outputs, what `code:` lists, and its runner.

    Opening and running the notebook by hand does not change this code: outputs are no part of it.

    Raises
    ------
    OrchError
        See `listed_code` and `jobs.notebook.read`.
    """
    found = listed_code(base, entries)
    files = {f"{PROJECT}/{path}": place for path, place in found.files.items()}
    bare = notebook.without_outputs(notebook.read(str(base / name)).document)
    text = json.dumps({**bare, "metadata": {}}, ensure_ascii=False, indent=1, sort_keys=True)
    made = {f"{PROJECT}/{name}": text.encode()}
    program = Path(__file__).with_name("notebook_program.py").read_text("utf-8")
    return Code.of({**_package("jobs"), **files}, program, made, found.left_out)


def project_code(base: Path) -> Code:
    """Return the code of a command that lists none: the whole project, without images and what git ignores.

    Raises
    ------
    DataError
        Git refuses to say what it ignores, or the files exceed 50 MB.
    """
    found = filelist.of_folder(base)
    files = {name: path for name, path in found.files.items() if not name.lower().endswith(REFUSED)}
    images = [LeftOut(name, "image or medical file") for name in found.files if name not in files]
    return Code.of(files, left_out=(*found.left_out, *images))


def _refuse_images(files: Mapping[str, Path]) -> None:
    images = [name for name in files if name.lower().endswith(REFUSED)]
    if images:
        shown = ", ".join(images[:3]) + (f" and {len(images) - 3} more" if len(images) > 3 else "")
        text = f"image or medical files do not belong into a code snapshot: {shown}"
        raise DataError(text, "list only the code in `code:`; let the program read data by its path")


def take(home: Home, code: Code) -> Snapshot:
    """Copy code to the home, unless the same content is there already.

    Raises
    ------
    DiskError
        The home cannot be written.
    """
    target = Path(home.code, code.hash)
    if not date(str(target)):
        try:
            with private(home.path):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_json(f"{target}.json", {"contract": CONTRACT, "hash": code.hash, "files": code.hashes})
                _copy(code, target)
        except OSError as error:
            raise disk_error(error, str(target)) from error
    return Snapshot(code.hash, str(target), code.hashes)


def _refuse_large(files: Mapping[str, Path]) -> None:
    total = sum(path.stat().st_size for path in files.values())
    if total > LARGEST:
        largest = max(files, key=lambda name: files[name].stat().st_size)
        text = f"the code snapshot would hold {total / 2**20:.0f} MB (at most {LARGEST // 2**20}); largest: {largest}"
        raise DataError(text, "list only the code in `code:`")


def _copy(code: Code, target: Path) -> None:
    """Build the folder aside, then rename it: it appears whole, and the first of two wins."""
    beside = Path(aside(str(target)))
    try:
        beside.mkdir()
        for name, path in code.files.items():
            place = beside / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod((0o770 if os.access(path, os.X_OK) else 0o660) & ~mask(str(target.parent.parent)))
        for name, data in code.written().items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(data)
        _settle(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _settle(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # else somebody was faster, with the same content
            raise


def take_trainer(home: Home) -> Snapshot:
    """Copy the trainer as it is installed here."""
    return take(home, the_trainer())


def the_trainer() -> Code:
    """Return the trainer as it is installed here, with its start."""
    return Code.of(trainer_code(), _MAIN)


def recorded(home: Home, number: str) -> Snapshot:
    """Return a snapshot taken before.

    Raises
    ------
    OrchError
        It is no longer in the home.
    """
    target = Path(home.code, number)
    known = read_json(f"{target}.json")
    if known is None or not target.is_dir():
        text = f"the code snapshot {number} is not in {home.code}"
        raise OrchError(text, "run the sweep with --rerun changed", lacks=number)
    return Snapshot(number, str(target), known["files"])


def changed_files(old: Snapshot, new: Snapshot) -> list[str]:
    """Return the names of the files that differ, were added or are gone, in order."""
    names = {*old.files, *new.files}
    return sorted(name for name in names if old.files.get(name) != new.files.get(name))
