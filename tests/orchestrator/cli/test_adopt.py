"""`orch adopt`: a lab's notebook becomes a sweep, runs by papermill in real kernels, and is never changed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from ground import Ground, until
from standins import notebooks

from jobs.folder import RunFolder
from orchestrator import snapshot

from .conftest import Orch


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
    assert [row[:2] for row in table] == [["identity", "2/5"], ["rotate", "2/5"]]
    assert [row[2] for row in table] == pytest.approx([0.815, 0.915])
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
    assert ground.orch("sweep", "unet", "--folds", "0,3", "--rerun", "changed").code == 0
    assert {len(attempts) for attempts in ground.folders("unet").values()} == {1}


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


@pytest.mark.slow
def test_a_stop_interrupts_the_cell(ground: Ground) -> None:
    """One stop of a running cell; what had run by then is kept, and no kernel is left."""
    text = "import time\nprint('began', flush=True)\ntime.sleep(600)"
    notebooks.write(ground.project / "one.ipynb", "# a text", "print('first')", text)
    ground.write("one.yaml", "notebook: one.ipynb")
    assert ground.orch("sweep", "one", "--detach").code == 0
    (attempts,) = until(lambda: list(ground.folders("one").values()))
    until(lambda: "began" in Path(attempts[0].log).read_text())
    assert ground.orch("stop", "one").code == 0
    ground.settle()
    assert set(ground.states("one").values()) == {"stopped"}
    assert outputs(Path(attempts[0].notebook)) == "first\nbegan\n"
    assert "KeyboardInterrupt" in Path(attempts[0].log).read_text()


@pytest.mark.slow
def test_a_killed_kernel_ends_the_job_by_its_signal(ground: Ground) -> None:
    """The kernel killed once from within; the failure says so, and the cells before it are kept."""
    killer = "import os\nos.kill(os.getpid(), 9)"
    folder = one_job(ground, "print('before', flush=True)", killer, policy={"killed": "never"})
    record = json.loads(Path(folder.exit).read_text())
    assert (record["signal"], record["failure"]["kind"]) == (signal.SIGKILL, "killed")
    assert "before\n" in outputs(Path(folder.notebook))


@pytest.mark.slow
def test_the_helper_works_in_a_notebook_and_lists_are_no_results(ground: Ground) -> None:
    text = "from jobs.handin import Run\nrun = Run()\nrun.metrics(1, val_dice=0.5)\nrun.finish(dice=0.75)"
    folder = one_job(ground, text)
    assert json.loads(Path(folder.result).read_text())["values"] == {"dice": 0.75}
    assert '"val_dice"' in Path(folder.events).read_text()
    notebooks.write(ground.project / "two.ipynb", "# a text", "dices = [1, 2]")
    ground.write("two.yaml", "notebook: two.ipynb", "result: {dice: dices}")
    assert ground.orch("sweep", "two").code == 1
    (row,) = ground.rows("two").values()
    assert row["state"] == "failed"
    assert (
        "TypeError: result dice: dices is a list of 2, not a number; name one number of it: dices[-1]" in row["reason"]
    )


def test_an_environment_without_papermill_is_refused_with_the_command_that_repairs_it(ground: Ground) -> None:
    notebooks.lab(ground.project)
    assert ground.orch("adopt", "unet.ipynb").code == 0
    venv.create(ground.base / "bare", with_pip=False)
    python = str(ground.base / "bare" / "bin" / "python")
    said = ground.orch("sweep", "unet", "--dry-run", ORCH_PYTHON=python)
    assert said.code == 1
    assert f"notebooks run by papermill and ipykernel, which {python} lacks" in said.err
    assert f"fix: {python} -m pip install papermill ipykernel" in said.err
    # On a host the job itself says so, in the line that becomes its evidence.
    code = snapshot.take(ground.home, snapshot.notebook_code(ground.project, "unet.ipynb", []))
    run = ground.base / "run"
    run.mkdir()
    cell = {"parameters": {"notebook": "unet.ipynb", "grid": {}, "result": {}}}
    (run / "job.json").write_text(json.dumps({"cell": cell}))
    words = [python, "-I", "-B", code.path, str(run)]
    job = subprocess.run(words, capture_output=True, text=True, check=False)
    assert job.returncode == 1
    assert job.stderr == f"ModuleNotFoundError: no ipykernel here: {python} -m pip install papermill ipykernel\n"


def test_what_is_found_is_shown_and_written_with_its_reasons(orch: Orch, ground: Ground) -> None:
    notebooks.lab(ground.project)
    said = orch("adopt", "unet.ipynb")
    assert said.code == 0
    rows = {line.split("\t")[0]: line.split("\t") for line in said.out.splitlines()}
    assert rows["selected_aug"][1:5] == ["strategy", "rotate", "cell 3, line 4", "identity, rotate, noise"]
    assert rows["fold_no"][1:5] == ["fold", "1", "cell 3, line 3", "0, 1, 2, 3, 4"]
    assert rows["masks"][1] == "path"
    assert "Wrote unet.yaml: 15 jobs = 3 values of selected_aug x 5 folds." in said.out
    assert said.err.endswith("next: orch sweep unet --folds 0    (one fold first, to see that it works)\n")
    written = ground.project / "unet.yaml"
    text = written.read_text()
    assert 'variables: {fold: "fold_no"}' in text
    assert '# data_dir: "C:\\\\data\\\\IRM\\\\imagesTr"   # change it, and take the # away' in text
    assert 'code: ["helpers.py"]' in text
    planned = orch("sweep", "unet", "--dry-run", "--json")
    assert len(json.loads(planned.out)["jobs"]) == 15
    refused = orch("adopt", "unet.ipynb")
    assert refused.code == 2
    assert "unet.yaml exists already" in refused.err
    assert "orch adopt unet.ipynb --force" in refused.err
    more = ["--force", "--param", "data_dir=/data/mri", "--param", "SEED=0,1", "--fold", "fold_no=1..2"]
    assert orch("adopt", "unet.ipynb", *more, "--result", "dice=max(val_dices)").code == 0
    text = (ground.project / "unet.yaml").read_text()
    lines = [
        'data_dir: "/data/mri"',
        "fold: [1, 2]",
        "seed: [0, 1]",
        'seed: "SEED"',
        'result: {dice: "max(val_dices)"}',
    ]
    for line in lines:
        assert line in text, line
    assert len(json.loads(orch("sweep", "unet", "--dry-run", "--json").out)["jobs"]) == 12


@pytest.mark.parametrize(
    ("words", "code", "said", "repair"),
    [
        (["--param", "selectedaug=a,b"], 3, "Did you mean 'selected_aug'?", "it sets: "),
        (["--param", "epoch=1,2"], 2, "sets epoch in a loop (cell 5, line 4)", "leave epoch out"),
        (["--param", "batch_size"], 2, "'batch_size' names no variable with values", "--param batch_size=16,32"),
        (["--param", "batch_size="], 2, "there is no value", "--param batch_size=V1,V2"),
        (["--fold", "selected_aug"], 2, "its value is no number", "--fold selected_aug=0..4"),
        (["--result", "dice=val_dise"], 2, "Did you mean 'val_dice'?", "it sets: "),
    ],
)
def test_wishes_that_cannot_be(orch: Orch, ground: Ground, words: list[str], code: int, said: str, repair: str) -> None:
    notebooks.lab(ground.project)
    answer = orch("adopt", "unet.ipynb", *words)
    assert answer.code == code
    assert said in answer.err
    assert repair in answer.err
    assert not (ground.project / "unet.yaml").exists()


def test_a_notebook_with_nothing_to_vary_and_one_with_a_hostile_name(orch: Orch, ground: Ground) -> None:
    notebooks.write(ground.project / "plain.ipynb", "# a text", "threshold = 0.5\nprint(threshold)")
    answer = orch("adopt", "plain.ipynb")
    assert answer.code == 2
    assert "found nothing in plain.ipynb that would differ between jobs" in answer.err
    done = orch("adopt", "plain.ipynb", "--param", "threshold=0.3,0.5")
    assert done.code == 0
    assert "no result was found" in done.err and "sets no random seed" in done.err
    (ground.project / "plain.ipynb").rename(ground.project / 'U-net "été" {x}.ipynb')
    said = orch("adopt", 'U-net "été" {x}.ipynb', "--param", "threshold=0.3,0.5", "--json")
    assert json.loads(said.out)["sweep"] == "U-net_t_x"
    assert orch("sweep", "U-net_t_x", "--dry-run").code == 0


def test_a_sweep_file_that_does_not_fit_its_notebook_names_the_line(orch: Orch, ground: Ground) -> None:
    notebooks.lab(ground.project)
    for line, said in (
        ("grid: {fold: 0..4}", "bad.yaml:2  grid.fold: unet.ipynb sets no variable 'fold'"),
        ("grid: {fold_no: [1]}\nvariables: {fold: fold_no}", "bad.yaml:3  variables.fold: is no axis of the grid"),
        ("grid: {fold_no: [1]}\nparameters: {fold_no: 2}", "gives one variable two values"),
        ("result: {dice: nothing}", "bad.yaml:2  result.dice: result dice: unet.ipynb sets no variable 'nothing'"),
        ("folds: 5", "bad.yaml:2  folds: does not go together with `notebook`"),
    ):
        ground.write("bad.yaml", "notebook: unet.ipynb", line)
        answer = orch("sweep", "bad.yaml", "--dry-run")
        assert answer.code == 2
        assert said in answer.err.replace(str(ground.project) + "/", "")
    ground.write("bad.yaml", "notebook: gone.ipynb")
    assert "bad.yaml:1  notebook: there is no notebook" in orch("sweep", "bad.yaml", "--dry-run").err


@pytest.mark.slow
def test_a_notebook_runs_on_another_host(ground: Ground) -> None:
    """A folder plays the host, with a home of its own: the notebook and what it imports go there as pinned code."""
    (ground.base / "grace" / "local").mkdir(parents=True)
    host = {"way": "fake", "address": str(ground.base / "grace"), "python": sys.executable}
    ground.write("site.yaml", f"hosts: {json.dumps({'grace': host})}")
    ground.write("orch.yaml")
    notebooks.lab(ground.project / "deep")
    said = ground.orch("adopt", "deep/unet.ipynb", "--param", "selected_aug=noise", "--fold", "fold_no=1..2")
    assert said.code == 0, said
    assert "next: orch sweep deep/unet.yaml --dry-run" in said.err
    done = ground.orch("sweep", "deep/unet.yaml", "--hosts", "grace", "--folds", "2")
    assert done.code == 0, done
    assert [row[:2] for row in ground.orch("report", "unet", "--json").json["rows"]] == [[1, "0/1"], [2, "1/1"]]
    fetched = ground.orch("fetch", "unet", "--only", "notebook.ipynb", "--json")
    assert fetched.code == 0, fetched
    (path,) = ground.project.rglob("notebook.ipynb")
    assert "fold 2, noise, batch 16\n" in outputs(path)
