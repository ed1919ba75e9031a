"""Names from elsewhere: what passes leads to a file below the folder chosen, whatever the name and the links there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.received import DEEPEST, LONGEST, Names, below, parts_of

ELSEWHERE = ["", ".", "..", "../x", "a/../x", "a/..", "./x", "a/./x", "/etc/passwd", "//host/x", "a//x", "a/", "a\\x"]
ELSEWHERE += ["..\\x", "\\\\host\\share\\x", "\\\\?\\C:\\x", "C:\\x", "a/..\\..\\x"]
UNSEEN = ["a\0", "\0", "a\nb", "a\tb", "\x1b[2Ja", "a\x7f", "a\x85b", "a\u202egpj", "a\u2066b", "a\u200bb", "\ufeffa"]
UNFIT = [7, None, ["a"], b"a", "a\ud800", "\udcffa", "a" * (LONGEST + 1), "\u00e9" * 128, "/".join("a" * (DEEPEST + 1))]
HOSTILE = [*ELSEWHERE, *UNSEEN, *UNFIT]
OF_WINDOWS = [
    "C:x",
    "C:/x",
    "a:b",
    "a/b:$DATA",
    "a.",
    "a ",
    "a/b. ",
    "...",
    "a?",
    "a*",
    "a|b",
    "<a",
    'a"',
    "NUL",
    "nul",
]
OF_WINDOWS += [
    "nul.txt",
    "NUL .txt",
    "con",
    "Aux.tar.gz",
    "a/prn",
    "com1",
    "LPT9.log",
    "com\u00b9",
    "conin$",
    "CONOUT$",
]
SOUND = [
    "best.pt",
    "logs/output.log",
    ".hidden",
    "a b",
    "\u00e9t\u00e9",
    "\u7d50\u679c.csv",
    "..a",
    "com10",
    "null",
    "-x",
]

NAMES = st.lists(
    st.sampled_from(
        ["..", ".", "/", "\\", "C:", "a", "B", "NUL", ".txt", " ", "\0", "\u202e", "\ud800", ":s", "\u00e9"]
    )
    | st.text(max_size=3)
).map("".join)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_leads_elsewhere_or_is_not_seen_is_refused_everywhere(name: object, windows: bool) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        parts_of(name, windows)


@pytest.mark.parametrize("name", OF_WINDOWS)
def test_what_windows_reads_differently_is_refused_there(name: str) -> None:
    with pytest.raises(ValueError, match="Windows"):
        parts_of(name, windows=True)
    assert parts_of(name, windows=False) == tuple(name.split("/"))


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("name", SOUND)
def test_usual_names_pass(name: str, windows: bool) -> None:
    assert "/".join(parts_of(name, windows)) == name


@settings(deadline=None)
@given(NAMES, st.booleans())
def test_what_passes_is_strictly_below_the_root(name: str, windows: bool) -> None:
    try:
        parts = parts_of(name, windows)
    except ValueError:
        return
    root = Path("root").absolute()
    path = os.path.normpath(root.joinpath(*parts))
    assert path.startswith(f"{root}{os.sep}")
    assert Path(path).relative_to(root).parts == parts
    if windows:
        there = PureWindowsPath("C:\\root").joinpath(*parts)
        assert there.parts[1:] == ("root", *parts)
        assert not PureWindowsPath(*parts).is_reserved() if sys.version_info < (3, 13) else True


@pytest.mark.parametrize("second", ["E\u0301", "\u00c9"])
def test_a_name_that_differs_in_form_only_is_refused(second: str) -> None:
    names = Names(windows=False, folds=False)
    names.take("a/\u00c9")
    with pytest.raises(ValueError, match="written differently"):
        names.take("a/" + second)


def test_a_name_that_differs_in_case_only_is_refused_where_case_does_not_count() -> None:
    names = Names(windows=False, folds=True)
    names.take("A/Best.pt")
    with pytest.raises(ValueError, match="written differently"):
        names.take("a/best.PT")
    other = Names(windows=False, folds=False)
    assert [other.take(one) for one in ("Best.pt", "best.pt")] == [("Best.pt",), ("best.pt",)]


LINKS = ["outside", "outside/file", "missing", ".", "..", "/"]


@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize(
    "parts", [("link",), ("link", "x"), ("a", "link"), ("a", "link", "x"), ("a", "link", "b", "x")]
)
@pytest.mark.parametrize("to", LINKS)
def test_no_link_is_followed_on_the_way_nor_in_its_place(
    tmp_path: Path, to: str, parts: Sequence[str], make: bool
) -> None:
    """Injected: one link to a folder, a file, nothing, the root or `/`, at each depth; nothing outside changes."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    (root / "a").mkdir(parents=True)
    root.joinpath(*parts[: parts.index("link") + 1]).symlink_to(to if to in (".", "..", "/") else tmp_path / to)
    with pytest.raises(ValueError, match="stands"):
        below(str(root), parts, make=make)
    assert [one.name for one in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "theirs"
    assert not (tmp_path / "missing").exists()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "to-folder", "to-file", "to-nothing", "file"]), min_size=1, max_size=4))
def test_below_never_leaves_the_root(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, outside = Path(folder, "root"), Path(folder, "outside")
        (root / "a").mkdir(parents=True)
        outside.mkdir()
        for place in (root, root / "a"):
            (place / "file").touch()
            (place / "to-folder").symlink_to(outside)
            (place / "to-file").symlink_to(outside / "x")
            (place / "to-nothing").symlink_to(outside / "y/z")
        try:
            path = below(str(root), parts, make=True)
        except ValueError:
            path = str(root)
        assert os.path.realpath(path) == str(Path(path).absolute())
        assert not list(outside.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_its_place_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ValueError, match="no plain file"):
        below(str(tmp_path), ["x"])
