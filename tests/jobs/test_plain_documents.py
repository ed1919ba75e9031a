"""Documents that others write: what every reader takes comes out, or nothing; memory and time have limits."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jobs import documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 9223372036854775807}', {"n": 2**63 - 1}),
        ('{"n": 9223372036854775808}', {"n": 2.0**63}),
        ('{"n": -99999999999999999999}', {"n": -1e20}),
        ('{"n": ' + "1" * 400 + "}", {"n": None}),
        ('{"n": [NaN, Infinity]}', {"n": [None, None]}),
        ('{"a\\ud800": "b\\udfff"}', {"a\ufffd": "b\ufffd"}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        ("[" * 60 + "]" * 60, None),
    ],
)
def test_numbers_and_texts_are_such_that_every_reader_takes_them(text: str, value: object) -> None:
    found = documents.parse(text.encode())
    assert value is None or found == value
    assert value is None or [type(one) for one in found.values()] == [type(one) for one in value.values()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("depth", [66, 1_000, 100_000])
def test_deep_nesting_is_no_document(depth: int) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        documents.parse(b"[" * depth + b"]" * depth)


def test_a_file_over_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 101)
    assert documents.read(path, 101) == b"x" * 101
    with pytest.raises(OSError, match="it holds more than") as told:
        documents.read(path, 100)
    assert told.value.errno == errno.EFBIG and documents.is_no_document(told.value)
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="it holds more than"):
        documents.read(path)
