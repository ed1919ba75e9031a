"""Files that are old or new, never half; one text for one value."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.atomic import canonical, digest, file_sha256, read_json, write_bytes, write_json


@pytest.mark.parametrize(("one", "other"), [(15, 15.0), ({"b": 1, "a": 2}, {"a": 2.0, "b": 1.0}), ((1, 2), [1, 2])])
def test_equal_values_have_one_text(one: object, other: object) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (0, False), (1, True), (0.1, 0.2), (None, "null"), ([], {})])
def test_different_values_have_different_texts(one: object, other: object) -> None:
    assert canonical(one) != canonical(other)


def test_the_text_is_plain() -> None:
    assert canonical({"é": [1.0, 0.5, 1e-4, "\n"], 3: None}) == '{"3":null,"é":[1,0.5,0.0001,"\\n"]}'
    assert canonical(-0.0) == "0"
    assert canonical(2.0**60) == "1.152921504606847e+18"  # not every whole number has a float of its own there


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"lr": [number]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", number)
    assert list(tmp_path.iterdir()) == []


numbers = st.integers(-(2**53) + 1, 2**53 - 1)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé☃\n\"'"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_the_text_is_json_of_an_equal_value(value: object) -> None:
    assert json.loads(canonical(value)) == value
    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_the_digest_is_that_of_the_text() -> None:
    assert digest({"a": 1}, 64) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest({"a": 1.0}, 8) == hashlib.sha256(b'{"a":1}').hexdigest()[:8]


def test_a_file_is_replaced_whole(hostile_path: Path) -> None:
    path = hostile_path / "ä.json"
    for value in ({"a": "é"}, [1]):
        write_json(path, value)
        assert read_json(path) == value
    assert [entry.name for entry in hostile_path.iterdir()] == ["ä.json"]
    assert file_sha256(path) == hashlib.sha256(b"[1]\n").hexdigest()


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": 1} x'])
def test_what_is_not_whole_reads_as_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    assert read_json(tmp_path / "x.json") is None
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path / "x.json" / "below.json") is None


def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    """Injected: a disk without room for the new content, 3 times. Lost: nothing; no temporary file is left."""
    path = small_disk / "x.json"
    write_json(path, "old")
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            write_bytes(path, bytes(2 << 20))
    assert read_json(path) == "old"
    assert [entry.name for entry in small_disk.iterdir()] == ["x.json"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Injected: 200 replacements by two writers under a reader. Lost: nothing; each read is one of the contents."""
    path, done = tmp_path / "x.json", threading.Event()
    contents = [["a"] * 5000, ["b"] * 9000]
    write_json(path, contents[0])

    def replace(value: list[str]) -> None:
        for _ in range(100):
            write_json(path, value, sync=False)
        done.set()

    writers = [threading.Thread(target=replace, args=(value,)) for value in contents]
    for writer in writers:
        writer.start()
    while not done.is_set():
        assert read_json(path) in contents
    for writer in writers:
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
