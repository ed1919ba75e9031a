"""Volumes as slices: geometry, normalisation, the shared cache under eight processes and a killed one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import DataError, DiskError, UsageError
from trainer import nifti
from trainer.data import Slices, auto_size, load, normalise
from trainer.scan import scan

if TYPE_CHECKING:
    from conftest import DataSet


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def volume(slices: Slices, number: int) -> tuple[np.ndarray, np.ndarray]:
    """All stored slices of one case."""
    rows = slices.rows([slices.cases[number].case])
    return np.asarray(slices.images[rows, 0]), np.asarray(slices.masks[rows])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_the_volumes_along_the_axis(data_set: DataSet, axis: int) -> None:
    manifest = scan(data_set.request())
    slices = load(manifest, axis, (16, 16))
    assert slices.images.shape == (sum(case["shape"][axis] for case in manifest["cases"]), 1, 16, 16)
    assert (slices.images.dtype, slices.masks.dtype) == (np.float16, np.uint8)
    assert slices.masks.shape == (len(slices.images), 16, 16)
    assert slices.classes == ("foreground",)
    for number, known in enumerate(manifest["cases"]):
        case = slices.cases[number]
        assert (case.case, case.group, case.count) == (known["case"], known["group"], known["shape"][axis])
        image = nifti.read_image(Path(known["image"])).data
        mask = nifti.read_mask(Path(known["label"])).data
        stored, labels = volume(slices, number)
        window = tuple(slice(-start, -start + side) for start, side in zip(case.offset, case.shape, strict=True))
        expected = np.moveaxis((image - image.mean()) / image.std(), axis, 0)
        np.testing.assert_allclose(stored[(slice(None), *window)], expected, atol=4e-3)
        np.testing.assert_array_equal(labels[(slice(None), *window)], np.moveaxis(mask, axis, 0))
        assert labels.sum() == mask.sum()
        plane = [spacing for index, spacing in enumerate(known["spacing"]) if index != axis]
        assert case.spacing == (*plane, known["spacing"][axis])
        assert case.voxel_ml == pytest.approx(np.prod(known["spacing"]) / 1000)
        assert set(slices.case_of[slices.rows([case.case])].tolist()) == {number}


def test_padding_is_zero_and_centred(empty_set: DataSet) -> None:
    empty_set.add("A", (10, 13, 6))
    slices = load(scan(empty_set.request()), 2, (16, 16))
    assert slices.cases[0].offset == (-3, -2)
    outside = np.ones((16, 16), bool)
    outside[3:13, 2:15] = False
    assert not np.asarray(slices.images)[:, 0, outside].any()
    assert np.asarray(slices.images)[:, 0, ~outside].all()


def test_cropping_is_centred(empty_set: DataSet) -> None:
    empty_set.add("A", (20, 13, 6))
    empty_set.add("B", (12, 12, 6))
    mask = np.zeros((20, 13, 6), np.uint8)
    mask[10, 6, 3] = 1
    empty_set.add("A", (20, 13, 6), mask=mask)
    slices = load(scan(empty_set.request()), 2, (12, 12))
    case = slices.cases[0]
    assert case.offset == (4, 0)
    stored, labels = volume(slices, 0)
    image = nifti.read_image(empty_set.image("A")).data
    np.testing.assert_allclose(stored, np.moveaxis(normalise(image)[4:16, 0:12], 2, 0), atol=4e-3)
    assert np.argwhere(labels).tolist() == [[3, 6, 6]]


def test_cropping_that_cuts_a_mask_is_refused(data_set: DataSet, cache_folder: Path) -> None:
    manifest = scan(data_set.request())
    with pytest.raises(DataError, match=r"slices of 2 x 2 would cut off \d+ labelled voxels") as caught:
        load(manifest, 2, (2, 2))
    assert "use size: [16, 16]" in caught.value.hint
    assert caught.value.context["fits"] == [16, 16]
    assert [path.suffix for path in (cache_folder / "slices").iterdir()] == [".lock"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(1e-3, 1e6), shift=st.floats(-1e3, 1e3))
def test_scale_and_shift_of_a_scanner_change_nothing(scale: float, shift: float) -> None:
    base = np.random.default_rng(0).normal(0, 1, (6, 5, 4)).astype(np.float32)
    moved = (base * np.float32(scale) + np.float32(shift * scale)).astype(np.float32)
    np.testing.assert_allclose(normalise(moved), normalise(base), atol=1e-2)


def test_a_volume_of_one_value_becomes_zero() -> None:
    assert not normalise(np.full((3, 3, 3), 1.7e6, np.float32)).any()


def test_rows_follow_the_given_order(data_set: DataSet) -> None:
    slices = load(scan(data_set.request()), 2, (16, 16))
    last, first = slices.cases[3], slices.cases[0]
    expected = [*range(last.first, last.first + 9), *range(first.first, first.first + 6)]
    assert slices.rows([last.case, first.case]).tolist() == expected
    assert slices.rows([]).tolist() == []
    with pytest.raises(DataError, match="no case 'c-0'"):
        slices.rows(["c-0"])


def test_equal_content_under_other_names_shares_the_cache(data_set: DataSet, cache_folder: Path) -> None:
    """Another home has other pseudonyms, paths and order: each still finds its own cases."""
    ours = scan(data_set.request())
    moved = shutil.move(str(data_set.root), str(data_set.root) + " moved")
    theirs = scan(data_set.request(images=moved, labels=None, secret="ab" * 16))
    theirs["cases"].reverse()
    first = load(theirs, 2, (16, 16))
    before = {path: path.stat().st_mtime_ns for path in cache_folder.rglob("*.npy")}
    second = load(ours, 2, (16, 16))
    assert {path: path.stat().st_mtime_ns for path in cache_folder.rglob("*.npy")} == before
    for number in range(4):
        for one, other in zip(volume(first, 3 - number), volume(second, number), strict=True):
            np.testing.assert_array_equal(one, other)


def test_one_scan_twice_in_a_patient(empty_set: DataSet) -> None:
    empty_set.add("A")
    for folder in (empty_set.images, empty_set.labels):
        shutil.copy(folder / "A.nii.gz", folder / "B.nii.gz")
    slices = load(scan(empty_set.request(groups={"A": "1", "B": "1"})), 2, (16, 16))
    assert {case.first for case in slices.cases} == {0, 6}
    assert sorted(slices.case_of.tolist()) == [0] * 6 + [1] * 6


def test_no_name_is_in_the_cache(data_set: DataSet, cache_folder: Path) -> None:
    data_set.add("DURAND")
    load(scan(data_set.request()), 2, (16, 16))
    files = [path for path in cache_folder.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert not any(b"DURAND" in path.read_bytes() for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache_folder.glob("slices/*"))


def test_arrays_are_read_only(data_set: DataSet) -> None:
    slices = load(scan(data_set.request()), 2, (16, 16))
    with pytest.raises(ValueError, match="read-only"):
        slices.images[0] = 0


def test_a_changed_file_is_told(data_set: DataSet) -> None:
    manifest = scan(data_set.request())
    data_set.add("B", mask=np.ones((10, 12, 6), np.uint8))
    with pytest.raises(DataError, match=r"B\.nii\.gz changed since the data set was registered") as caught:
        load(manifest, 2, (16, 16))
    assert "orch data add" in caught.value.hint


@pytest.mark.parametrize(("axis", "size"), [(3, (16, 16)), (-1, (16, 16)), (0, (0, 16))])
def test_slices_that_cannot_be_are_told(data_set: DataSet, axis: int, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="no such slices"):
        load(scan(data_set.request()), axis, size)


@pytest.mark.parametrize("damage", ["truncate", "delete", "index"])
def test_a_damaged_cache_is_built_anew(data_set: DataSet, cache_folder: Path, damage: str) -> None:
    manifest = scan(data_set.request())
    before = digests(load(manifest, 2, (16, 16)))
    (images,) = cache_folder.rglob("images.npy")
    if damage == "truncate":
        os.truncate(images, images.stat().st_size - 1)
    elif damage == "delete":
        images.unlink()
    else:
        images.with_name("index.json").write_text("{")
    assert digests(load(manifest, 2, (16, 16))) == before


def test_a_cache_that_cannot_be_written_is_told(data_set: DataSet, cache_folder: Path) -> None:
    cache_folder.write_text("a file where the folder should be")
    with pytest.raises(DiskError, match="cannot write"):
        load(scan(data_set.request()), 2, (16, 16))


def digests(slices: Slices) -> list[str]:
    arrays = (slices.images, slices.masks, slices.case_of)
    return [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays]


LOADER = """
import hashlib, json, sys
import numpy as np
from trainer.data import load
manifest = json.load(open(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
slices = load(manifest, 2, (64, 64))
arrays = (slices.images, slices.masks, slices.case_of)
print([hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays])
"""


def start_loader(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOADER, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def go(loader: subprocess.Popen[str]) -> None:
    assert loader.stdin
    loader.stdin.write("go\n")
    loader.stdin.flush()


@pytest.fixture
def written(tmp_path: Path, empty_set: DataSet) -> tuple[Path, dict[str, Any]]:
    """A manifest on disk, of volumes that take a moment to decode."""
    for number in range(12):
        empty_set.add(f"case {number}", (60, 60, 40))
    manifest = scan(empty_set.request())
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    return path, manifest


def test_eight_processes_share_one_cache(written: tuple[Path, dict[str, Any]], cache_folder: Path) -> None:
    path, manifest = written
    loaders = [start_loader(path) for _ in range(8)]
    for loader in loaders:
        assert loader.stdout
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        go(loader)
    outputs = [loader.communicate(timeout=120) for loader in loaders]
    assert len(set(outputs)) == 1, outputs
    assert outputs[0] == (f"{digests(load(manifest, 2, (64, 64)))}\n", "")
    folders = [path for path in (cache_folder / "slices").iterdir() if path.is_dir()]
    assert len(folders) == 1


def test_a_builder_killed_in_the_middle_harms_nobody(
    written: tuple[Path, dict[str, Any]], cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL as soon as image bytes are on disk and before the cache has its name."""
    path, manifest = written
    loader = start_loader(path)
    go(loader)
    deadline = time.monotonic() + 30
    while not any(half.stat().st_size > 1000 for half in cache_folder.glob("slices/*.building-*/images.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    loader.send_signal(signal.SIGKILL)
    loader.communicate()
    assert list(cache_folder.glob("slices/*.building-*")), "it was to be killed in the middle"
    after = digests(load(manifest, 2, (64, 64)))
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "undisturbed"))
    assert after == digests(load(manifest, 2, (64, 64)))
    assert len(list((cache_folder / "slices").iterdir())) == 2  # the cache and its lock


def real_data() -> Path | None:
    named = os.environ.get("ORCH_REAL_DATA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "data" / "msd_hippocampus"
    return folder if (folder / "imagesTr").is_dir() else None


@pytest.mark.skipif(real_data() is None, reason="the hippocampus set is not here (ORCH_REAL_DATA)")
def test_the_hippocampus_set_can_be_read(data_set: DataSet) -> None:
    manifest = scan(data_set.request(images=str(real_data()), labels=None, classes=["anterior", "posterior"]))
    slices = load(manifest, 2, auto_size(manifest, 2))
    assert len(slices.cases) == 200
    assert len(slices.images) == 7119
    assert np.isfinite(slices.images).all()
    per_class = np.bincount(np.asarray(slices.masks).ravel())[1:] / 200
    assert per_class.round().tolist() == [1707, 1587]
