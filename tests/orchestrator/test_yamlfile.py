"""YAML with the number rule of 1.2, lines, and no surprises."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from jobs.errors import NotFound, SpecError
from orchestrator.yamlfile import dotted, load, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("012", 12),
        ("0x10", 16),
        ("0o17", 15),
        ("+3", 3),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-02", "2024-01-02"),
        ("'1e-4'", "1e-4"),
        ("~", None),
        ("", None),
        ("null", None),
        ("!!str 5", "5"),
        ("1..200", "1..200"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}", "x").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    value = parse("[.inf, -.INF, .nan]", "x").value
    assert value[:2] == [math.inf, -math.inf]
    assert math.isnan(value[2])


def test_keys_are_text() -> None:
    assert parse("{1: a, no: b, 1e3: c}", "x").value == {"1": "a", "no": "b", "1e3": "c"}


def test_every_value_has_its_line() -> None:
    document = parse("a:\n  b:\n    - 1\n    - c: 2\n", "f.yaml")
    assert document.where(("a", "b", 1, "c")) == "f.yaml:4"
    assert document.where(("a", "b", 7)) == "f.yaml:2"
    assert document.where(("nothing",)) == "f.yaml:1"
    assert dotted(("a", "b", 1, "c")) == "a.b[1].c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3  a: this key stands here twice (first in line 1)"),
        ("a: {b: 1, b: 2}", "a.b: this key stands here twice"),
        ("a: [1, 2", "x.yaml:2  cannot be read"),
        ("\ta: 1", "x.yaml:1  cannot be read"),
        ("a: !!python/object:os.system x", "means nothing here"),
        ("a: !!int x", "'x' is no int"),
        ("a: &x [*x]", "an alias (*name) stands inside what it names"),
        ("? [1]\n: 2", "a key must be a plain word"),
        ("a: 1\n---\nb: 2\n", "another document"),
    ],
)
def test_what_is_wrong_names_the_line(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "x.yaml")
    assert said in caught.value.message
    assert caught.value.hint


def test_aliases_are_followed() -> None:
    assert parse("a: &x [1, 2]\nb: *x\n", "x").value == {"a": [1, 2], "b": [1, 2]}


def test_an_empty_file_has_no_value() -> None:
    assert parse("# only a comment\n", "x").value is None


def test_files_that_cannot_be_read(hostile_path: Path) -> None:
    with pytest.raises(NotFound):
        load(hostile_path / "none.yaml")
    with pytest.raises(NotFound):
        load(hostile_path)
    path = hostile_path / "latin.yaml"
    path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(SpecError, match="not UTF-8"):
        load(path)


def test_a_byte_order_mark_is_no_key(hostile_path: Path) -> None:
    path = hostile_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load(path).value == {"a": 1}
