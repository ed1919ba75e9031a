"""Reading NIfTI: values, damage of every kind, and the one door to nibabel."""

from __future__ import annotations

import gzip
import importlib
import inspect
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.errors import DataError, DiskError
from trainer import nifti

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
# Their exceptions cannot come out of a NIfTI-1 or NIfTI-2 file.
OTHER_FORMATS = ["brikhead", "cifti2", "data", "deprecated", "deprecator", "dft", "freesurfer", "gifti", "minc1"]
OTHER_FORMATS += ["minc2", "mriutils", "nicom", "parrec", "streamlines", "tripwire"]


def exceptions_of_nibabel() -> set[type[BaseException]]:
    found: set[type[BaseException]] = set()
    for module in pkgutil.walk_packages(nibabel.__path__, "nibabel."):
        parts = module.name.split(".")
        if {"tests", "benchmarks", "cmdline", "testing", "pkg_info"} & set(parts):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                loaded = importlib.import_module(module.name)
            except Exception:
                continue  # needs a library that is not here
        found |= {
            value
            for _, value in inspect.getmembers(loaded, inspect.isclass)
            if issubclass(value, Exception)
            and not issubclass(value, Warning)
            and value.__module__.startswith("nibabel")
        }
    return found


def unmapped(kinds: set[type[BaseException]]) -> list[str]:
    """Names of the exceptions that would pass the door untranslated, other formats' left out."""
    named = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
    return sorted(name for name in named - set(nifti.TRANSLATED) if name.split(".")[1] not in OTHER_FORMATS)


def test_every_exception_of_nibabel_is_translated() -> None:
    kinds = exceptions_of_nibabel()
    assert len(kinds) > 10
    assert unmapped(kinds) == []
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
    assert set(nifti.TRANSLATED) - known == set(), "nibabel no longer has these: drop them from the table"


def test_a_new_exception_of_nibabel_would_be_noticed() -> None:
    new = type("ShinyNewError", (Exception,), {"__module__": "nibabel.nifti3"})
    assert unmapped({*exceptions_of_nibabel(), new}) == ["nibabel.nifti3.ShinyNewError"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_values_come_back(tmp_path: Path, suffix: str, kind: type, dtype: type) -> None:
    data = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    path = tmp_path / f"x{suffix}"
    kind(data, AFFINE).to_filename(path)
    image, mask = nifti.read_image(path), nifti.read_mask(path)
    np.testing.assert_array_equal(image.data, data)
    np.testing.assert_array_equal(mask.data, data)
    assert (image.data.dtype, mask.data.dtype) == (np.float32, np.uint8)
    assert image.spacing == (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_scale_factors_of_the_header_are_applied(tmp_path: Path) -> None:
    made = nibabel.Nifti1Image(np.full((2, 2, 2), 3, np.int16), AFFINE)
    made.header.set_slope_inter(0.5, 10)
    made.to_filename(tmp_path / "x.nii.gz")
    assert nifti.read_image(tmp_path / "x.nii.gz").data[0, 0, 0] == 11.5


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 0.001), ("meter", 1000), ("unknown", 1)])
def test_voxel_sizes_are_mm(tmp_path: Path, unit: str, factor: float) -> None:
    made = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    made.header.set_xyzt_units(unit)
    made.to_filename(tmp_path / "x.nii")
    assert nifti.read_image(tmp_path / "x.nii").spacing == (factor, 2 * factor, 3 * factor)


def test_a_last_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((2, 3, 4, 1), np.uint8), AFFINE).to_filename(tmp_path / "x.nii.gz")
    assert nifti.read_image(tmp_path / "x.nii.gz").data.shape == (2, 3, 4)


def test_equal_voxels_give_equal_bytes(tmp_path: Path, hostile_path: Path) -> None:
    data = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    nifti.write(tmp_path / "a.nii.gz", data, AFFINE)
    nifti.write(hostile_path / "b.nii.gz", data, AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (hostile_path / "b.nii.gz").read_bytes()
    np.testing.assert_array_equal(nifti.read_image(hostile_path / "b.nii.gz").data, data)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write"):
        nifti.write(tmp_path / "missing" / "a.nii.gz", np.zeros((2, 2, 2), np.uint8), AFFINE)


def test_a_number_type_without_nifti_form_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        nifti.write(tmp_path / "a.nii.gz", np.zeros((2, 2, 2), np.float16), AFFINE)


def whole() -> bytes:
    return nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), AFFINE).to_bytes()


DAMAGED = {
    "empty": (b"", "is empty"),
    "truncated gzip": (gzip.compress(whole())[:-20], "truncated or damaged"),
    "gzip header only": (gzip.compress(whole())[:8], "truncated or damaged"),
    "spoiled gzip": (gzip.compress(whole())[:40] + b"spoiled" * 9, "truncated or damaged"),
    "truncated voxels": (whole()[:-1], "truncated or damaged"),
    "truncated voxels inside": (gzip.compress(whole()[:-1]), "truncated or damaged"),
    "truncated header": (whole()[:100], "cannot be used"),
    "text": (b"Dear Sir, enclosed please find no image. " * 20, "cannot be used"),
    "only zeros": (bytes(400), "cannot be used"),
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("read", [nifti.read_image, nifti.read_mask])
def test_damaged_files_are_told(tmp_path: Path, what: str, read: object) -> None:
    data, words = DAMAGED[what]
    path = tmp_path / "x.nii.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read(path)  # type: ignore[operator]
    assert str(path) in caught.value.message
    assert caught.value.hint


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 351), value=st.binary(min_size=1, max_size=4), cut=st.integers(0, 240))
@example(place=40, value=b"\xff\xff", cut=0)
@example(place=43, value=b"\x11sz\xc1", cut=0)  # claims more voxels than any memory holds
@example(place=70, value=b"\x80\x00", cut=0)  # colours
@example(place=70, value=b"\x20\x00", cut=0)  # complex numbers
def test_no_spoiled_header_ends_in_a_traceback(tmp_path: Path, place: int, value: bytes, cut: int) -> None:
    raw = bytearray(whole())
    raw[place : place + len(value)] = value
    path = tmp_path / "x.nii"
    path.write_bytes(bytes(raw[: len(raw) - cut]))
    for read in (nifti.read_image, nifti.read_mask):
        try:
            read(path)
        except DataError as error:
            assert error.hint


BAD_VALUES = {
    "NaN": (nifti.read_image, np.full((2, 2, 2), np.nan, np.float32), "8 voxels that are NaN"),
    "infinite": (nifti.read_image, np.full((2, 2, 2), np.inf, np.float32), "NaN or infinite"),
    "too large": (nifti.read_image, np.full((2, 2, 2), 1e300), "NaN or infinite"),
    "4D": (nifti.read_image, np.zeros((2, 2, 2, 3), np.uint8), "has 4 dimensions"),
    "4D mask": (nifti.read_mask, np.zeros((2, 2, 2, 3), np.uint8), "has 4 dimensions"),
    "2D": (nifti.read_image, np.zeros((2, 2), np.uint8), "has 2 dimensions"),
    "complex": (nifti.read_image, np.zeros((2, 2, 2), np.complex64), "complex"),
    "half": (nifti.read_mask, np.full((2, 2, 2), 0.5, np.float32), "no whole numbers .for example 0.5"),
    "NaN label": (nifti.read_mask, np.full((2, 2, 2), np.nan, np.float32), "no whole numbers"),
    "negative": (nifti.read_mask, np.full((2, 2, 2), -1, np.int16), "holds the label -1"),
    "large": (nifti.read_mask, np.full((2, 2, 2), 300, np.int16), "holds the label 300"),
}


@pytest.mark.parametrize("what", BAD_VALUES)
def test_bad_values_are_told(tmp_path: Path, what: str) -> None:
    read, data, words = BAD_VALUES[what]
    nibabel.Nifti1Image(data, AFFINE).to_filename(tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / "x.nii.gz")
    assert caught.value.hint


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        nifti.read_image(tmp_path / "x.nii.gz")


def test_an_affine_that_maps_nothing_is_told(tmp_path: Path) -> None:
    made = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), AFFINE)
    made.header.set_sform(np.zeros((4, 4)), code=1)
    (tmp_path / "x.nii").write_bytes(bytes(made.header.binaryblock) + bytes(4 + 8))
    with pytest.raises(DataError, match="maps no volume"):
        nifti.read_image(tmp_path / "x.nii")


def test_no_text_of_a_header_leaves(tmp_path: Path) -> None:
    """A patient's name in every text field, a field that nibabel complains about, and bytes that end early."""
    made = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), AFFINE)
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        made.header[field] = "DURAND"
    raw = bytearray(made.to_bytes()[:-5])
    raw[76:80] = np.float32(7).tobytes()  # qfac: nibabel mends it and writes a line about it
    path = tmp_path / "x.nii"
    path.write_bytes(bytes(raw))
    code = "import sys; from pathlib import Path; from trainer.nifti import read_image\n"
    code += "from jobs.errors import DataError\n"
    code += "try: read_image(Path(sys.argv[1]))\nexcept DataError as error: print(error.to_json())"
    done = subprocess.run([sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "truncated" in done.stdout
    assert "DURAND" not in done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("name", "expected"), [("a.nii.gz", "a"), ("a.b.NII", "a.b"), ("a.txt", "a.txt")])
def test_stem(name: str, expected: str) -> None:
    assert nifti.stem(Path(name)) == expected
    assert nifti.is_nifti(Path(name)) == (expected != name)


def test_hidden_files_are_no_images() -> None:
    assert not nifti.is_nifti(Path("._a.nii.gz"))
