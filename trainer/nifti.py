"""NIfTI files: the one door to nibabel. Its exceptions end here, and no text of a header leaves.

A file is read once: its bytes are hashed, unpacked and decoded. Only shape, affine, voxel size and values go on; error
messages name the file, never what its header says (headers may hold a patient's name).
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.atomic import write_bytes
from jobs.errors import DataError, disk_error

SUFFIXES = (".nii.gz", ".nii")
LABEL_LIMIT = 255  # masks are kept as uint8
_WHOLE = 1e-3  # a label may be this far from a whole number: scale factors in headers are rounded
_UNITS = {"meter": 1000.0, "micron": 0.001}  # to mm; "mm" and "unknown" count as mm
_EXPORT = "export it again from the program that made it, or copy it again from its source"

# Every exception class of nibabel that reading or writing NIfTI can raise, and what we say instead.
# `tests/trainer/test_nifti.py` fails when nibabel gains a class that stands neither here nor among the other formats'.
TRANSLATED: dict[str, str] = {
    "nibabel.affines.AffineError": "its affine cannot be used",
    "nibabel.arraywriters.ScalingError": "its values do not fit the file's number type",
    "nibabel.arraywriters.WriterError": "its values do not fit the file's number type",
    "nibabel.casting.CastingError": "its values do not fit their number type",
    "nibabel.casting.FloatingError": "its number type is not known on this machine",
    "nibabel.filebasedimages.ImageFileError": "it is no NIfTI file",
    "nibabel.fileholders.FileHolderError": "it is no NIfTI file",
    "nibabel.filename_parser.TypesFilenamesError": "its name is not that of a NIfTI file",
    "nibabel.orientations.OrientationError": "its affine cannot be used",
    "nibabel.spatialimages.HeaderDataError": "its header is damaged",
    "nibabel.spatialimages.HeaderTypeError": "its header is of another format",
    "nibabel.spatialimages.ImageDataError": "its voxels cannot be read",
    "nibabel.wrapstruct.WrapStructError": "its header is damaged or too short",
}
_DAMAGE = (EOFError, OSError, zlib.error, struct.error, ValueError, OverflowError)


class Volume(NamedTuple):
    """One decoded file.

    Attributes
    ----------
    data:
        (X, Y, Z) voxels: float32 for an image, uint8 for a mask.
    affine:
        (4, 4) float64, voxel index to mm.
    spacing:
        Voxel size along the three array axes in mm.
    sha256:
        Of the file's bytes as stored.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    sha256: str


def read_image(path: Path) -> Volume:
    """Read an image as float32.

    Raises
    ------
    DataError
        The file is missing, empty, truncated, damaged, not 3D, or holds values that are not finite.
    """
    image, sha256 = _open(path)
    with _door(path), np.errstate(over="ignore", invalid="ignore"):
        data = _three(np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged")), path)
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        raise DataError(
            f"{path} holds {bad} voxels that are NaN or infinite",
            "find out where they come from, replace them (for example by 0) and save the image again",
            path=str(path),
        )
    return Volume(data, _affine(image, path), _spacing(image, path), sha256)


def read_mask(path: Path) -> Volume:
    """Read a mask as uint8 labels.

    Raises
    ------
    DataError
        As `read_image`; or a value is no whole number, negative, or above 255.
    """
    image, sha256 = _open(path)
    with _door(path):
        data = _three(np.asanyarray(image.dataobj), path)
    return Volume(_labels(data, path), _affine(image, path), _spacing(image, path), sha256)


def write(path: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write (X, Y, Z) voxels as `.nii.gz` in one step; equal voxels give equal bytes (no time, no file name inside).

    Raises
    ------
    DiskError
        The disk is full or not writable.
    DataError
        The number type has no NIfTI form.
    """
    with _door(path):
        image = _nibabel().Nifti1Image(data, affine)
        image.header.set_xyzt_units("mm")
        packed = gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)  # level 1: noise does not pack better
    try:
        write_bytes(path, packed, sync=False)
    except OSError as error:
        raise disk_error(error, str(path)) from error


def stem(path: Path) -> str:
    """Return a file's name without `.nii` or `.nii.gz`."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def is_nifti(path: Path) -> bool:
    """Tell whether a name looks like a NIfTI file (hidden files such as macOS's `._x.nii.gz` do not count)."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _open(path: Path) -> tuple[Any, str]:
    """Read a file once; return the nibabel image over its bytes, and the SHA-256 of the bytes."""
    stored = _bytes(path)
    sha256 = hashlib.sha256(stored).hexdigest()
    with _door(path), np.errstate(over="ignore", invalid="ignore"):  # a damaged header can hold any number
        raw = gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored
        image = _decode(raw)
        # Before anything is allocated: a damaged header can claim thousands of gigabytes.
        if image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize > len(raw):
            raise EOFError
    kind = image.get_data_dtype()
    if kind.fields or kind.kind == "c":
        raise DataError(
            f"{path} holds colours or complex numbers, not one real number per voxel",
            "save one channel (or the magnitude) as a 3D volume of numbers",
            path=str(path),
        )
    return image, sha256


def _bytes(path: Path) -> bytes:
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", "look at the path and its permissions", path=str(path)
        ) from error
    if not stored:
        raise DataError(f"{path} is empty (0 bytes)", _EXPORT, path=str(path))
    return stored


def _nibabel() -> Any:
    """Import nibabel when it is needed: it takes longer than all of a short command."""
    import nibabel

    nibabel.imageglobals.logger.setLevel(logging.CRITICAL)  # it writes what headers say to stderr
    return nibabel


def _decode(raw: bytes) -> Any:
    second = raw[:4] in (struct.pack("<i", 540), struct.pack(">i", 540))  # header length of NIfTI-2
    return (_nibabel().Nifti2Image if second else _nibabel().Nifti1Image).from_bytes(raw)


@contextmanager
def _door(path: Path) -> Iterator[None]:
    """Translate what nibabel, and the unpacking under it, can raise."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        reason = TRANSLATED.get(_full_name(type(error)), "its bytes end early or are damaged")
        raise DataError(f"{path} is truncated or damaged: {reason}", _EXPORT, path=str(path)) from error
    except Exception as error:
        if _full_name(type(error)) not in TRANSLATED:
            raise
        reason = TRANSLATED[_full_name(type(error))]
        raise DataError(f"{path} cannot be used: {reason}", _EXPORT, path=str(path)) from error


def _full_name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _three(data: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return 3D voxels; a fourth axis of length 1 is dropped, since it says nothing."""
    shape = data.shape
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 3 and data.size:
        return data
    raise DataError(
        f"{path} has {len(shape)} dimensions ({' x '.join(map(str, shape))}), not 3",
        "save one volume (one time point, one echo) per file",
        path=str(path),
    )


def _labels(data: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if data.dtype.kind == "f":
        rounded = np.rint(data)
        with np.errstate(invalid="ignore"):
            odd = ~(np.abs(rounded - data) <= _WHOLE)  # NaN and infinity are odd as well
        if odd.any():
            raise DataError(
                f"{path} holds values that are no whole numbers (for example {float(data[odd][0]):.4g})",
                "save the mask as whole numbers; if it was resampled, use nearest neighbour instead of linear",
                path=str(path),
            )
        data = rounded
    low, high = int(data.min()), int(data.max())
    if low < 0 or high > LABEL_LIMIT:
        raise DataError(
            f"{path} holds the label {low if low < 0 else high}; labels go from 0 to {LABEL_LIMIT}",
            "save the mask with 0 for background and 1, 2, … for the classes",
            path=str(path),
        )
    return data.astype(np.uint8, copy=False)


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(
            f"{path} has an affine that maps no volume", "set its orientation again and save it", path=str(path)
        )
    return affine


def _spacing(image: Any, path: Path) -> tuple[float, float, float]:
    zooms = [float(value) for value in image.header.get_zooms()[:3]]
    if not all(np.isfinite(value) and value > 0 for value in zooms):
        raise DataError(
            f"{path} has no usable voxel size", "set its voxel size in mm and save it again", path=str(path)
        )
    factor = _UNITS.get(image.header.get_xyzt_units()[0], 1.0)
    x, y, z = (round(value * factor, 6) for value in zooms)
    return x, y, z
