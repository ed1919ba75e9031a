"""A real sweep of the trainer: results, provenance, privacy; stop, kill and go on."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import Ground, contents, until

from jobs.atomic import file_sha256
from jobs.events import read
from orchestrator.store import Index

from .conftest import HEADER, PATIENTS, TINY

pytestmark = pytest.mark.slow


def events(folder: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in read(Path(folder, "events.jsonl")).events if event["kind"] == kind]


def test_the_table_stands_at_the_end(trained: Ground) -> None:
    head, *rows = (trained.project / "sweep.out").read_text().strip().splitlines()
    assert head.split("\t")[:4] == ["strategy", "cells", "patients", "Dice"]
    assert [row.split("\t")[:3] for row in rows] == [["identity", "2/2", "6"], ["rotate", "2/2", "6"]]


def test_results_and_patients_are_in_the_index(trained: Ground) -> None:
    with Index.open(trained.index) as index:
        scores, cases, curves = index.scores("tiny"), index.cases("tiny"), index.metrics("tiny")
    assert len(scores) == len(curves) == 4
    for values in scores.values():
        assert {"dice", "slice_dice", "volume_error", "best_epoch", "epochs", "seconds"} <= set(values)
        assert values["epochs"] == 2
    assert len(cases) == 2 * len(PATIENTS)  # each patient is tested once by each strategy
    assert len({row.group for row in cases}) == len(PATIENTS)
    assert all(row.case.startswith("c-") and row.group.startswith("p-") for row in cases)
    for curve in curves.values():
        assert {"train_loss", "train_dice", "val_loss", "val_dice", "lr"} <= set(curve)
        assert list(curve["train_loss"].steps) == [1, 2]
        assert all(math.isfinite(value) for value in curve["train_loss"].values)


def test_every_attempt_says_where_it_comes_from(trained: Ground) -> None:
    for label, (folder,) in trained.folders("tiny").items():
        job = json.loads(Path(folder.job).read_text())
        cell, known = job["cell"], job["provenance"]
        assert {"commit", "dirty", "patch"} <= set(known["git"]) or known["git"]["reason"]
        assert Path(trained.home.code, known["code"], "trainer", "loop.py").is_file()
        assert {"torch", "numpy", "nibabel"} <= set(known["environment"]["packages"])
        assert known["data"]["hash"] == cell["data"] and known["split"] == cell["split"]
        assert known["user"] and known["host"] and known["orch"] and known["created"]
        assert job["claim"]["host"] and job["claim"]["device"]["why"]
        assert (cell["seed"], label) == (0, f"{job['names']['strategy']}/{cell['fold']}")
        assert cell["parameters"]["train"]["size"] == [32, 32]
        assert cell["parameters"]["train"]["batch_size"] == 16  # a default, written out
        (start,) = events(folder.path, "start")
        assert start["device"] and start["device_reason"] and start["precision_reason"]
        assert (start["resumed_from"], start["versions"]["torch"]) == (None, known["environment"]["packages"]["torch"])
    with Index.open(trained.index) as index:
        assert all(row.spec and row.spec["claim"]["host"] for row in index.attempts("tiny"))


def test_checkpoints_are_whole_and_last_is_dropped(trained: Ground) -> None:
    for (folder,) in trained.folders("tiny").values():
        best = json.loads(Path(folder.path, "best.json").read_text())
        assert best["sha256"] == file_sha256(folder.checkpoint("best"))
        assert not Path(folder.checkpoint("last")).exists()
        exit_record = json.loads(Path(folder.exit).read_text())
        assert exit_record["files"]["result.json"] == file_sha256(folder.result)


def test_no_name_and_no_header_leaves_the_data(trained: Ground, tmp_path: Path) -> None:
    """Looked for: six made-up names and a header's text, in every byte of index, report, runs, records and journal."""
    assert trained.orch("report", "tiny", "--out", str(tmp_path / "report")).code == 0
    assert trained.orch("index", "check").code == 0
    home = Path(trained.home.path)
    places = [trained.index.parent, tmp_path / "report", home / "runs", home / "sweeps", home / "code"]
    secrets = [name.encode() for name in PATIENTS] + [HEADER, b"Mme Dupont"]
    found = [
        (str(path), secret)
        for place in places
        for path, data in contents(place)
        for secret in secrets
        if secret in data or secret.decode().encode("utf-16-le") in data
    ]
    assert found == []
    names = [str(path) for place in places for path in place.rglob("*")]
    assert not any(patient in name for name in names for patient in PATIENTS)
    for words in (["show", "rotate/0"], ["why", "rotate/0"], ["logs", "rotate/0"], ["status", "--jobs"]):
        said = trained.orch(*words)
        assert not any(patient in said.out + said.err for patient in PATIENTS)


def test_everything_in_the_home_is_its_owners_alone(trained: Ground) -> None:
    for place in (Path(trained.home.path), trained.index.parent, Path(trained.host_folder.path)):
        for path in (place, *place.rglob("*")):
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0 or path.is_symlink(), path


def test_the_same_again_does_nothing(trained: Ground) -> None:
    said = trained.orch("sweep", "tiny")
    assert said.code == 0
    assert "already there: 4 done; 0 jobs to run" in said.err
    assert said.out == (trained.project / "sweep.out").read_text()


def test_a_report_of_the_sweep(trained: Ground, tmp_path: Path) -> None:
    said = trained.orch("report", "tiny", "--json", "--out", str(tmp_path / "out"))
    assert said.code == 0
    assert [row[0] for row in said.json["rows"]] == ["identity", "rotate"]
    assert {Path(path).suffix for path in said.json["files"]} >= {".html", ".md", ".csv", ".png"}


def test_show_why_and_logs(trained: Ground) -> None:
    shown = trained.orch("show", "rotate/1")
    assert "rotate" in shown.out and "degrees" in shown.out and "best.pt (" in shown.out
    why = trained.orch("why", "rotate/1")
    assert "result handed in" in why.out and "its code: " in why.out and "fold 1, seed 0" in why.out
    assert trained.orch("logs", "rotate/1").code == 0


@pytest.fixture
def beside(trained: Ground, tmp_path: Path) -> Iterator[Ground]:
    """A copy of the trained project with its data and cache, to go on in."""
    found = Ground(tmp_path / "ground")
    for name in ("project", "home", "cache"):
        shutil.copytree(trained.base / name, found.base / name, dirs_exist_ok=True)
    yield found
    found.close()


def lengthen(ground: Ground, name: str, **train: Any) -> None:
    """Write a sweep of one job: identity, fold 0."""
    shape = ", ".join(f"{key}: {value}" for key, value in train.items())
    lines = [line for line in TINY if "rotate" not in line and not line.startswith(("sweep:", "train:"))]
    ground.write(f"sweeps/{name}.yaml", f"sweep: {name}", *lines, f"train: {{width: 4, depth: 2, {shape}}}")


def epochs(ground: Ground, attempt: int) -> list[int]:
    """Steps that an attempt of the one job has told."""
    found = [folder for folder in ground.folders("long").get("identity/0", []) if folder.attempt == attempt]
    return [event["step"] for event in events(found[0].path, "metrics")] if found else []


def test_stop_kill_and_go_on(beside: Ground) -> None:
    """Injected: a stop, then SIGKILL to the trainer, in one training of 40 epochs.

    Lost: the epoch that was begun, twice. Each attempt goes on after the last whole epoch of the one before.
    """
    lengthen(beside, "long", epochs=40, lr="1e-3", patience=0)
    assert beside.orch("sweep", "long", "--folds", "0", "--detach").code == 0
    until(lambda: len(epochs(beside, 1)) >= 2, 120, "two epochs of the first attempt")
    assert "asked to stop" in beside.orch("stop", "identity/0", "--sweep", "long").out
    beside.settle()
    first = beside.folders("long")["identity/0"][0]
    assert beside.states("long")["identity/0"] == "stopped"
    assert Path(first.checkpoint("last")).is_file() and not Path(first.result).exists()
    assert "stopped on request" in beside.orch("why", "identity/0", "--sweep", "long").out

    assert beside.orch("retry", "identity/0", "--sweep", "long").code == 0
    until(lambda: len(epochs(beside, 2)) >= 2, 120, "two epochs of the second attempt")
    second = beside.folders("long")["identity/0"][1]
    (start,) = events(second.path, "start")
    assert start["resumed_from"] == 1
    os.kill(start["pid"], signal.SIGKILL)
    until(lambda: beside.states("long")["identity/0"] == "done", 240, "it starts again by itself, once")
    beside.settle()
    row = beside.rows("long")["identity/0"]
    assert row["attempts"] == 3
    assert (
        "killed by a signal -> retried from its last checkpoint"
        in beside.orch("why", "identity/0", "--sweep", "long").out
    )

    third = beside.folders("long")["identity/0"][2]
    assert events(third.path, "start")[0]["resumed_from"] == 2
    steps = [epochs(beside, number) for number in (1, 2, 3)]
    assert steps[0][0] == 1 and steps[-1][-1] == 40
    for former, later in itertools.pairwise(steps):
        assert later[0] in (former[-1], former[-1] + 1)  # killed between event and checkpoint: the epoch is redone
    assert "it went on from the last checkpoint" in beside.orch("why", "identity/0", "--sweep", "long").out
    assert not any(Path(folder.checkpoint("last")).exists() for folder in beside.folders("long")["identity/0"])


def test_a_loss_that_is_no_number_fails_with_its_repair(beside: Ground) -> None:
    """Injected: the decoded slices of the cache overwritten with not-a-number (a broken disk). Said: kind, repair."""
    arrays = [path for path in (beside.base / "cache").rglob("*") if path.is_file() and "image" in path.name]
    assert arrays
    for path in arrays:
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(data[:-4096] + b"\x00\x7e" * 2048)  # float16 NaN, after whatever head the file has
    lengthen(beside, "broken", epochs=3, lr="1e-3")
    said = beside.orch("sweep", "broken", "--folds", "0", timeout=240)
    assert said.code == 1
    assert "nan loss: " in said.err
    told = beside.orch("why", "identity/0", "--sweep", "broken").out
    assert "repair:   lower train.lr, or look at the data: orch data check" in told
