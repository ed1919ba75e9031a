"""Volumes as 2D slices: decoded once into memory-mapped arrays that all jobs of a host share.

A volume is normalised as a whole (z-score over all its voxels), cut into slices along one array axis, and each slice is
padded (with 0, the volume's mean) or cropped around its centre. Nothing is resampled. The arrays hold no names: a case
is found in them by the hashes of its two files, so that equal data under other names shares one cache.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.atomic import digest, read_json, write_json
from jobs.errors import DataError, UsageError

from . import cache, nifti
from .scan import auto_size

__all__ = ["CaseSlices", "Slices", "auto_size", "cache_key", "load", "normalise"]

FORMAT = 1  # raised when the arrays' meaning changes: old caches are then built anew
_IMAGES, _MASKS, _INDEX = "images.npy", "masks.npy", "index.json"


@dataclass(frozen=True)
class CaseSlices:
    """One case of the arrays.

    Attributes
    ----------
    case, group:
        Pseudonyms, as in the manifest.
    first, count:
        Its slices are the rows `first` to `first + count - 1`, in order along the axis.
    shape:
        (H, W) of a slice before padding or cropping.
    offset:
        (row, column) of the stored slice's corner in the original one; negative where it was padded.
    spacing:
        (H, W, between slices) in mm.
    """

    case: str
    group: str
    first: int
    count: int
    shape: tuple[int, int]
    offset: tuple[int, int]
    spacing: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0


class Slices(NamedTuple):
    """All slices of a data set, read-only, in the order of the cache (by content).

    Attributes
    ----------
    images:
        (N, 1, H, W) float16, z-scores.
    masks:
        (N, H, W) uint8 labels, 0 is background.
    case_of:
        (N,) index into `cases` for each slice.
    cases:
        In the order of the manifest.
    classes:
        Names of the labels 1..n.
    """

    images: NDArray[np.float16]
    masks: NDArray[np.uint8]
    case_of: NDArray[np.int64]
    cases: tuple[CaseSlices, ...]
    classes: tuple[str, ...]

    def rows(self, cases: Iterable[str]) -> NDArray[np.int64]:
        """Return the rows (n,) of some cases, given by pseudonym: in their order, and along the axis within each.

        Raises
        ------
        DataError
            A case is unknown.
        """
        known = {item.case: item for item in self.cases}
        try:
            chosen = [known[case] for case in cases]
        except KeyError as error:
            raise DataError(f"the data set has no case {error}", "make the split again: orch data split") from error
        ranges = [np.arange(item.first, item.first + item.count) for item in chosen]
        return np.concatenate(ranges) if ranges else np.empty(0, np.int64)


def load(manifest: Mapping[str, Any], axis: int, size: tuple[int, int]) -> Slices:
    """Return a data set's slices, decoding the volumes only if no job has done so before.

    Parameters
    ----------
    manifest:
        What `trainer.scan.scan` returned.
    axis:
        Array axis (0, 1 or 2) that is cut; H and W are the two others, in order.
    size:
        (H, W) of the stored slices.

    Raises
    ------
    DataError
        A file changed since it was registered, or cropping to `size` would cut labelled voxels.
    UsageError
        `axis` or `size` is out of range.
    DiskError
        The cache cannot be written.
    """
    if axis not in (0, 1, 2) or min(size) < 1:
        raise UsageError(
            f"axis {axis}, size {list(size)}: no such slices", "axis is 0, 1 or 2; size is [rows, columns]"
        )
    folder = cache.root() / "slices" / cache_key(manifest, axis, size)
    cache.obtain(folder, lambda place: _build(place, manifest, axis, size), _whole)
    return _open(folder, manifest, axis, size)


def cache_key(manifest: Mapping[str, Any], axis: int, size: tuple[int, int]) -> str:
    """Return the name of the cache folder: a hash of content, axis, size and format."""
    return digest({"data": manifest["hash"], "axis": axis, "size": list(size), "format": FORMAT}, 32)


def normalise(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a volume's z-scores over all its voxels; a volume of one single value becomes 0."""
    mean, deviation = float(volume.mean(dtype=np.float64)), float(volume.std(dtype=np.float64))
    return (volume - np.float32(mean)) / np.float32(deviation or 1.0)


def _content(case: Mapping[str, Any]) -> tuple[str, str]:
    return case["image_sha256"], case["label_sha256"]


def _build(place: Path, manifest: Mapping[str, Any], axis: int, size: tuple[int, int]) -> None:
    """Fill a folder. Plain writes, not a writable memory map: on a full disk that would end in SIGBUS."""
    cases = sorted(manifest["cases"], key=_content)
    total = sum(case["shape"][axis] for case in cases)
    with (place / _IMAGES).open("wb") as images, (place / _MASKS).open("wb") as masks:
        _header(images, "<f2", (total, 1, *size))
        _header(masks, "|u1", (total, *size))
        for case in cases:
            image, mask = _decode(case)
            _refuse_cut(case, mask, axis, size, manifest)
            images.write(_planes(normalise(image).astype(np.float16), axis, size).tobytes())
            masks.write(_planes(mask, axis, size).tobytes())
    write_json(place / _INDEX, {"cases": [_content(case) for case in cases], "slices": total}, sync=False)


def _header(handle: Any, kind: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(handle, {"descr": kind, "fortran_order": False, "shape": shape})


def _decode(case: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    image, mask = nifti.read_image(Path(case["image"])), nifti.read_mask(Path(case["label"]))
    for path, found, known in (
        (case["image"], image.sha256, case["image_sha256"]),
        (case["label"], mask.sha256, case["label_sha256"]),
    ):
        if found != known:
            raise DataError(
                f"{path} changed since the data set was registered",
                "put the old file back, or register the data set again: orch data add",
                path=path,
            )
    return image.data, mask.data


def _refuse_cut(
    case: Mapping[str, Any], mask: NDArray[np.uint8], axis: int, size: tuple[int, int], manifest: Mapping[str, Any]
) -> None:
    kept = _planes(mask, axis, size)
    lost = int(np.count_nonzero(mask)) - int(np.count_nonzero(kept))
    if lost:
        fits = list(auto_size(manifest, axis))
        raise DataError(
            f"slices of {size[0]} x {size[1]} would cut off {lost} labelled voxels of {case['label']}",
            f"use size: {fits}, which holds every slice",
            path=case["label"],
            fits=fits,
        )


def _planes(volume: NDArray[Any], axis: int, size: tuple[int, int]) -> NDArray[Any]:
    """Return (n, H, W) slices, padded with 0 or cropped around the centre."""
    planes = np.moveaxis(volume, axis, 0)
    out = np.zeros((planes.shape[0], *size), volume.dtype)
    (to_rows, from_rows), (to_columns, from_columns) = map(_overlap, planes.shape[1:], size)
    out[:, to_rows, to_columns] = planes[:, from_rows, from_columns]
    return out


def _offset(before: int, after: int) -> int:
    """Return where a centred window of length `after` begins in `before` (negative: padding)."""
    return (before - after) // 2


def _overlap(before: int, after: int) -> tuple[slice, slice]:
    """Return where the kept part lies in the window, and in the original."""
    begin = _offset(before, after)
    length = min(before, after)
    return slice(max(-begin, 0), max(-begin, 0) + length), slice(max(begin, 0), max(begin, 0) + length)


def _whole(folder: Path) -> bool:
    index = read_json(folder / _INDEX)
    if not isinstance(index, dict):
        return False
    try:
        images, masks = _arrays(folder)
    except (OSError, ValueError):
        return False
    return len(images) == len(masks) == index.get("slices")


def _arrays(folder: Path) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Map both arrays; a file that is too short raises ValueError."""
    images, masks = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (_IMAGES, _MASKS))
    return images, masks


def _open(folder: Path, manifest: Mapping[str, Any], axis: int, size: tuple[int, int]) -> Slices:
    images, masks = _arrays(folder)
    stored = (read_json(folder / _INDEX) or {})["cases"]
    places: dict[tuple[str, str], list[int]] = defaultdict(list)  # a list: one patient may own one scan twice
    for position, (image, label) in enumerate(stored):
        places[image, label].append(position)
    position_of = [places[_content(case)].pop() for case in manifest["cases"]]
    counts = [0] * len(stored)
    for case, position in zip(manifest["cases"], position_of, strict=True):
        counts[position] = case["shape"][axis]
    firsts = np.concatenate([[0], np.cumsum(counts)])
    cases = tuple(
        _describe(case, int(firsts[position]), axis, size)
        for case, position in zip(manifest["cases"], position_of, strict=True)
    )
    case_of = np.repeat(np.argsort(position_of), counts)
    return Slices(images, masks, case_of, cases, tuple(manifest["classes"]))


def _describe(case: Mapping[str, Any], first: int, axis: int, size: tuple[int, int]) -> CaseSlices:
    plane = [index for index in range(3) if index != axis]
    height, width = (int(case["shape"][index]) for index in plane)
    spacing = tuple(float(case["spacing"][index]) for index in (*plane, axis))
    return CaseSlices(
        case=case["case"],
        group=case["group"],
        first=first,
        count=int(case["shape"][axis]),
        shape=(height, width),
        offset=(_offset(height, size[0]), _offset(width, size[1])),
        spacing=(spacing[0], spacing[1], spacing[2]),
    )
