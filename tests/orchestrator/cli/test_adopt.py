"""`orch adopt`: a lab's notebook becomes a sweep, runs by papermill in real kernels, and is never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ground import Ground
from standins import notebooks

from jobs.folder import RunFolder


def outputs(path: Path) -> str:
    """All that the cells of an executed notebook printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join("".join(out.get("text", "")) for cell in cells for out in cell.get("outputs", ()))


@pytest.mark.slow
def test_a_labs_notebook_becomes_a_sweep_without_a_rewrite(ground: Ground) -> None:
    """Two augmentations by two folds, each in a kernel of its own; the notebook stays as it is, byte for byte."""
    path = notebooks.lab(ground.project)
    before = {file: file.read_bytes() for file in ground.project.rglob("*") if file.is_file()}
    said = ground.orch("adopt", "unet.ipynb", "--json", "--param", "selected_aug=identity,rotate")
    assert said.code == 0, said
    assert said.json["jobs"] == 10
    assert said.json["axes"] == {"selected_aug": ["identity", "rotate"], "fold_no": [0, 1, 2, 3, 4]}
    assert said.json["result"] == {"dice": "val_dice"}
    assert "a path of Windows: no host has it; --param data_dir=/where/it/is" in said.err
    assert ground.orch("sweep", "unet", "--folds", "0,3").code == 0
    table = ground.orch("report", "unet", "--json").json["rows"]
    assert [row[:3] for row in table] == [
        ["identity", "2/5", pytest.approx(0.815)],
        ["rotate", "2/5", pytest.approx(0.915)],
    ]
    folder = Path(ground.folders("unet")["selected_aug=rotate,fold=3"][0].path)
    assert "fold 3, rotate, batch 16\n" in outputs(folder / "notebook.ipynb")
    assert "from an earlier run" not in outputs(folder / "notebook.ipynb")
    assert (folder / "work/best.pt").read_text() == "rotate 3 duct"
    log = (folder / "log.txt").read_text()
    assert "orch: fold_no = 3 (cell 3, line 3; was 1)\n" in log
    assert "epoch 1 val_dice 0.93\n" in log
    del before[path]
    assert {file: file.read_bytes() for file in before} == before
    # Opened and run by hand the notebook has other outputs, but is no other code: nothing runs again.
    notebooks.write(path, *notebooks.LAB)
    path.write_text(path.read_text().replace("from an earlier run", "from a later run"), encoding="utf-8")
    again = ground.orch("sweep", "unet", "--folds", "0,3", "--dry-run", "--rerun", "changed", "--json")
    assert again.json["jobs"] == []


def one_job(ground: Ground, *cells: str, **keys: Any) -> RunFolder:
    """Run a notebook as a sweep `one` of one job; return its run folder."""
    notebooks.write(ground.project / "one.ipynb", "# a text", *cells)
    ground.write("one.yaml", "notebook: one.ipynb", *(f"{key}: {json.dumps(value)}" for key, value in keys.items()))
    ground.orch("sweep", "one")
    (attempts,) = ground.folders("one").values()
    return attempts[-1]


@pytest.mark.slow
def test_a_failing_cell_is_named_with_its_evidence_and_the_notebook_is_kept(ground: Ground) -> None:
    folder = one_job(ground, "print('before')\nn = 0", "rate = 1 / n", "print('after')")
    (row,) = ground.rows("one").values()
    assert row["state"] == "failed"
    record = json.loads(Path(folder.exit).read_text())
    assert record["failure"]["kind"] == "code_error"
    assert record["failure"]["evidence"] == "ZeroDivisionError: division by zero"
    log = Path(folder.log).read_text()
    assert log.startswith("before\n")
    assert "orch: cell 3 failed" in log and "\x1b" not in log and "after" not in log
    kept = json.loads(Path(folder.path, "notebook.ipynb").read_text())
    errors = [out for cell in kept["cells"] for out in cell.get("outputs", ()) if out["output_type"] == "error"]
    assert [error["ename"] for error in errors] == ["ZeroDivisionError"]
    assert not Path(folder.result).exists()
