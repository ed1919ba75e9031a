"""Notebooks as text: what their top level assigns, other values in place, and what is refused with its repair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standins import notebooks

from jobs import notebook
from jobs.errors import NotFound, OrchError, SpecError
from jobs.notebook import Notebook
from jobs.notebookrun import hand_in


def book(*cells: str) -> Notebook:
    return notebook.parse(json.dumps(notebooks.document("# a text", *cells)).encode(), "a.ipynb")


def source(made: dict[str, Any], number: int) -> str:
    return notebook.text_of(made["cells"][number - 1])


def test_a_value_is_replaced_where_it_stands_and_nothing_else_is() -> None:
    text = "%matplotlib inline\nfold_no = 0   # é, by hand\nprint(fold_no)\nfiles = !ls\n!nvidia-smi\nprint?"
    made = book(text).with_values({"fold_no": 3})
    assert source(made, 2) == text.replace("fold_no = 0", "fold_no = 3")


@pytest.mark.parametrize(
    ("text", "name", "value", "wanted"),
    [
        ("aug = 'rotate'", "aug", "it's", 'aug = "it\'s"'),
        ("é = 'à'; lr = 1e-4", "lr", 0.5, "é = 'à'; lr = 0.5"),
        ("a, b = 1, 2", "b", None, "a, b = 1, None"),
        ("size: tuple = (320,\n  320)\nx = 1", "size", [64, 64], "size: tuple = (64, 64)\nx = 1"),
        ("data = Path(r'C:\\IRM')", "data", "/data", "data = Path('/data')"),
        ("data = os.path.join('a', 'b')", "data", "/data", "data = '/data'"),
        ("fold = int(os.environ['FOLD'])", "fold", 2, "fold = 2"),
        ("data = 'a'\ndata = Path(data)", "data", "b", "data = 'b'\ndata = Path(data)"),
        ("aug = None\naug = 'flip'\nuse(aug)", "aug", "x", "aug = 'x'\naug = 'x'\nuse(aug)"),
        ("lr = 1\nfor e in range(3):\n    lr *= 0.5", "lr", 2, "lr = 2\nfor e in range(3):\n    lr *= 0.5"),
        ("n = 1\ndef f():\n    n = 2", "n", 3, "n = 3\ndef f():\n    n = 2"),
        ("n = 1\nx = [n for n in range(2)]", "n", 3, "n = 3\nx = [n for n in range(2)]"),
        ("%%time\nn = 1", "n", 3, "%%time\nn = 3"),
        ("n = 1\r\nm = 2", "n", 3, "n = 3\nm = 2"),
    ],
)
def test_values_of_many_forms(text: str, name: str, value: Any, wanted: str) -> None:
    assert source(book(text).with_values({name: value}), 2) == wanted


def test_several_values_in_one_cell_and_over_cells() -> None:
    made = book("a = 1; b = 22; c = 333", "b = 22\nprint(a, b, c)").with_values({"a": 10, "b": 0, "c": 5})
    assert (source(made, 2), source(made, 3)) == ("a = 10; b = 0; c = 5", "b = 0\nprint(a, b, c)")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["for fold in range(5):\n    print(fold)"], "sets fold in a loop (cell 2, line 1)"),
        (["fold = 0", "if x:\n    fold = 1"], "sets fold in a branch (cell 3, line 2)"),
        (["fold = 0\nwith open('a') as fold:\n    pass"], "sets fold in a with (cell 2, line 2)"),
        (["fold = 0\ntry:\n    y\nexcept Error:\n    fold = 2"], "sets fold in a try (cell 2, line 5)"),
        (["fold = 0\ndef f():\n    global fold\n    fold = 1"], "sets fold in a function (cell 2, line 3)"),
        (
            ["fold = 0\ntrain(fold)", "fold = 1\ntrain(fold)"],
            "twice, and uses it in between (cell 2, line 1 and",
        ),
        (["fold = 0\ntrain(fold)\nfold = input()"], "twice, and uses it in between"),
        (["def fold():\n    pass"], "sets fold in a definition"),
    ],
)
def test_a_value_that_would_not_last_is_refused(cells: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        book(*cells).targets("fold")
    assert said in caught.value.message
    assert "notebook" in caught.value.hint


def test_a_variable_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        book("selected_aug = 'rotate'\nx = 1").targets("selectedaug")
    assert "Did you mean 'selected_aug'?" in caught.value.message
    assert caught.value.hint == "it sets: selected_aug, x"


def test_cells_that_are_no_python_are_left_alone_and_told() -> None:
    made = book("%%bash\nfold=1", "if (", "fold = 0")
    assert made.problems == ["cell 3 was left alone: line 1 is no Python"]
    assert [one.where for one in made.targets("fold")] == ["cell 4, line 1"]


def test_outputs_and_pasted_pictures_are_no_code() -> None:
    document = notebooks.document("![scan](attachment:a.png)", "x = 1")
    document["cells"][0]["attachments"] = {"a.png": {"image/png": "aGVsbG8="}}
    document["cells"][1]["metadata"] = {"tags": ["parameters"], "execution": {"at": 1}}
    text = json.dumps(notebook.without_outputs(document))
    assert "earlier run" not in text and "aGVsbG8" not in text and '"execution"' not in text
    assert '"tags": ["parameters"]' in text


HOSTILE = [
    (b"", "is empty, so it is no notebook"),
    (b"not json", "is no JSON, so it is no notebook"),
    (b"\xff\xfe", "is no JSON"),
    (b"[" * 100_000, "is no JSON"),
    (b"[]", "is JSON, but no notebook"),
    (b'{"nbformat": 3, "worksheets": [{"cells": []}]}', "is a notebook of format 3; format 4 is understood"),
    (b'{"nbformat": 4, "cells": []}', "has no code: there is nothing to run"),
    (b'{"nbformat": 4, "cells": [1]}', "has cells that are none"),
    (
        b'{"nbformat": 4, "metadata": {"kernelspec": {"language": "R", "name": "ir"}}, "cells": []}',
        "is a notebook of R, not of Python",
    ),
]


@pytest.mark.parametrize(("data", "said"), HOSTILE, ids=[row[1][:20] for row in HOSTILE])
def test_what_is_no_notebook_is_refused_with_its_repair(hostile_path: Path, data: bytes, said: str) -> None:
    path = hostile_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        notebook.read(str(path))
    assert said in caught.value.message
    assert caught.value.hint


def test_a_notebook_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "a.ipynb", tmp_path):
        with pytest.raises(NotFound, match="there is no notebook"):
            notebook.read(str(path))


@pytest.mark.parametrize("text", ["val_dice", "max(history['dice'])", "sum(d for d in history) / 2", "best[-1]"])
def test_results_are_expressions_of_what_the_notebook_sets(text: str) -> None:
    book("history = {}\nfor best in x:\n    val_dice = 1").check_result("dice", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("val_dise", "sets no variable 'val_dise'. Did you mean 'val_dice'?"),
        ("max(", "is no expression"),
        ("", "is no"),
    ],
)
def test_a_result_that_cannot_be_is_refused_before_it_runs(text: str, said: str) -> None:
    with pytest.raises(OrchError) as caught:
        book("val_dice = 1").check_result("dice", text)
    assert said in caught.value.message


class Scalar:
    """A number as NumPy and torch have them."""

    def item(self) -> float:
        return 0.25


def test_numbers_of_all_kinds_are_handed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_RUN", str(tmp_path))
    names = {"a": 1, "b": Scalar(), "c": {"sens": 0.5, "name": "x", "n": Scalar()}, "d": [1, 2]}
    hand_in({"x": "a", "y": "b", "z": "c", "last": "d[-1]"}, names)
    values = json.loads((tmp_path / "result.json").read_text())["values"]
    assert values == {"x": 1, "y": 0.25, "sens": 0.5, "n": 0.25, "last": 2}
    with pytest.raises(TypeError, match=r"result dice: d is a list of 2, not a number; name one number of it: d\[-1\]"):
        hand_in({"dice": "d"}, names)
