"""Registering a data set: every volume is read and checked once, hashed, and given a pseudonym."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jobs import CONTRACT
from jobs.atomic import digest
from jobs.errors import DataError, UsageError

from . import nifti
from .pairs import Pair, find

PSEUDONYM = 8  # hexadecimal digits: a clash among 1,000 patients has a chance of 1 in 10,000, and is refused
SIZE_STEP = 16  # slice sides are multiples of it: a U-Net of depth 4 halves four times
_APART = 0.05  # voxels: image and mask count as displaced above it; rounding in headers stays below
_KEYS = ("name", "images", "labels", "csv", "groups", "classes", "secret")
_SHOWN = 5  # problems in one message

# How file names tell the patient, most certain first; each suits a set only where it makes real groups.
_GROUPINGS = (
    r"^(sub-[A-Za-z0-9]+)_.*$",
    r"^(.*?\d)[_-]?(?:scan|visit|ses|session|exam|time|tp|t|v|s)[_-]?\d+$",
    r"^(.*\d)(?:[_-]?[a-d])?$",
    r"^(.*?\d)(?:[_-][1-9])?$",
)
Progress = Callable[[int, int], None]


class Seen(NamedTuple):
    """What one pair is, once read."""

    pair: Pair
    image_sha256: str
    label_sha256: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    labels: list[int]


def scan(request: Mapping[str, Any], progress: Progress | None = None) -> dict[str, Any]:
    """Check a data set and return its manifest.

    Parameters
    ----------
    request:
        `name`, `images`, `labels`, `csv` (see `trainer.pairs.find`), `groups` (None, a regular expression with one
        group, or case -> patient), `classes` (names of the foreground labels 1..n, or None), `secret` (hexadecimal key
        of the pseudonyms).
    progress:
        Called with (pairs read, all pairs).

    Raises
    ------
    DataError
        A volume cannot be used, or image and mask do not fit; several are told together.
    UsageError
        The request has an unknown key, no secret, or a pattern without exactly one group.
    """
    _check_request(request)
    pairs = find(request.get("images"), request.get("labels"), request.get("csv"))
    groups = _groups(pairs, request.get("groups"))
    seen = _read_all(pairs, progress)
    classes = _classes(request, pairs, seen)
    _check_copies(seen, groups)
    cases = _cases(seen, groups, bytes.fromhex(request["secret"]))
    manifest: dict[str, Any] = {
        "contract": CONTRACT,
        "name": str(request.get("name") or ""),
        "hash": content_hash(cases, classes),
        "classes": classes,
        "layout": {key: request.get(key) for key in ("images", "labels", "csv")},
        "cases": cases,
        "sizes": {str(axis): list(auto_size({"cases": cases}, axis)) for axis in range(3)},
        "notes": _notes(seen),
    }
    if not request.get("groups") and not any(pair.group for pair in pairs):
        manifest["suggested_groups"] = _suggestion([pair.case for pair in pairs])
    return manifest


def content_hash(cases: Iterable[Mapping[str, Any]], classes: Sequence[str]) -> str:
    """Return the hash of a data set's contents: independent of paths, names, pseudonyms and order."""
    patients: dict[str, list[list[str]]] = defaultdict(list)
    for case in cases:
        patients[case["group"]].append([case["image_sha256"], case["label_sha256"]])
    return digest({"patients": sorted(sorted(pairs) for pairs in patients.values()), "classes": list(classes)})


def auto_size(manifest: Mapping[str, Any], axis: int) -> tuple[int, int]:
    """Return the smallest (H, W), multiples of 16, that holds every slice along `axis` (0, 1 or 2)."""
    planes = [[side for index, side in enumerate(case["shape"]) if index != axis] for case in manifest["cases"]]
    height, width = (-(-max(sides) // SIZE_STEP) * SIZE_STEP for sides in zip(*planes, strict=True))
    return height, width


def guess_groups(names: Sequence[str]) -> str | None:
    """Return a regular expression with one group (the patient) if the names show several scans of some patients."""
    for pattern in _GROUPINGS:
        matches = [re.match(pattern, name) for name in names]
        patients = {match[1] for match in matches if match}
        if all(matches) and len(names) / 3 <= len(patients) < len(names):
            return pattern
    return None


def _check_request(request: Mapping[str, Any]) -> None:
    for key in request:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            raise UsageError(
                f"scan knows no key {key}" + (f"; did you mean {near[0]}?" if near else ""), f"keys: {', '.join(_KEYS)}"
            )
    if not re.fullmatch(r"([0-9a-f]{2}){8,}", str(request.get("secret"))):
        raise UsageError(
            "scan needs a secret of at least 16 hexadecimal digits", "it stands in home.json of the orch home"
        )


def _groups(pairs: Sequence[Pair], wanted: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return case -> patient; without any word on it each case is a patient of its own."""
    if wanted is None:
        return {pair.case: pair.group or pair.case for pair in pairs}
    if isinstance(wanted, str):
        pattern = _pattern(wanted)
        found = {pair.case: match[1] for pair in pairs if (match := pattern.search(pair.case)) and match[1]}
    else:
        found = {pair.case: str(wanted[pair.case]) for pair in pairs if pair.case in wanted}
    lacking = [pair.case for pair in pairs if pair.case not in found]
    if lacking:
        raise DataError(
            f"groups tells no patient for {len(lacking)} of {len(pairs)} cases, for example {lacking[0]}",
            "make the pattern match every case name, or list every case",
        )
    return found


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"groups is no regular expression: {error}", r"for example ^(P\d+)_ for P07_a") from error
    if pattern.groups != 1:
        raise UsageError(
            f"groups has {pattern.groups} groups in parentheses, not one", r"for example ^(P\d+)_ for P07_a"
        )
    return pattern


def _read_all(pairs: Sequence[Pair], progress: Progress | None) -> list[Seen]:
    """Read all pairs, two at a time and more where there are cores (unpacking and hashing run side by side)."""
    seen: list[Seen] = []
    problems: list[DataError] = []
    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
        for done, result in enumerate(pool.map(_attempt, pairs), start=1):
            if isinstance(result, DataError):
                problems.append(result)
            else:
                seen.append(result)
            if progress:
                progress(done, len(pairs))
    if problems:
        raise _together(problems)
    return seen


def _attempt(pair: Pair) -> Seen | DataError:
    try:
        return look(pair)
    except DataError as error:
        return error


def _together(problems: list[DataError]) -> DataError:
    if len(problems) == 1:
        return problems[0]
    lines = [problem.message for problem in problems[:_SHOWN]]
    more = f"\n  … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return DataError(
        f"{len(problems)} pairs cannot be used:\n  " + "\n  ".join(lines) + more,
        problems[0].hint,
        problems=[problem.to_json() for problem in problems],
    )


def look(pair: Pair) -> Seen:
    """Read and check one pair.

    Raises
    ------
    DataError
        A file cannot be used, or shapes or affines differ.
    """
    image, mask = nifti.read_image(pair.image), nifti.read_mask(pair.label)
    shape, other = image.data.shape, mask.data.shape
    if shape != other:
        raise DataError(
            f"{pair.image.name} is {_by(shape)} voxels, its mask {_by(other)}",
            "draw or resample the mask on this very image, then save it again",
            paths=[str(pair.image), str(pair.label)],
        )
    distance = _displacement(image, mask)
    if distance > _APART * min(image.spacing):
        raise DataError(
            f"{pair.image.name} and its mask have different affines: they lie up to {distance:.3g} mm apart",
            "save the mask with the affine of its image (same origin, direction and voxel size)",
            paths=[str(pair.image), str(pair.label)],
        )
    labels = np.flatnonzero(np.bincount(mask.data.ravel(order="K"))).tolist()
    return Seen(pair, image.sha256, mask.sha256, shape, image.spacing, _orientation(image), labels)


def _displacement(image: nifti.Volume, mask: nifti.Volume) -> float:
    """Return the largest distance between the two places of one voxel in mm; it is reached at a corner."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, side - 1) for side in image.data.shape))])
    return float(np.linalg.norm(corners @ (image.affine - mask.affine).T, axis=1).max())


def _orientation(volume: nifti.Volume) -> str:
    """Return where the array axes point to, for example RAS (right, anterior, superior)."""
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    largest = np.abs(directions).argmax(axis=0)
    names = ("LR", "PA", "IS")
    return "".join(names[row][int(directions[row, column] > 0)] for column, row in enumerate(largest))


def _classes(request: Mapping[str, Any], pairs: Sequence[Pair], seen: Sequence[Seen]) -> list[str]:
    present = sorted({label for item in seen for label in item.labels} - {0})
    if not present:
        raise DataError("all masks are empty: no voxel has a label", "look whether the labels folder is the right one")
    named = request.get("classes") or _dataset_json(pairs[0])
    classes = list(named) if named else _default_classes(present, seen)
    odd = next((item for item in seen if item.labels and item.labels[-1] > len(classes)), None)
    if odd:
        raise DataError(
            f"{odd.pair.label.name} holds the label {odd.labels[-1]}, but there are {len(classes)} classes: "
            + ", ".join(classes),
            "name all classes, or write the mask with the labels 0 to " + str(len(classes)),
            path=str(odd.pair.label),
        )
    return classes


def _default_classes(present: list[int], seen: Sequence[Seen]) -> list[str]:
    count = len(present)
    if present != list(range(1, count + 1)):
        odd = next(item for item in seen if present[-1] in item.labels)
        raise DataError(
            f"the masks hold the labels {', '.join(map(str, present))} (the last in {odd.pair.label.name}), "
            f"not 1 to {count}",
            "write the masks with 0 for background and 1, 2, … for the classes, or name all classes",
            path=str(odd.pair.label),
        )
    return ["foreground"] if count == 1 else [f"label {label}" for label in present]


def _dataset_json(pair: Pair) -> list[str] | None:
    """Return the class names of a `dataset.json` beside the images' folder (both of nnU-Net's forms)."""
    path = pair.image.parent.parent / "dataset.json"
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["labels"]
        if all(isinstance(value, int) for value in table.values()):
            table = {value: name for name, value in table.items()}
        names = {int(value): str(name) for value, name in table.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} does not say which label is which class",
            'write "labels": {"background": 0, "duct": 1}, or move the file elsewhere',
            path=str(path),
        ) from error
    if sorted(names) != list(range(len(names))) or len(names) < 2:
        raise DataError(
            f"{path} names the labels {', '.join(map(str, sorted(names)))}, not 0 to n",
            "number the classes 1, 2, … in masks and file",
            path=str(path),
        )
    return [names[value] for value in range(1, len(names))]


def _check_copies(seen: Sequence[Seen], groups: Mapping[str, str]) -> None:
    """Refuse one image under two patients: it would be trained on and tested on."""
    first: dict[str, Seen] = {}
    for item in seen:
        twin = first.setdefault(item.image_sha256, item)
        if groups[twin.pair.case] != groups[item.pair.case]:
            raise DataError(
                f"{twin.pair.image.name} and {item.pair.image.name} are the same image, counted as two patients",
                "delete one of the two, or put both into one group",
                paths=[str(twin.pair.image), str(item.pair.image)],
            )


def _cases(seen: Sequence[Seen], groups: Mapping[str, str], secret: bytes) -> list[dict[str, Any]]:
    cases = [
        {
            "case": _pseudonym("c", item.pair.case, secret),
            "group": _pseudonym("p", groups[item.pair.case], secret),
            "image": str(item.pair.image.absolute()),
            "label": str(item.pair.label.absolute()),
            "image_sha256": item.image_sha256,
            "label_sha256": item.label_sha256,
            "shape": list(item.shape),
            "spacing": list(item.spacing),
            "labels": item.labels,
        }
        for item in seen
    ]
    names = len({case["case"] for case in cases}), len({case["group"] for case in cases})
    if names != (len(seen), len(set(groups.values()))):
        raise DataError("two names give the same pseudonym", "rename one file a little and run the same command again")
    return cases


def _pseudonym(prefix: str, name: str, secret: bytes) -> str:
    return f"{prefix}-{hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM]}"


def _notes(seen: Sequence[Seen]) -> list[str]:
    notes = []
    orientations = sorted({item.orientation for item in seen})
    if len(orientations) > 1:
        notes.append(
            f"the volumes are stored in {len(orientations)} orientations ({', '.join(orientations)}): slices along one "
            "axis will show different planes; store all in one orientation"
        )
    empty = sum(not set(item.labels) - {0} for item in seen)
    if empty:
        notes.append(f"{empty} of {len(seen)} masks are empty: their Dice is undefined")
    return notes


def _suggestion(names: Sequence[str]) -> dict[str, Any] | None:
    """Return the pattern that the names suggest, and the patients with several scans that it finds."""
    pattern = guess_groups(names)
    if pattern is None:
        return None
    patients: dict[str, list[str]] = defaultdict(list)
    for name in names:
        match = re.match(pattern, name)
        patients[match[1] if match else name].append(name)
    return {"pattern": pattern, "examples": [found for found in patients.values() if len(found) > 1][:3]}


def _by(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))
