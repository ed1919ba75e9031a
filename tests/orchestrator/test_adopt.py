"""The knobs of notebooks: what a variable looks like, and the other values that the notebook itself knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from standins import notebooks

from jobs import notebook
from jobs.notebook import Notebook
from orchestrator import adopt
from orchestrator.adopt import FOLD, OTHER, PATH, SEED, SETTING, STRATEGY, Knob


def book(*cells: str) -> Notebook:
    return notebook.parse(json.dumps(notebooks.document("# a text", *cells)).encode(), "a.ipynb")


def knob(folder: Path, name: str, *cells: str) -> Knob:
    return next(knob for knob in adopt.knobs(book(*cells), folder) if knob.name == name)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("fold_no = 0", FOLD),
        ("fold = 0", FOLD),
        ("foldNo = 0", FOLD),
        ("current_fold = 2", FOLD),
        ("n_folds = 5", OTHER),
        ("n_splits = 5", OTHER),
        ("k_folds = 5", OTHER),
        ("scaffold = 0", OTHER),
        ("SEED = 42", SEED),
        ("random_state = 1", SEED),
        ("batch_size = 16", SETTING),
        ("BATCH = 16", SETTING),
        ("lr = 1e-4", SETTING),
        ("learning_rate = 1e-4", SETTING),
        ("img_size = (320, 320)", SETTING),
        ("color = 'red'", OTHER),
        ("debug = True", OTHER),
        ("data_dir = 'x'", PATH),
        ("train = 'C:\\\\IRM'", PATH),
        ("train = r'\\\\server\\IRM'", PATH),
        ("train = '/data/irm'", PATH),
        ("base = Path('/data/irm')", PATH),
    ],
)
def test_what_a_variable_looks_like(tmp_path: Path, text: str, role: str) -> None:
    assert knob(tmp_path, text.partition(" =")[0], text).role == role


@pytest.mark.parametrize("text", ["x = y", "x = []", "x = {}", "x = None", "for x in y: pass", "import x", "x = f()"])
def test_what_is_no_knob(tmp_path: Path, text: str) -> None:
    assert [one.name for one in adopt.knobs(book(text), tmp_path)] == []


CHOICES = [
    ("a dictionary", "AUGS = {'identity': f, 'rotate': g}\nAUGS[selected_aug]"),
    ("a list", "for name in ['identity', 'rotate']:\n    print(name)"),
    ("comparisons", "if selected_aug == 'identity':\n    pass\nelif selected_aug == 'rotate':\n    pass"),
    ("comparisons of a parameter", "def f(kind):\n    return kind == 'identity' or kind == 'rotate'"),
    ("membership", "if selected_aug in ('identity', 'rotate'):\n    pass"),
    ("a match", "match selected_aug:\n    case 'identity' | 'rotate':\n        pass"),
]


@pytest.mark.parametrize("text", [row[1] for row in CHOICES], ids=[row[0] for row in CHOICES])
def test_the_other_strategies_are_those_that_the_notebook_knows(tmp_path: Path, text: str) -> None:
    found = knob(tmp_path, "selected_aug", "selected_aug = 'rotate'", text)
    assert (found.role, found.values) == (STRATEGY, ("identity", "rotate"))


def test_a_comment_names_values_and_without_any_word_it_stays(tmp_path: Path) -> None:
    assert knob(tmp_path, "aug", "aug = 'rotate'  # identity, rotate | flip").values == ("identity", "rotate", "flip")
    alone = knob(tmp_path, "aug", "aug = 'rotate'", "names = ['a', 'b']")
    assert (alone.values, alone.reason) == ((), "stays; its other values are not known: --param aug=rotate,OTHER")


@pytest.mark.parametrize(
    ("cells", "values", "why"),
    [
        (["fold = 0", "KFold(n_splits=3)"], (0, 1, 2), "KFold makes 3 (cell 3), counted from 0"),
        (["fold = 2", "sklearn.StratifiedKFold(3)"], (0, 1, 2), "counted from 0 (assumed); else: --fold fold=1..3"),
        (["fold = 3", "KFold(n_splits=3)"], (1, 2, 3), "counted from 1; else: --fold fold=0..2"),
        (["fold = 1", "n_splits = 4\nparts[fold - 1]"], (1, 2, 3, 4), "n_splits = 4 (cell 3, line 1), counted from 1"),
        (["fold = 0"], (0, 1, 2, 3, 4), "5 folds assumed"),
    ],
)
def test_folds_are_counted(tmp_path: Path, cells: list[str], values: tuple[int, ...], why: str) -> None:
    found = knob(tmp_path, "fold", *cells)
    assert found.values == values
    assert why in found.reason


def test_what_is_read_beside_the_notebook_is_linked_and_what_is_written_is_not(tmp_path: Path) -> None:
    for name in ("imgs", "other", "helpers"):
        (tmp_path / name).mkdir()
    for name in ("imgs/a.npy", "best.pt", "log.csv", "atlas.csv", "tools.py"):
        (tmp_path / name).touch()
    text = """
import tools, numpy as np
from helpers.deep import x
from . import y
np.load("imgs/a.npy"); open("atlas.csv"); print("other", "../x", "/etc", "gone.csv")
torch.save(model, "best.pt"); open("log.csv", "w")
"""
    made = book(text)
    assert adopt.inputs(made, tmp_path) == ["imgs", "atlas.csv", "other"]
    assert adopt.modules(made, tmp_path) == ["tools.py", "helpers"]


def test_paths_say_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    lines = ["a_dir = 'imgs'", "b_dir = 'out'", f"c_dir = {str(tmp_path)!r}", "d_dir = '/not/there'"]
    found = adopt.knobs(book("\n".join([*lines, "e_dir = 'D:/x'", "save_dir = '/srv/m'"])), tmp_path)
    assert [one.reason.partition(";")[0] for one in found] == [
        "beside the notebook: linked into each job's folder",
        "a name: it stays in each job's folder",
        "is here",
        "is not on this machine",
        "a path of Windows: no host has it",
        "all jobs would write there",
    ]
    assert [one.name for one in adopt.unfit_paths(found)] == ["d_dir", "e_dir", "save_dir"]


def test_results_are_looked_for_where_labs_leave_them() -> None:
    made = book(
        "from metrics import dice_score\ndef dice(a, b):\n    return 1\nval_dices = []\ndice_loss = 1",
        "for x in y:\n    val_dice = dice(x, y)\nbest_dice = max(val_dices)\ntest_dice = 0.5\ndice_history = []",
    )
    assert adopt.scores(made) == ["test_dice", "val_dice", "best_dice"]


def test_one_strategy_and_one_fold_are_proposed_and_the_rest_is_said(tmp_path: Path) -> None:
    text = "optimizer = 'adam'\nselected_aug = 'flip'\nfold = 0\nstart_fold = 0\nf(['adam', 'sgd'], ['flip', 'none'])"
    found = {one.name: one for one in adopt.knobs(book(text), tmp_path)}
    assert {name for name, one in found.items() if one.values} == {"selected_aug", "fold"}
    assert found["optimizer"].reason == "stays; to vary it, too: --param optimizer=adam,sgd"


def test_a_fold_that_the_notebook_changes_itself_says_so(tmp_path: Path) -> None:
    text = "best = 0\nfor fold in range(5):\n    best = train(fold)"
    (looped,) = adopt.knobs(book(text), tmp_path)
    assert (looped.values, looped.reason) == ((), "the notebook itself goes through the folds, in one run")
    (twice,) = adopt.knobs(book("fold_no = 0\ntrain(fold_no)", "fold_no = 1\ntrain(fold_no)"), tmp_path)
    assert twice.values == ()
    assert "cannot be changed from outside: a.ipynb sets fold_no twice" in twice.reason
