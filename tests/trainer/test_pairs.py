"""Finding pairs: folders, patterns, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import DataError, UsageError
from trainer.pairs import find


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(pairs: list) -> list[tuple[str, str, str]]:  # type: ignore[type-arg]
    return [(pair.case, pair.image.name, pair.label.name) for pair in pairs]


def test_two_folders_with_equal_names(hostile_path: Path) -> None:
    touch(hostile_path, "i/b.nii.gz", "i/a.nii", "l/a.nii.gz", "l/b.nii.gz", "i/._a.nii", "i/notes.txt")
    pairs = find(str(hostile_path / "i"), str(hostile_path / "l"), None)
    assert names(pairs) == [("a", "a.nii", "a.nii.gz"), ("b", "b.nii.gz", "b.nii.gz")]


@pytest.mark.parametrize("inside", [("imagesTr", "labelsTr"), ("images", "labels")])
def test_one_root_with_both_folders(tmp_path: Path, inside: tuple[str, str]) -> None:
    touch(tmp_path, f"{inside[0]}/a.nii.gz", f"{inside[1]}/a.nii.gz")
    assert names(find(str(tmp_path), None, None)) == [("a", "a.nii.gz", "a.nii.gz")]


def test_the_channel_number_of_nnunet_is_dropped(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/b_0001.nii.gz")
    assert [pair.case for pair in find(str(tmp_path), None, None)] == ["a", "b_0001"]


def test_a_second_channel_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    with pytest.raises(DataError, match="further channel"):
        find(str(tmp_path), None, None)


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        ("i/*.nii.gz", "l/*_seg.nii.gz", ["P1", "P2"]),
        ("scans/*/mr.nii.gz", "scans/*/ducts.nii", ["P1", "P2"]),
        ("deep/**/mr.nii.gz", "deep/**/ducts.nii", ["P1_v1", "P2_v1"]),
        ("i/P?.nii.gz", "l/P?_seg.nii.gz", ["1", "2"]),
        ("i/P[12].nii.gz", "l/P[!3]_seg.nii.gz", ["1", "2"]),
        ("i/*", "m/*", ["P1", "P2"]),
    ],
)
def test_patterns_pair_by_what_their_wildcards_match(
    tmp_path: Path, images: str, labels: str, expected: list[str]
) -> None:
    for case in ("P1", "P2"):
        touch(tmp_path, f"i/{case}.nii.gz", f"l/{case}_seg.nii.gz", f"m/{case}.nii", f"scans/{case}/mr.nii.gz")
        touch(tmp_path, f"scans/{case}/ducts.nii", f"deep/{case}/v1/mr.nii.gz", f"deep/{case}/v1/ducts.nii")
    pairs = find(str(tmp_path / images), str(tmp_path / labels), None)
    assert [pair.case for pair in pairs] == expected


def test_a_pattern_that_names_two_files_alike_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.nii", "a/x.nii.gz")
    with pytest.raises(DataError, match="two files"):
        find(str(tmp_path / "a" / "*"), str(tmp_path / "a" / "*"), None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table(hostile_path: Path, separator: str, mark: str) -> None:
    lines = [["Image", "label", "group", "case"], ["a/x.nii", "b/x.nii", "P1", "one"], ["a/y.nii", "b/y.nii", "", ""]]
    table = hostile_path / "t.csv"
    table.write_text(mark + "\n".join(separator.join(line) for line in lines) + "\n", encoding="utf-8")
    first, second = find(None, None, str(table))
    assert first == ("one", hostile_path / "a/x.nii", hostile_path / "b/x.nii", "P1")
    assert second == ("y", hostile_path / "a/y.nii", hostile_path / "b/y.nii", None)


BAD_TABLES = {
    "": "columns image and label",
    "image,mask\na,b\n": "column",
    "image,label\n": "columns",
    "image,label\na.nii,\n": "line 2",
    "image,label\np/x.nii,b\nq/x.nii,b\n": "stands twice",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_bad_tables_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=BAD_TABLES[text]) as caught:
        find(None, None, str(tmp_path / "t.csv"))
    assert caught.value.hint


def test_a_table_that_is_missing_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        find(None, None, str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_bytes("image,label\né,b\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        find(None, None, str(tmp_path / "t.csv"))


def test_images_without_mask_and_masks_without_image(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.nii", "i/b.nii", "l/a.nii")
    with pytest.raises(DataError, match=r"1 image has no mask of the same name in .*: b.nii"):
        find(str(tmp_path / "i"), str(tmp_path / "l"), None)
    touch(tmp_path, "l/b.nii", *(f"l/{letter}.nii" for letter in "cdefg"))
    with pytest.raises(DataError, match=r"5 masks have no image .*: c.nii, d.nii, e.nii and 2 more"):
        find(str(tmp_path / "i"), str(tmp_path / "l"), None)


def test_places_that_are_missing_or_empty_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.nii", "l/readme.txt")
    with pytest.raises(UsageError, match="no images"):
        find(None, None, None)
    with pytest.raises(DataError, match="is not a folder"):
        find(str(tmp_path / "no"), str(tmp_path / "l"), None)
    with pytest.raises(DataError, match="does not hold"):
        find(str(tmp_path), None, None)
    with pytest.raises(DataError, match=r"no .nii or .nii.gz file"):
        find(str(tmp_path / "l"), str(tmp_path / "i"), None)
