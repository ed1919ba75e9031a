"""Training from job.json to result.json: what is recorded, stops, bit-exact resumes, and what goes wrong."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch

from jobs.atomic import read_json, write_json
from jobs.errors import ContractError, DataError, OrchError, UsageError
from jobs.events import read
from jobs.folder import Home, RunFolder
from jobs.handin import Run
from jobs.spec import Cell, JobSpec
from trainer import checkpoint, device, folds, loop, schema, task
from trainer.learner import Learner
from trainer.resident import Resident
from trainer.scan import scan

SMALL = {"width": 4, "depth": 2, "batch_size": 8, "epochs": 6, "lr": 0.01, "patience": 0, "size": [16, 16]}
TURN_AND_NOISE = [{"rotate": {"degrees": 15, "probability": 1}}, {"noise": {"std": 0.1, "probability": 1}}]


class Pairs(Protocol):
    """The data set fixture."""

    def add(self, name: str, shape: tuple[int, int, int] = ..., **changes: Any) -> None: ...

    def request(self, **changes: Any) -> dict[str, Any]: ...


class Jobs:
    """Makes run folders of one data set in an orch home."""

    def __init__(self, home: Home, manifest: dict[str, Any]) -> None:
        self.home, self.manifest, self.split = home, manifest, folds.split(manifest, folds=3, inner=0.3)
        self.inputs = {name: str(Path(home.path) / f"{name}.json") for name in ("manifest", "split")}
        write_json(self.inputs["manifest"], self.manifest)
        write_json(self.inputs["split"], self.split)

    def make(
        self,
        attempt: int = 1,
        augment: Any = (),
        former: RunFolder | None = None,
        tuning: dict[str, Any] | None = None,
        **train: Any,
    ) -> RunFolder:
        """Write the run folder of fold 0."""
        knobs = {**schema.defaults(schema.TRAIN), **SMALL, **train}
        parameters = {"augment": list(augment), "train": knobs}
        cell = Cell("trainer", parameters, self.manifest["hash"], self.split["hash"], fold=0, seed=0)
        spec = JobSpec("s", "x/0", {}, cell, ("trainer",), "/", inputs=self.inputs, tuning=tuning or {})
        folder = self.home.attempt("s", spec.id, attempt)
        Path(folder.path).mkdir(parents=True)
        write_json(folder.job, {**spec.to_json(), "attempt": attempt, "resume": former.path if former else None})
        return folder


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and after the test torch and SIGTERM as they were."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


def _pair(number: int) -> dict[str, np.ndarray[Any, Any]]:
    """A noisy volume with two bright boxes somewhere: classes 1 and 2."""
    rng = np.random.default_rng(number)
    mask = np.zeros((12 + number % 3, 14, 6), np.uint8)
    row, column = rng.integers(1, 5, 2)
    mask[row : row + 4, column : column + 5, 1:5] = 1
    mask[row + 4 : row + 7, column + 1 : column + 4, 1:5] = 2
    image = rng.normal(0, 0.3, mask.shape) + 2.0 * (mask == 1) - 2.0 * (mask == 2)
    return {"image": image.astype(np.float32), "mask": mask}


@pytest.fixture
def jobs(orch_home: Home, empty_set: Pairs) -> Jobs:
    """Nine learnable volumes of two classes."""
    for number in range(9):
        pair = _pair(number)
        empty_set.add(f"P{number}", pair["mask"].shape, **pair)
    return Jobs(orch_home, scan(empty_set.request(classes=["up", "down"])))


def events(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in read(folder.events).events if event["kind"] == kind]


def curve(*folders: RunFolder) -> list[tuple[int, dict[str, float]]]:
    """Epochs and their values, without the time they took."""
    rows = [event for folder in folders for event in events(folder, "metrics")]
    return [(row["step"], {name: value for name, value in row["values"].items() if name != "seconds"}) for row in rows]


def untimed(folder: RunFolder) -> dict[str, Any]:
    result = read_json(folder.result)
    assert result is not None
    return {name: value for name, value in result["values"].items() if not name.startswith("seconds")}


def stop_after(folder: RunFolder, epochs: int) -> threading.Thread:
    """Ask for a stop as soon as so many epochs are recorded."""

    def watch() -> None:
        while len(events(folder, "metrics")) < epochs:
            time.sleep(0.005)
        Path(folder.stop).touch()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_who_follows_the_log_sees_each_epoch(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    assert loop.run(jobs.make(epochs=2)) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("epoch 1 of at most 2: loss 0.")
    assert second.startswith("epoch 2 of at most 2: loss 0.") and second.endswith(" s")


def test_a_run_learns_and_hands_in_everything(jobs: Jobs) -> None:
    folder = jobs.make(augment=TURN_AND_NOISE, epochs=15, batch_size=4, lr=0.03)
    assert loop.run(folder) == 0
    (start,) = events(folder, "start")
    assert start["device_reason"] and start["precision_reason"] and start["threads"] == 1 and start["deterministic"]
    assert start["versions"]["torch"] == torch.__version__ and start["resumed_from"] is None
    rows = curve(folder)
    assert [step for step, _ in rows] == list(range(1, 16))
    assert set(rows[0][1]) == {"train_loss", "train_dice", "val_loss", "val_dice", "lr"}
    result = read_json(folder.result) or {}
    values, cases = result["values"], (read_json(folder.cases) or {})["cases"]
    assert values["dice"] > 0.7 and values["val_dice"] == max(row["val_dice"] for _, row in rows)
    tested = [case["case"] for case in jobs.manifest["cases"] if case["case"] in jobs.split["folds"][0]["test"]]
    assert [(row["case"], row["class"]) for row in cases] == [
        (case, name) for case in tested for name in ("up", "down")
    ]
    assert values["dice"] == pytest.approx(np.mean([row["dice"] for row in cases]))
    assert all(row["n_ref"] == 4 * {"up": 20, "down": 9}[row["class"]] for row in cases)
    assert {"slice_dice", "dice/up", "volume_error", "best_epoch", "seconds_per_epoch", "test_slices"} <= set(values)
    assert (values["train_slices"] + values["validation_slices"] + values["test_slices"]) == 9 * 6
    names = sorted(item.name for item in Path(folder.path).iterdir())
    assert names == ["best.json", "best.pt", "cases.json", "events.jsonl", "job.json", "result.json"]
    recorded = events(folder, "augment")
    assert len(recorded) == loop.RECORDED and list(recorded[0]["parameters"][0]) == ["rotate"]
    assert not {"image", "label"} & set(json.dumps(cases).split('"'))


COSINE = {"precision": "bf16", "schedule": "cosine"}


@pytest.mark.parametrize(
    ("knobs", "threads"),
    [({"precision": "fp32"}, "1"), (COSINE, "1"), pytest.param(COSINE, "2", marks=pytest.mark.slow)],
)
def test_a_resume_changes_no_bit_of_weights_and_values(
    jobs: Jobs, knobs: dict[str, Any], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    whole = jobs.make(1, TURN_AND_NOISE, **knobs)
    first, second = (jobs.home.attempt("another", whole.job_id, number) for number in (1, 2))
    for folder, former in ((first, None), (second, first)):
        Path(folder.path).mkdir(parents=True)
        write_json(folder.job, {**(read_json(whole.job) or {}), "resume": former.path if former else None})
    assert loop.run(whole) == 0
    watcher = stop_after(first, 3)
    assert loop.run(first) == 0
    watcher.join()
    stopped = read_json(first.checkpoint("last")[:-3] + ".json") or {}
    assert 3 <= stopped["epoch"] <= 4 and not Path(first.result).exists()
    assert f"last.pt holds epoch {stopped['epoch']}" in events(first, "note")[-1]["text"]
    assert loop.run(second) == 0
    assert events(second, "start")[0]["resumed_from"] == 1
    assert curve(first, second) == curve(whole)
    assert untimed(second) == untimed(whole) and read_json(second.cases) == read_json(whole.cases)
    assert same(checkpoint.load(second, "best"), checkpoint.load(whole, "best"))
    assert not Path(first.checkpoint("last")).exists()  # no longer needed, and large


def same(one: Any, other: Any) -> bool:
    """Compare two checkpoints bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "seconds")
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def trained_to(jobs: Jobs, folder: RunFolder, epochs: int, former: RunFolder | None) -> Any:
    """Train up to an epoch, in the steps of `loop.run`; return what `last.pt` holds."""
    job = task.read(folder)
    job = replace(job, settings=replace(job.settings, epochs=epochs))
    device.prepare("cpu")
    chosen = device.Choice("cpu", "test"), device.choose_precision("auto", "cpu")
    learner = Learner.build(job, *chosen)
    learner.resume(folder, former.path if former else None)
    assert loop._train(folder, Run(folder.path), job, learner, Resident.of(job.slices, "cpu")) is None
    return checkpoint.load(folder, "last")


def test_weights_and_optimiser_after_six_epochs_are_those_of_three_and_three(jobs: Jobs) -> None:
    whole = trained_to(jobs, jobs.make(1, TURN_AND_NOISE), 6, None)
    half = jobs.make(2, TURN_AND_NOISE)
    trained_to(jobs, half, 3, None)
    rest = trained_to(jobs, jobs.make(3, TURN_AND_NOISE), 6, half)
    assert whole["progress"]["epoch"] == rest["progress"]["epoch"] == 6 and same(whole, rest)


def test_a_resume_looks_past_damaged_and_missing_checkpoints(jobs: Jobs) -> None:
    first = jobs.make(1)
    trained_to(jobs, first, 2, None)
    second, third = jobs.make(2, former=first), jobs.make(3)
    Path(second.checkpoint("last")).write_bytes(b"torn")
    last = jobs.make(4, former=third)
    assert loop.run(last) == 0
    assert events(last, "start")[0]["resumed_from"] == 1
    assert [step for step, _ in curve(last)] == [3, 4, 5, 6]
    fresh = jobs.make(5, former=jobs.make(6))
    assert loop.run(fresh) == 0 and events(fresh, "start")[0]["resumed_from"] is None


def test_sigterm_leaves_a_checkpoint_no_result_and_exit_status_0(jobs: Jobs) -> None:
    folder = jobs.make(epochs=100_000)
    child = subprocess.Popen([sys.executable, "-m", "trainer", "run", folder.path], stdout=subprocess.DEVNULL)
    while not events(folder, "metrics"):
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
    assert not Path(folder.result).exists() and "stopped on request" in events(folder, "note")[-1]["text"]
    content = checkpoint.load(folder, "last")
    assert content is not None and content["progress"]["epoch"] == len(curve(folder))


def test_patience_stops_early_and_the_best_epoch_is_the_one_that_is_tested(jobs: Jobs) -> None:
    folder = jobs.make(epochs=1000, patience=2, lr=0.05)
    assert loop.run(folder) == 0
    rows, values = curve(folder), untimed(folder)
    dice = [row["val_dice"] for _, row in rows]
    assert values["epochs"] == len(rows) < 1000 and values["best_epoch"] == len(rows) - 2
    assert values["best_epoch"] == 1 + int(np.argmax(dice)) and values["val_dice"] == max(dice)
    best = checkpoint.load(folder, "best")
    assert best is not None and best["epoch"] == values["best_epoch"]
    assert best["network"] == {"width": 4, "depth": 2, "classes": ["up", "down"], "axis": 2, "size": [16, 16]}


def test_a_loss_that_is_no_number_fails_with_its_event(jobs: Jobs) -> None:
    folder = jobs.make(lr=1e30, precision="fp32")
    assert loop.run(folder) == 1
    (failure,) = events(folder, "failure")
    assert failure["failure"] == "nan_loss" and "lower the lr" in failure["text"]
    assert not Path(folder.result).exists() and not Path(folder.checkpoint("last")).exists()


def test_out_of_memory_fails_with_its_event(jobs: Jobs) -> None:
    folder = jobs.make(width=512, depth=3)
    limit = (1200 << 20, 1200 << 20)  # torch itself takes 640 MiB, this network 2 GiB
    child = subprocess.run(
        [sys.executable, "-m", "trainer", "run", folder.path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        check=False,
    )
    assert child.returncode == 1 and events(folder, "failure")[0]["failure"] == "out_of_memory"


def test_a_micro_batch_is_another_way_to_the_same_job_and_is_recorded(jobs: Jobs) -> None:
    whole, parts = jobs.make(epochs=4), jobs.make(attempt=2, epochs=4, tuning={"micro_batch": 3})
    assert (whole.job_id, loop.run(whole), loop.run(parts)) == (parts.job_id, 0, 0)
    said = [(event["batch"], event["micro_batch"]) for folder in (whole, parts) for event in events(folder, "start")]
    assert said == [(8, 8), (8, 3)]
    notes = [
        [note["text"] for note in events(folder, "note") if "micro-batch" in note["text"]] for folder in (whole, parts)
    ]
    assert [len(found) for found in notes] == [0, 1]
    (first, _), (second, _) = curve(whole)[0], curve(parts)[0]
    assert first == second == 1
    losses = [[values["train_loss"] for _, values in curve(folder)] for folder in (whole, parts)]
    assert losses[0] != losses[1], "batch normalisation sees 3 slices instead of 8"
    assert losses[1][-1] < losses[1][0], "it learns all the same"


@pytest.mark.parametrize("micro", [0, -1, "x", True, 2.5])
def test_a_micro_batch_that_is_no_number_of_slices_is_refused(jobs: Jobs, micro: Any) -> None:
    with pytest.raises(UsageError, match="micro-batch"):
        task.read(jobs.make(tuning={"micro_batch": micro}))


def test_one_class_is_trained_with_one_output(orch_home: Home, empty_set: Pairs) -> None:
    for number in range(6):
        pair = _pair(number)
        pair["mask"] = (pair["mask"] > 0).astype(np.uint8)
        empty_set.add(f"P{number}", pair["mask"].shape, **pair)
    folder = Jobs(orch_home, scan(empty_set.request())).make(epochs=2)
    assert loop.run(folder) == 0
    assert {"dice", "dice/foreground"} <= set(untimed(folder))
    best = checkpoint.load(folder, "best")
    assert best is not None and best["model"]["head.weight"].shape[0] == 1


def test_padding_is_not_scored(jobs: Jobs) -> None:
    job = task.read(jobs.make())
    data = Resident.of(job.slices, "cpu")
    rows = torch.arange(len(job.slices.masks))
    inside = data.inside(rows)
    for row, index in enumerate(job.slices.case_of):
        height, width = job.slices.cases[index].shape
        top, left = (16 - height + 1) // 2, (16 - width + 1) // 2
        expected = torch.zeros(16, 16, dtype=torch.bool)
        expected[top : top + height, left : left + width] = True
        assert torch.equal(inside[row], expected)
        assert (data.images[row, 0][~inside[row]] == 0).all()


def test_every_step_has_one_shape_and_every_slice_its_turn(jobs: Jobs) -> None:
    job = task.read(jobs.make(batch_size=7))
    batches = loop._batches(job, 1)
    assert batches.shape[1] == 7 and set(batches.flat) == set(job.train)
    assert math.ceil(len(job.train) / 7) == len(batches)
    few = loop._batches(replace(job, settings=replace(job.settings, batch_size=500)), 1)
    assert few.shape == (1, len(job.train))


@pytest.mark.parametrize(
    ("knobs", "error", "words"),
    [
        ({"size": [18, 16]}, UsageError, "use size: [20, 16]"),
        ({"size": "auto"}, UsageError, "size auto"),
        ({"size": [8, 8]}, DataError, "cut off"),
        ({"widht": 3}, UsageError, "widht"),
    ],
)
def test_bad_knobs_are_refused(jobs: Jobs, knobs: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        task.read(jobs.make(**knobs))
    shown = caught.value
    assert isinstance(shown, OrchError) and words in shown.message + shown.hint


def edit(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    value = read_json(path) or {}
    change(value)
    write_json(path, value)


def test_an_unusable_folder_split_or_manifest_is_refused(jobs: Jobs) -> None:
    folder = jobs.make()
    edit(folder.job, lambda value: value["cell"].update(fold=1))
    with pytest.raises(ContractError, match="edited"):
        task.read(folder)
    os.unlink(jobs.inputs["split"])  # noqa: PTH108
    with pytest.raises(ContractError, match=r"split.json is missing"):
        task.read(jobs.make(2))
