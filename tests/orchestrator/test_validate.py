"""Every mistake in a sweep file: exit code 2, one message with the line and the repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import SpecError
from orchestrator.sweep import load_sweep

BASE = "sweep: a\ndata: x\nstrategies:\n  identity: []\n"
RUN = "sweep: x\n"
WRONG = [
    (BASE + "fold: 5", "5  fold: unknown key. Did you mean 'folds'?", "keys are: sweep, data"),
    ("strategys: {}", "1  strategys: unknown key. Did you mean 'strategies'?", "keys are"),
    (BASE + "folds: five", '5  folds: must be a whole number, not "five"', "folds: 5"),
    (BASE + "folds: 1", "folds: must lie within 2..1000, not 1", "folds: 5"),
    (BASE + "folds: true", "folds: must be a whole number, not true", "folds: 5"),
    (BASE + "  r:\n    - rotate: {angle: 1}", "6  strategies.r[0].rotate: unknown parameter 'angle'", "{degrees: 15}"),
    (
        BASE + "  r: [{rotate: {angle: 1}}]",
        "rotate takes: degrees (float, 0..180, default 15)",
        "{rotate: {degrees: 15}",
    ),
    (BASE + "  r: [{rotate: {degres: 1}}]", "Did you mean 'degrees'?", "{degrees: 15}"),
    (BASE + "  r: [{rotat: {}}]", "unknown augmentation 'rotat'. Did you mean 'rotate'?", "augmentations are: rotate"),
    (BASE + "  r: [rotate]", "'rotate' lacks its parameters", "{rotate: {}}"),
    (BASE + "  r: [3]", "unknown augmentation '3'", "augmentations are"),
    (BASE + "  r: [{rotate: {degrees: 200}}]", "strategies.r[0].rotate.degrees: must lie within 0..180", "degrees: 15"),
    (BASE + "  r: [{rotate: {degrees: x}}]", "must be a number", "degrees: 15"),
    (BASE + "  r: [{rotate: }]", "must be a mapping (name: value), not null", "{rotate: {degrees: 15}}"),
    (BASE + "  r: [{rotate: {}, noise: {}}]", "one step holds two augmentations", "[{rotate: …}, {noise: …}]"),
    (BASE + "  r: {rotate: {}}", "strategies.r: must be a list", "identity"),
    (BASE + "  r: []", "same recipe as 'identity'", "keep one"),
    (BASE + "  a: [{rotate: {}}]\n  b: [{rotate: {degrees: 15.0}}]", "6  strategies.b: is the same recipe", "keep one"),
    (BASE + "  a b: []", "'a b' cannot be a name", "letters, digits"),
    (BASE + "train: {lr: .nan}", "train.lr: must be a finite number", "number"),
    (BASE + "train: {lr: 0}", "train.lr: must lie within 0 (excluded)..1, not 0", "lr: 0.0001"),
    (BASE + "train: {learning_rate: 1e-3}", "unknown parameter 'learning_rate'", "train: {"),
    (BASE + "train: {loss: {dise: 0.5}}", "train.loss: unknown parameter 'dise'. Did you mean 'dice'?", "loss: {dice"),
    (BASE + "train: {precision: fp33}", "Did you mean 'fp32'?", "auto, fp32, bf16"),
    (BASE + "train: {size: [100, 100]}", "not a multiple of 16", "size: [112, 112]"),
    (BASE + "train: {size: big}", 'does not fit: "big"', "auto"),
    (BASE + "seeds: [0, 0]", "has a value twice", "once"),
    (BASE + "seeds: []", "seeds: is empty", "seeds: [0]"),
    (BASE + "seeds: 0", "must be a list", "seeds: [0]"),
    (BASE + "baseline: identty", "not among the strategies. Did you mean 'identity'?", "strategies are"),
    (BASE + "resources: {cpu: 2}", "Did you mean 'cpus'?", "resources: {"),
    (BASE + "grid: {a: [1]}", "grid: goes with `command` or `notebook` only", "strategies"),
    ("sweep: a b\nstrategies: {i: []}", "'a b' cannot be a name", "letters"),
    (RUN + "strategies: {}", "strategies: is empty", "rotate"),
    (RUN, "names neither strategies nor a command", "command:"),
    ("- 1", "a sweep holds `key: value` lines", "keys are"),
    ("", "a sweep holds `key: value` lines", "keys are"),
    (RUN + "data: {image: a}\nstrategies: {i: []}", "unknown key 'image'. Did you mean 'images'?", "images"),
    (RUN + "data: {labels: a}\nstrategies: {i: []}", "data: names no images", "csv"),
    (RUN + "data: 3\nstrategies: {i: []}", "data: does not fit: 3", "registered data set"),
    (RUN + "command: []", "command: is empty", "program"),
    (RUN + "command: python x", "command: must be a list", "program"),
    (RUN + "command: [a, '{f}']\ngrid: {f: []}", "grid.f: is empty", "f: 1..200"),
    (RUN + "command: [a]\ngrid: {}", "grid: is empty", "1..200"),
    (
        RUN + "command: [a, '{fol}']\ngrid: {fold: 1..3}",
        "unknown placeholder {fol}. Did you mean 'fold'?",
        "{fold}, {run}",
    ),
    (RUN + "command: [a]\ngrid: {f: [1, 1.0]}", "holds 1.0 twice: duplicate jobs", "once"),
    (RUN + "command: [a]\ngrid: {f: [1..3, 2]}", "holds 2 twice: duplicate jobs", "once"),
    (RUN + "command: [a]\ngrid: {f: 1..300000}", "makes 300000 jobs", "fewer"),
    (RUN + "command: [a]\ngrid: {f: '1..'}", "does not fit", "range such as 1..200"),
    (RUN + "command: [a]\ngrid: {f: [[1]]}", "does not fit", "list of values"),
    (RUN + "command: [a]\ngrid: {run: [1]}", "{run} is the run folder", "another name"),
    (RUN + "command: [a]\ngrid: {a b: [1]}", "'a b' cannot be a name", "letters"),
    (RUN + "command: [a]\nfolds: 3", "folds: does not go together with `command`", "grid"),
    (RUN + "command: [a]\ngrid: {seed: [1]}\nseeds: [1]", "grid.seed: stands beside `seeds`", "one of the two"),
    (RUN + "command: [a]\nsweep: y", "stands here twice", "keep one"),
]


@pytest.mark.parametrize(("text", "said", "repair"), WRONG, ids=[row[1][:40] for row in WRONG])
def test_a_mistake_names_its_line_and_its_repair(hostile_path: Path, text: str, said: str, repair: str) -> None:
    path = hostile_path / "s.yaml"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_sweep(path)
    assert said in caught.value.message
    assert "s.yaml:" in caught.value.message
    assert repair in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_first_mistake_by_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("sweep: a\nfolds: x\nstrategies:\n  i: [{rotat: {}}]\nseeds: 0\n", encoding="utf-8")
    with pytest.raises(SpecError, match=":2  folds"):
        load_sweep(path)
