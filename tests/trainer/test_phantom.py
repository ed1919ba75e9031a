"""The biliary phantom: anatomy, rendering, noise, determinism; no threshold may solve it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from jobs.errors import DiskError, UsageError
from trainer.folds import split
from trainer.phantom import make, write_set
from trainer.phantom.render import Grid, occupancy
from trainer.phantom.tree import Tube, angle, grow
from trainer.scan import guess_groups, scan

SECRET = "00112233445566778899aabbccddeeff"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), radius=st.floats(1, 10), orders=st.integers(1, 5))
def test_radii_keep_murrays_law(seed: int, radius: float, orders: int) -> None:
    """r_parent^3 = sum r_child^3 at every junction; the cystic duct takes part in the first one."""
    ducts = grow(np.random.default_rng(seed), radius, orders)
    assert len(ducts) == 2 + sum(2**order for order in range(1, orders + 1))
    for number, duct in enumerate(ducts):
        springing = [other.radii[0] ** 3 for other in ducts if other.parent == number]
        if springing and number > 0:
            assert sum(springing) == pytest.approx(duct.radii[0] ** 3)
        if duct.parent >= 0:
            np.testing.assert_allclose(duct.points[0], ducts[duct.parent].points[-1])
    assert {duct.order for duct in ducts} == set(range(orders + 1))


def test_branching_angles_are_murrays() -> None:
    """An even split turns both ways by 37.5 degrees; the thinner child turns more."""
    even = 0.5 ** (1 / 3)
    assert np.degrees(angle(1, even, even)) == pytest.approx(37.47, abs=0.01)
    thin, thick = 0.3 ** (1 / 3), 0.7 ** (1 / 3)
    assert angle(1, thin, thick) > angle(1, thick, thin)


def straight(radius: float, *points: tuple[float, float, float]) -> Tube:
    return Tube("test", 0, -1, np.array(points, float), np.full(len(points), radius))


GRID = Grid((40, 40, 30), (1.0, 1.0, 1.5), (-20.0, -20.0, -22.5))


def test_a_sphere_has_its_volume() -> None:
    share = occupancy(GRID, [straight(7.0, (0.3, -0.2, 0.4), (0.3, -0.2, 0.4))])
    assert share.sum() * 1.5 == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.01)
    assert (share.min(), share.max()) == (0, 1)
    assert ((share > 0) & (share < 1)).any(), "voxels at the surface are partly filled"


def test_a_cylinder_has_its_volume_and_overlap_counts_once() -> None:
    tube = straight(4.0, (0, 0, -40), (0, 0, 40))
    once, twice = occupancy(GRID, [tube]), occupancy(GRID, [tube, tube])
    assert once.sum() * 1.5 == pytest.approx(np.pi * 4**2 * 45, rel=0.01)
    np.testing.assert_array_equal(once, twice)


def test_a_tube_outside_leaves_nothing() -> None:
    assert not occupancy(GRID, [straight(3.0, (100, 0, 0), (120, 0, 0))]).any()


def best_threshold_dice(image: np.ndarray, mask: np.ndarray) -> float:
    """Dice of the best of all global thresholds: no Otsu can beat it."""
    order = np.argsort(image, axis=None)[::-1]
    hits = np.cumsum(mask.ravel()[order])
    return float((2 * hits / (np.arange(1, hits.size + 1) + mask.sum())).max())


@pytest.mark.parametrize(("size", "depth"), [(64, 24), (32, 12), (128, 40)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_threshold_solves_it(size: int, depth: int, seed: int) -> None:
    for patient in range(1, 7 if size < 100 else 2):
        phantom = make(patient, 0, size, depth, seed)
        assert best_threshold_dice(phantom.image, phantom.mask) < 0.45


def test_ducts_can_be_seen() -> None:
    """At the demo's size ducts fill 0.5 to 3 % of the voxels, stand out from what is around them, and are not thin."""
    for patient in range(1, 7):
        phantom = make(patient, 0)
        inside = phantom.mask > 0
        assert 0.005 < inside.mean() < 0.03
        rim = ndimage.binary_dilation(inside, iterations=4) & ~ndimage.binary_dilation(inside, iterations=2)
        assert phantom.image[inside].mean() > 2 * np.median(phantom.image[rim])
        assert inside.any(axis=(0, 1)).sum() >= 10
        widths = [2 * duct.radii[0] / 1.84 for duct in phantom.ducts]
        assert 2 <= min(widths) < max(widths) <= 7


def test_the_mask_is_what_ducts_fill_by_half() -> None:
    phantom = make(1, 0)
    parts, _ = ndimage.label(phantom.mask, np.ones((3, 3, 3)))
    largest = np.bincount(parts.ravel())[1:].max()
    assert largest > 0.85 * phantom.mask.sum(), "one tree"
    assert set(np.unique(phantom.mask)) == {0, 1}
    assert (phantom.mask.dtype, phantom.image.dtype) == (np.uint8, np.int16)


def test_noise_is_rician() -> None:
    """In air-dark tissue the magnitude of complex noise is never negative and its mean stays above zero."""
    image = make(1, 0).image[:4].astype(float)
    assert image.min() >= 0
    assert image.mean() > 0.8 * image.std()


def test_two_visits_are_one_anatomy() -> None:
    first, second, other = make(3, 0), make(3, 1), make(4, 0)
    for one, two in zip(first.ducts, second.ducts, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
    assert not np.array_equal(first.ducts[0].points, other.ducts[0].points)
    assert not np.array_equal(first.image, second.image)
    assert not np.allclose(first.affine, second.affine), "the patient lies elsewhere"


def test_the_seed_decides_every_byte(tmp_path: Path, hostile_path: Path) -> None:
    for folder, seed in ((tmp_path / "a", 5), (hostile_path / "b", 5), (tmp_path / "c", 6)):
        write_set(folder, cases=4, size=32, depth=8, seed=seed)
        time.sleep(0.01)
    first, second, other = (digests(folder) for folder in (tmp_path / "a", hostile_path / "b", tmp_path / "c"))
    assert first == second
    assert set(first.values()).isdisjoint({*other.values()} - {first["dataset.json"]})


def test_more_cases_leave_the_first_ones_as_they_are(tmp_path: Path) -> None:
    for count in (3, 5):
        write_set(tmp_path / str(count), cases=count, size=32, depth=8)
    few, many = digests(tmp_path / "3"), digests(tmp_path / "5")
    assert {name: many[name] for name in few if name != "dataset.json"} == {
        name: value for name, value in few.items() if name != "dataset.json"
    }


def test_the_set_is_one_that_can_be_registered(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    told = write_set(tmp_path, cases=10, size=32, depth=8, progress=lambda done, total: seen.append((done, total)))
    assert told == {"images": str(tmp_path / "imagesTr"), "labels": str(tmp_path / "labelsTr"), "cases": 10}
    assert seen[-1] == (10, 10)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (tmp_path / "imagesTr").iterdir())
    assert names == ["P01_a", "P02_a", "P03_a", "P03_b", "P04_a", "P05_a", "P06_a", "P07_a", "P07_b", "P08_a"]
    pattern = guess_groups(names)
    manifest = scan({"images": str(tmp_path), "groups": pattern, "secret": SECRET})
    assert manifest["classes"] == ["duct"]
    assert len({case["group"] for case in manifest["cases"]}) == 8
    assert len(split(manifest, 5)["folds"]) == 5
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == 10


def test_voxels_are_anisotropic_and_the_slab_is_coronal(tmp_path: Path) -> None:
    write_set(tmp_path, cases=1)
    header = nibabel.load(tmp_path / "imagesTr" / "P01_a.nii.gz").header  # type: ignore[attr-defined]
    assert header.get_zooms() == (1.84375, 1.84375, 2.5)
    assert nibabel.aff2axcodes(header.get_best_affine()) == ("L", "S", "A")


@pytest.mark.slow
def test_the_labs_size() -> None:
    phantom = make(1, 0, 320, 80)
    assert phantom.image.shape == (320, 320, 80)
    assert phantom.mask.sum() > 2000
    np.testing.assert_allclose(np.linalg.norm(phantom.affine[:3, :3], axis=0), [1, 1, 1.5])


@pytest.mark.parametrize(("cases", "size", "depth"), [(0, 64, 24), (1, 8, 24), (1, 64, 2)])
def test_impossible_sizes_are_told(tmp_path: Path, cases: int, size: int, depth: int) -> None:
    with pytest.raises(UsageError) as caught:
        write_set(tmp_path, cases, size, depth)
    assert caught.value.hint


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        write_set(tmp_path / "file", 1, 32, 8)
