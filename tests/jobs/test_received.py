"""Names that came from elsewhere: what passes lies below the folder, and is nobody else's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.received import DEEPEST, Names, below, parts_of

EVERYWHERE = ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "..\\..\\x", "\\\\server\\share\\x"]
EVERYWHERE += ["a\0b", "a\nb", "a\x1b[2Jb", "a\x7f", "a\u202etxt.exe", "a\u200b", "a\ud800b", "x" * 256, "é" * 128]
EVERYWHERE += ["/".join(["a"] * (DEEPEST + 1)), "C:\\x", "~\x00"]
ON_WINDOWS = ["C:x", "c:/x", "a:stream", "NUL", "nul.txt", "Con", "aux.", "COM1", "com1.log", "LPT\u00b9", "prn .txt"]
ON_WINDOWS += ["CONIN$", "a.", "a ", "a/b.", "what?", "a*", "a<b", 'a"b', "a|b"]
GOOD = ["best.pt", "work/figure 1.png", "métrique.csv", "a.b.c", "console.log", "com10.txt", ".hidden", "=cmd", "~x"]


@pytest.mark.parametrize("name", [*EVERYWHERE, None, 5, ["a"]], ids=repr)
def test_what_leads_elsewhere_is_refused_on_every_system(name: object) -> None:
    for windows in (False, True):
        with pytest.raises(ValueError, match=r"\w"):
            parts_of(name, windows)


@pytest.mark.parametrize("name", ON_WINDOWS, ids=repr)
def test_what_windows_reads_otherwise_is_refused_there(name: str) -> None:
    with pytest.raises(ValueError, match="Windows gives it another meaning"):
        parts_of(name, windows=True)
    assert "/".join(parts_of(name, windows=False)) == name


@pytest.mark.parametrize("name", GOOD)
def test_names_of_people_pass(name: str) -> None:
    assert "/".join(parts_of(name, windows=True)) == name


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "\0"])).map("/".join))
def test_whatever_passes_lies_strictly_below(name: str) -> None:
    try:
        parts = parts_of(name)
    except ValueError:
        return
    path = os.path.normpath("/".join(("/root/of/all", *parts)))
    assert path.startswith("/root/of/all/") and path != "/root/of/all/"


@pytest.mark.parametrize(
    ("first", "second", "folds"),
    [("Best.pt", "best.pt", True), ("Zo\u00eb.csv", "Zoe\u0308.csv", False), ("a", "a", False)],
)
def test_the_second_of_two_that_are_one_file_is_refused(first: str, second: str, folds: bool) -> None:
    names = Names(folds=folds)
    names.take(first)
    with pytest.raises(ValueError, match="another one has this name"):
        names.take(second)


def test_no_link_on_the_way_and_none_in_its_place(tmp_path: Path) -> None:
    """Planted: links to a folder, to a file and to nothing, and a folder where a file is due."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    assert below(str(root), ("a", "b", "c"), make=True) == str(root / "a" / "b" / "c")
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "dangling").symlink_to(outside / "new")
    for parts in (("link", "x"), ("file",), ("dangling",), ("dangling", "x"), ("a",)):
        with pytest.raises(ValueError, match="stands"):
            below(str(root), parts, make=True)
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
