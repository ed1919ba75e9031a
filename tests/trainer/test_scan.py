"""Registering a data set: the manifest, its hash, pseudonyms, and every bad input with its repair."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from jobs.errors import DataError, UsageError
from trainer.scan import auto_size, guess_groups, scan

if TYPE_CHECKING:
    from conftest import DataSet


def ones(value: float = 1, dtype: type = np.uint8) -> np.ndarray:
    made = np.zeros((10, 12, 6), dtype)
    made[3:6, 4:8, 2:5] = value
    return made


def test_the_manifest_says_what_is_there(data_set: DataSet) -> None:
    manifest = scan(data_set.request())
    assert set(manifest) >= {"contract", "name", "hash", "classes", "layout", "cases", "sizes", "notes"}
    first = manifest["cases"][0]
    assert first["image"] == str(data_set.image("A"))
    assert first["label"] == str(data_set.label("A"))
    assert first["image_sha256"] == hashlib.sha256(data_set.image("A").read_bytes()).hexdigest()
    assert (first["shape"], first["spacing"], first["labels"]) == ([10, 12, 6], [1.0, 1.5, 2.0], [0, 1])
    assert manifest["classes"] == ["foreground"]
    assert manifest["sizes"] == {"0": [16, 16], "1": [16, 16], "2": [16, 16]}
    assert json.loads(json.dumps(manifest)) == manifest


def test_names_become_pseudonyms(data_set: DataSet) -> None:
    request = data_set.request()
    manifest = scan(request)
    expected = hmac.new(bytes.fromhex(request["secret"]), b"A", hashlib.sha256).hexdigest()[:8]
    assert (manifest["cases"][0]["case"], manifest["cases"][0]["group"]) == (f"c-{expected}", f"p-{expected}")
    other = scan(data_set.request(secret="ff" * 16))
    assert other["cases"][0]["case"] != manifest["cases"][0]["case"]
    assert other["hash"] == manifest["hash"]


def test_the_hash_is_of_contents_only(data_set: DataSet, hostile_path: Any) -> None:
    before = scan(data_set.request())["hash"]
    for folder, name in (("imagesTr", "i"), ("labelsTr", "l")):
        (hostile_path / name).mkdir()
        for old, new in zip("ABCD", "ZXWY", strict=True):
            shutil.copy(data_set.root / folder / f"{old}.nii.gz", hostile_path / name / f"{new}.nii.gz")
    moved = {"images": str(hostile_path / "i"), "labels": str(hostile_path / "l"), "name": "other"}
    assert scan(data_set.request(**moved))["hash"] == before
    assert scan(data_set.request(groups={"A": "1", "B": "1", "C": "2", "D": "3"}))["hash"] != before
    assert scan(data_set.request(classes=["duct"]))["hash"] != before
    data_set.add("D", (10, 10, 10))
    assert scan(data_set.request())["hash"] != before


def test_progress_is_told(data_set: DataSet) -> None:
    seen: list[tuple[int, int]] = []
    scan(data_set.request(), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_classes_come_from_request_file_or_masks(empty_set: DataSet) -> None:
    mask = ones()
    mask[4, 5, 3] = 2
    empty_set.add("A", mask=mask)
    empty_set.add("B")
    assert scan(empty_set.request())["classes"] == ["label 1", "label 2"]
    table = empty_set.root / "dataset.json"
    for labels in ({"0": "background", "1": "front", "2": "back"}, {"background": 0, "front": 1, "back": 2}):
        table.write_text(json.dumps({"labels": labels}))
        assert scan(empty_set.request())["classes"] == ["front", "back"]
    assert scan(empty_set.request(classes=["one", "two", "three"]))["classes"] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("groups", "patients"),
    [(None, 4), (r"^(P\d+)_", 2), ({"P1_a": "x", "P1_b": "x", "P2_a": "x", "P2_b": "y"}, 2)],
)
def test_groups(empty_set: DataSet, groups: Any, patients: int) -> None:
    for name in ("P1_a", "P1_b", "P2_a", "P2_b"):
        empty_set.add(name)
    manifest = scan(empty_set.request(groups=groups))
    assert len({case["group"] for case in manifest["cases"]}) == patients
    suggested = {"pattern": r"^(.*\d)(?:[_-]?[a-d])?$", "examples": [["P1_a", "P1_b"], ["P2_a", "P2_b"]]}
    assert manifest.get("suggested_groups") == (None if groups else suggested)


def test_groups_of_a_table(data_set: DataSet) -> None:
    rows = [
        f"imagesTr/{name}.nii.gz,labelsTr/{name}.nii.gz,{group}" for name, group in zip("ABCD", "1122", strict=True)
    ]
    table = data_set.root / "t.csv"
    table.write_text("\n".join(["image,label,group", *rows]))
    manifest = scan(data_set.request(csv=str(table), images=None, labels=None))
    assert len({case["group"] for case in manifest["cases"]}) == 2
    assert "suggested_groups" not in manifest


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["P07_a", "P07_b", "P08_a"], {"P07_a": "P07", "P08_a": "P08"}),
        (["P07", "P07b", "P08"], {"P07b": "P07", "P08": "P08"}),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"], {"sub-01_ses-2": "sub-01"}),
        (["12_visit1", "12_visit2", "13_visit1"], {"12_visit2": "12"}),
        (["P1_1", "P1_2", "P2_1"], {"P1_2": "P1"}),
        (["hippocampus_001", "hippocampus_002", "hippocampus_003"], None),
        (["liver1", "liver2", "liver3"], None),
        (["anna", "bert"], None),
    ],
)
def test_names_suggest_groups(names: list[str], expected: dict[str, str] | None) -> None:
    import re

    pattern = guess_groups(names)
    if expected is None:
        assert pattern is None
    else:
        assert pattern
        assert {name: re.match(pattern, name)[1] for name in expected} == expected  # type: ignore[index]


def test_notes_tell_mixed_orientations_and_empty_masks(data_set: DataSet) -> None:
    assert scan(data_set.request())["notes"] == []
    data_set.add("E", affine=np.diag([-1.0, 1.5, 2.0, 1.0]), mask=np.zeros((10, 12, 6), np.uint8))
    orientation, empty = scan(data_set.request())["notes"]
    assert "2 orientations (LAS, RAS)" in orientation
    assert "1 of 5 masks are empty" in empty


def test_a_size_holds_every_slice() -> None:
    manifest = {"cases": [{"shape": [33, 16, 5]}, {"shape": [8, 40, 100]}]}
    assert [auto_size(manifest, axis) for axis in range(3)] == [(48, 112), (48, 112), (48, 48)]


def rewrite(data_set: DataSet, data: np.ndarray, affine: np.ndarray, label: bool) -> None:
    path = data_set.label("B") if label else data_set.image("B")
    nibabel.Nifti1Image(data, affine).to_filename(path)


def affine(*diagonal: float, shift: float = 0) -> np.ndarray:
    made = np.diag([*diagonal, 1.0])
    made[0, 3] = shift
    return made


USUAL = affine(1.0, 1.5, 2.0)
BAD: dict[str, tuple[Callable[[DataSet], object], str, str]] = {
    "no mask": (lambda d: d.label("B").unlink(), "1 image has no mask", "put the masks into"),
    "no image": (lambda d: d.image("B").unlink(), "1 mask has no image", "put the images into"),
    "shape": (
        lambda d: rewrite(d, np.ones((10, 12, 7), np.uint8), USUAL, True),
        "B.nii.gz is 10 x 12 x 6 voxels, its mask 10 x 12 x 7",
        "resample the mask",
    ),
    "affine scaled": (lambda d: rewrite(d, ones(), affine(1, 1.5, 2.1), True), "different affines", "affine of its"),
    "affine shifted": (lambda d: rewrite(d, ones(), affine(1, 1.5, 2, shift=1), True), "1 mm apart", "same origin"),
    "affine mirrored": (lambda d: rewrite(d, ones(), affine(-1, 1.5, 2), True), "18 mm apart", "direction"),
    "4D": (lambda d: rewrite(d, np.ones((10, 12, 6, 2)), USUAL, False), "has 4 dimensions", "one volume"),
    "empty file": (lambda d: d.image("B").write_bytes(b""), "is empty", "copy it again"),
    "truncated": (
        lambda d: d.image("B").write_bytes(d.image("B").read_bytes()[:-99]),
        "truncated or damaged",
        "copy it again",
    ),
    "NaN": (lambda d: rewrite(d, ones(np.nan, np.float32), USUAL, False), "36 voxels that are NaN", "replace them"),
    "infinite": (lambda d: rewrite(d, ones(np.inf, np.float32), USUAL, False), "NaN or infinite", "replace them"),
    "half label": (lambda d: rewrite(d, ones(0.5, np.float32), USUAL, True), "no whole numbers", "nearest neighbour"),
    "negative label": (lambda d: rewrite(d, ones(-1, np.int16), USUAL, True), "the label -1", "0 for background"),
    "large label": (lambda d: rewrite(d, ones(1000, np.int16), USUAL, True), "the label 1000", "0 for background"),
    "label 255": (lambda d: rewrite(d, ones(255), USUAL, True), "the labels 1, 255", "write the masks with 0"),
    "copy": (
        lambda d: shutil.copy(d.image("A"), d.image("B")),
        "the same image, counted as two patients",
        "delete one",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_told_with_its_repair(empty_set: DataSet, what: str) -> None:
    empty_set.add("A")
    empty_set.add("B")
    spoil, message, hint = BAD[what]
    spoil(empty_set)
    with pytest.raises(DataError) as caught:
        scan(empty_set.request())
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_several_bad_pairs_are_told_together(data_set: DataSet) -> None:
    for name in "ABC":
        data_set.image(name).write_bytes(b"")
    with pytest.raises(DataError, match="3 pairs cannot be used") as caught:
        scan(data_set.request())
    assert all(f"{name}.nii.gz is empty" in caught.value.message for name in "ABC")
    assert len(caught.value.context["problems"]) == 3


def test_labels_beyond_the_named_classes(data_set: DataSet) -> None:
    data_set.add("E", mask=ones(3))
    with pytest.raises(DataError, match="holds the label 3, but there are 2 classes: a, b"):
        scan(data_set.request(classes=["a", "b"]))


def test_masks_that_are_all_empty(empty_set: DataSet) -> None:
    empty_set.add("A", mask=np.zeros((10, 12, 6), np.uint8))
    with pytest.raises(DataError, match="all masks are empty"):
        scan(empty_set.request())


def test_rounded_affines_count_as_equal(empty_set: DataSet) -> None:
    empty_set.add("A", mask_affine=USUAL + np.full((4, 4), 1e-6) * np.array([[1], [1], [1], [0]]))
    assert len(scan(empty_set.request())["cases"]) == 1


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"labels": 3}', '{"labels": {"background": 0, "duct": 2}}', '{"labels": {"all": [1, 2]}}']
)
def test_a_dataset_json_that_says_nothing_is_told(data_set: DataSet, text: str) -> None:
    (data_set.root / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json") as caught:
        scan(data_set.request())
    assert caught.value.hint


BAD_REQUESTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "key": ({"imges": "x"}, UsageError, "did you mean images"),
    "no secret": ({"secret": None}, UsageError, "needs a secret"),
    "pattern": ({"groups": "("}, UsageError, "no regular expression"),
    "no group": ({"groups": "P"}, UsageError, "has 0 groups in parentheses"),
    "no match": ({"groups": "^(Q)"}, DataError, "no patient for 4 of 4 cases, for example A"),
    "not listed": ({"groups": {"A": "1"}}, DataError, "no patient for 3 of 4 cases, for example B"),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_bad_requests_are_told(data_set: DataSet, what: str) -> None:
    changes, kind, words = BAD_REQUESTS[what]
    with pytest.raises(kind, match=words):
        scan(data_set.request(**changes))
