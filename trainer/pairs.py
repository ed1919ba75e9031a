"""Which mask belongs to which image: folders with equal names, a pair of glob patterns, or a CSV file."""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from jobs.errors import DataError, UsageError

from .nifti import is_nifti, stem

_INSIDE = (("imagesTr", "labelsTr"), ("images", "labels"))  # folders looked for inside one root
_CHANNEL = re.compile(r"(.+)_(\d{4})$")  # nnU-Net writes case_0000.nii.gz for the first channel
_MAGIC = re.compile(r"[*?\[]")
_SHOWN = 3  # names in a message


class Pair(NamedTuple):
    """An image and its mask; `case` is the real name and stays on this machine; `group` only if the CSV names it."""

    case: str
    image: Path
    label: Path
    group: str | None = None


def find(images: str | None, labels: str | None, table: str | None) -> list[Pair]:
    """Return all pairs, sorted by name.

    Parameters
    ----------
    images, labels:
        Folders, or glob patterns (`**` allowed): the text that the wildcards match is the case's name, so that
        `scans/*/mr.nii.gz` and `scans/*/ducts.nii.gz` pair up. Without `labels`, `images` is a folder that holds
        `imagesTr` and `labelsTr`.
    table:
        CSV file with columns image, label and optionally group and case; paths count from its folder.

    Raises
    ------
    DataError
        Nothing is there, an image has no mask, a mask has no image, or a name stands twice.
    UsageError
        Neither a folder nor a table is given, or a wildcard has no counterpart.
    """
    if table:
        return _unique(_from_table(Path(table)))
    if not images:
        raise UsageError("no images are named", "give a folder, a glob pattern or a CSV file")
    images, labels = _sides(images, labels)
    return _unique(_match(_listing(images), _listing(labels), images, labels))


def _sides(images: str, labels: str | None) -> tuple[str, str]:
    if labels:
        return images, labels
    for first, second in _INSIDE:
        if (Path(images) / first).is_dir() and (Path(images) / second).is_dir():
            return str(Path(images) / first), str(Path(images) / second)
    raise DataError(
        f"{images} does not hold the folders imagesTr and labelsTr",
        "name both folders: --images FOLDER --labels FOLDER",
        path=images,
    )


def _listing(place: str) -> dict[str, Path]:
    """Return name -> file of a folder or a glob pattern."""
    if _MAGIC.search(place) and not Path(place).is_dir():
        return _by_wildcards(place)
    if not Path(place).is_dir():
        raise DataError(f"{place} is not a folder", "look at the path; is the disk mounted?", path=place)
    return {stem(path): path for path in sorted(Path(place).iterdir()) if is_nifti(path)}


def _by_wildcards(pattern: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    matcher = _wildcards(pattern)
    for path in sorted(map(Path, glob.glob(pattern, recursive=True))):  # noqa: PTH207  (Path.glob takes no absolute one)
        if not is_nifti(path):
            continue
        match = matcher.fullmatch(path.as_posix())
        name = "_".join(filter(None, match.groups())) if match else stem(path)
        name = stem(Path(name.replace("/", "_")))
        if name in found:
            raise DataError(
                f"{pattern} gives the name {name} to two files: {found[name]} and {path}",
                "use a CSV file with the columns image, label, case",
                path=str(path),
            )
        found[name] = path
    return found


def _wildcards(pattern: str) -> re.Pattern[str]:
    """Return a regular expression with one group for each wildcard."""
    rules = {"**/": "(?:(.*)/)?", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", Path(pattern).as_posix())
    classes = (f"([{part[1:-1].replace('!', '^', 1) if part[1:2] == '!' else part[1:-1]}])" for part in parts)
    return re.compile(
        "".join(
            rules.get(part) or (group if part[:1] == "[" and part[-1:] == "]" else re.escape(part))
            for part, group in zip(parts, classes, strict=True)
        )
    )


def _match(images: Mapping[str, Path], labels: Mapping[str, Path], where: str, other: str) -> list[Pair]:
    if not images:
        raise DataError(f"no .nii or .nii.gz file in {where}", "look at the path, or convert the images", path=where)
    images = _without_channel(images, labels)
    lonely = [images[name] for name in images if name not in labels]
    if lonely:
        raise DataError(
            f"{_count(lonely, 'image')} no mask of the same name in {other}: {_names(lonely)}",
            f"put the masks into {other}, or move these images elsewhere",
            paths=[str(path) for path in lonely],
        )
    spare = [labels[name] for name in labels if name not in images]
    if spare:
        raise DataError(
            f"{_count(spare, 'mask')} no image of the same name in {where}: {_names(spare)}",
            f"put the images into {where}, or move these masks elsewhere",
            paths=[str(path) for path in spare],
        )
    return [Pair(name, images[name], labels[name]) for name in sorted(images)]


def _without_channel(images: Mapping[str, Path], labels: Mapping[str, Path]) -> dict[str, Path]:
    """Drop nnU-Net's `_0000` where the mask has none.

    Raises
    ------
    DataError
        A case has a second channel.
    """
    named: dict[str, Path] = {}
    for name, path in images.items():
        match = _CHANNEL.match(name)
        if name in labels or not match or match[1] not in labels:
            named[name] = path
        elif match[2] == "0000":
            named[match[1]] = path
        else:
            raise DataError(
                f"{path} is a further channel of {match[1]}; one channel is read",
                "move the files of the other channels elsewhere",
                path=str(path),
            )
    return named


def _from_table(path: Path) -> list[Pair]:
    rows = _rows(path)
    lacking = {"image", "label"} - set(rows[0] if rows else {})
    if lacking:
        raise DataError(
            f"{path} has no rows with the columns {' and '.join(sorted(lacking))}",
            "its first line must read: image,label,group,case (the last two as you like)",
            path=str(path),
        )
    pairs = []
    for number, row in enumerate(rows, start=2):
        if not row["image"] or not row["label"]:
            raise DataError(
                f"{path}, line {number}: image or mask is missing", "fill in both, or delete the line", path=str(path)
            )
        image, label = (path.parent / row[key] for key in ("image", "label"))
        pairs.append(Pair(row.get("case") or stem(image), image, label, row.get("group") or None))
    return pairs


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"{path} cannot be read as UTF-8 text", "look at the path, save it as UTF-8", path=str(path)
        ) from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)  # spreadsheets write ; where the comma is the decimal sign
    rows = csv.DictReader(text.splitlines(), delimiter=separator)
    return [{str(key).strip().lower(): str(value or "").strip() for key, value in row.items() if key} for row in rows]


def _unique(pairs: Iterable[Pair]) -> list[Pair]:
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if pair.case in seen:
            raise DataError(
                f"the case {pair.case} stands twice: {seen[pair.case].image} and {pair.image}",
                "give each its own name in a column `case`, or delete one",
                path=str(pair.image),
            )
        seen[pair.case] = pair
    return [seen[case] for case in sorted(seen)]


def _count(paths: list[Path], noun: str) -> str:
    return f"1 {noun} has" if len(paths) == 1 else f"{len(paths)} {noun}s have"


def _names(paths: list[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(path.name for path in paths[:_SHOWN]) + more
