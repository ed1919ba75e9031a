"""Data sets: registered once under a name, with hashes, patients and pseudonyms; splits are kept beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.atomic import digest, read_json, write_json
from jobs.errors import NotFound, UsageError, disk_error
from jobs.folder import Home, valid_name
from jobs.homes import private

from .config import DataSource
from .plan import DataSet, Split
from .program import Program, Progress
from .words import did_you_mean

SPLIT_SEED = 0  # the same patients in the same folds for every sweep of a data set


def names(home: Home) -> list[str]:
    """Return the names of all registered data sets."""
    return sorted(path.parent.name for path in Path(home.data).glob("*/manifest.json"))


def manifest(home: Home, name: str, others: Iterable[str] = ()) -> dict[str, Any]:
    """Return the manifest of a registered data set; `others` are names known elsewhere, for the message.

    Raises
    ------
    NotFound
        There is none; the nearest name is given.
    """
    found = read_json(home.manifest(name))
    if found is None:
        known = sorted({*names(home), *others})
        listed = f"known: {', '.join(known)}; " if known else ""
        raise NotFound(
            f"no data set named '{name}'{did_you_mean(name, known)}",
            f"{listed}orch data add {name if valid_name(name) else 'NAME'} IMAGES LABELS",
            known=known,
        )
    return dict(found)


def lookup(home: Home, name: str, others: Iterable[str] = ()) -> DataSet:
    """Return a registered data set.

    Raises
    ------
    NotFound
        There is none of that name.
    """
    return DataSet.of(manifest(home, name, others), home.manifest(name))


def scan(
    identity: Mapping[str, Any], program: Program, name: str, source: DataSource, progress: Progress | None = None
) -> dict[str, Any]:
    """Return the manifest of a data set, as the trainer sees it; nothing is written.

    Raises
    ------
    DataError
        A volume or mask cannot be used; the message names the file.
    """
    request = {**plain(source), "name": name, "secret": identity["secret"]}
    words = ("--progress",) if progress else ()
    found = program.ask("scan", *words, request=request, progress=progress)
    return {**found, "source": plain(source)}


def plain(source: DataSource) -> dict[str, Any]:
    """Return a source as JSON."""
    return {**source._asdict(), "classes": list(source.classes) if source.classes else None}


def save(home: Home, name: str, document: Mapping[str, Any], replace: bool = False) -> DataSet:
    """Write a manifest under a name.

    Raises
    ------
    UsageError
        The name cannot be used, or stands for other contents and `replace` is false.
    DiskError
        The home cannot be written.
    """
    if not valid_name(name):
        raise UsageError(f"'{name}' cannot name a data set", "use letters, digits and . _ + -")
    path = Path(home.manifest(name))
    former = read_json(path)
    if former is not None and former["hash"] != document["hash"] and not replace:
        raise UsageError(
            f"the data set {name} is registered with other contents ({former['hash']}, now {document['hash']})",
            "choose another name, or --replace: unfinished jobs on the former contents then cannot go on",
        )
    try:
        with private(home.path):  # it holds real file names
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**document, "name": name})
    except OSError as error:
        raise disk_error(error, str(path)) from error
    return lookup(home, name)


def ensure(
    home: Home,
    identity: Mapping[str, Any],
    program: Program,
    name: str,
    source: DataSource,
    progress: Progress | None = None,
) -> tuple[DataSet, bool]:
    """Return the data set of a source, registering it when it is new; the flag tells whether it was.

    Raises
    ------
    DataError
        A volume or mask cannot be used.
    UsageError
        The name stands for other contents.
    """
    known = read_json(home.manifest(name))
    if known is not None and known.get("source") == plain(source):
        return DataSet.of(known, home.manifest(name)), False
    return save(home, name, scan(identity, program, name, source, progress)), True


def derived_name(source: DataSource) -> str:
    """Return a name for a source that has none: its folder's name and four digits of its hash."""
    first = Path(source.images or source.csv or "data")
    parts = [part for part in first.parts if valid_name(part) and part.lower() not in _USUAL and "*" not in part]
    word = re.sub(r"\.csv$", "", parts[-1]) if parts else "data"
    return f"{word}-{digest(plain(source), 4)}"


_USUAL = frozenset({"imagestr", "labelstr", "images", "labels", "masks", "data"})  # say nothing about the data


def split(home: Home, program: Program, data: DataSet, folds: int, inner: float) -> Split:
    """Return the split of a data set, made once by the trainer and kept beside the manifest.

    Raises
    ------
    DataError
        It cannot be split so: fewer patients than folds, a test part without any mask.
    """
    for path in sorted(Path(data.manifest).parent.glob("split-*.json")):
        known = read_json(path) or {}
        wanted = (data.hash, folds, inner, SPLIT_SEED)
        if (known.get("data"), len(known.get("folds", ())), known.get("inner"), known.get("seed")) == wanted:
            return Split(str(known["hash"]), str(path))
    request = {"manifest": data.manifest, "folds": folds, "inner": inner, "seed": SPLIT_SEED}
    document = program.ask("split", request=request)
    path = Path(home.split(data.name, str(document["hash"])))
    try:
        with private(home.path):
            write_json(path, document)
    except OSError as error:
        raise disk_error(error, str(path)) from error
    return Split(str(document["hash"]), str(path))


def missing_files(document: Mapping[str, Any]) -> list[str]:
    """Return the images and masks of a manifest that are no longer there."""
    paths = (case[key] for case in document["cases"] for key in ("image", "label"))
    return [path for path in paths if not Path(path).exists()]
