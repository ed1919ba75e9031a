"""From a sweep to jobs: order, labels, ids, choices and their reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import SpecError, UsageError
from jobs.spec import JobSpec
from orchestrator.plan import Capacity, DataSet, Pins, Plan, Selection, Split, counts, plan, sweep_record
from orchestrator.sweep import SHIPPED, SweepFile, load_sweep

DATA = DataSet(
    "liver", "d" * 16, "/data/manifest.json", ("duct",), 40, 38, {"0": (72, 320), "1": (72, 300), "2": (300, 320)}
)
SPLIT = Split("s" * 16, "/data/split.json")
PINS = Pins("/env/python", "c" * 16, "/pins/code/cccc", "2026-01-01T00:00:00Z", {"git": {"commit": None}})


@pytest.fixture
def augmentations() -> SweepFile:
    return load_sweep(SHIPPED / "augmentations.yaml")


def made(sweep: SweepFile, selection: Selection = Selection(), capacity: Capacity = Capacity(2)) -> Plan:  # noqa: B008
    return plan(sweep, DATA, SPLIT, PINS, selection, capacity)


def command(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "runs.yaml"
    path.write_text(text, encoding="utf-8")
    return plan(load_sweep(path), None, None, PINS)


def test_blocks_come_whole_one_fold_with_all_strategies_first(augmentations: SweepFile) -> None:
    labels = [spec.label for spec in made(augmentations).specs]
    assert len(labels) == 35
    assert labels[:8] == [*(f"{name}/0" for name in augmentations.strategies), "identity/1"]


def test_several_seeds_stand_in_the_label(augmentations: SweepFile) -> None:
    found = made(replace(augmentations, seeds=(0, 7)))
    assert found.specs[0].label == "identity/0/0"
    assert found.specs[35].label == "identity/0/7"
    assert dict(found.specs[35].names) == {"strategy": "identity", "fold": 0, "seed": 7}
    assert list(counts(found)) == ["7 strategies", "5 folds", "2 seeds"]


def test_a_trainer_job_says_all_that_it_needs(augmentations: SweepFile) -> None:
    spec = made(augmentations).specs[1]
    assert spec.argv == ("/env/python", "-I", "-B", "/pins/code/cccc", "{run}")
    assert spec.result_required
    assert spec.cell.parameters["augment"] == [{"rotate": {"degrees": 15, "probability": 1}}]
    assert (spec.cell.data, spec.cell.split, spec.cell.fold, spec.cell.seed) == (DATA.hash, SPLIT.hash, 0, 0)
    assert spec.inputs == {"manifest": DATA.manifest, "split": SPLIT.path}
    assert spec.provenance["code"] == PINS.code
    assert JobSpec.from_json(spec.to_json()) == spec


def test_ids_are_the_hashes_of_the_cells(augmentations: SweepFile, tmp_path: Path) -> None:
    for found in (
        made(augmentations),
        command(tmp_path, "command: [a, '{x}']\ngrid: {x: [1, é, 0.5]}\nseeds: [1, 2]\n"),
    ):
        assert [cell["id"] for cell in found.cells] == [spec.id for spec in found.specs]
        assert len({spec.id for spec in found.specs}) == len(found.specs)


def test_the_order_and_the_names_are_not_part_of_the_identity(augmentations: SweepFile) -> None:
    turned = dict(reversed([(name.upper(), steps) for name, steps in augmentations.strategies.items()]))
    other = made(replace(augmentations, strategies=turned, name="other"))
    assert {spec.id for spec in other.specs} == {spec.id for spec in made(augmentations).specs}


def test_a_slice_size_becomes_concrete_with_its_reason(augmentations: SweepFile) -> None:
    found = made(augmentations)
    assert found.specs[0].cell.parameters["train"]["size"] == [304, 320]
    assert any("304 x 320: the smallest multiples of 16" in note for note in found.notes)
    along = made(replace(augmentations, train={**augmentations.train, "axis": 0, "depth": 5}))
    assert along.specs[0].cell.parameters["train"]["size"] == [96, 320]
    fixed = made(replace(augmentations, train={**augmentations.train, "size": [320, 320]}))
    assert fixed.specs[0].cell.parameters["train"]["size"] == [320, 320]


def test_a_selection_takes_a_part_and_keeps_all_cells(augmentations: SweepFile) -> None:
    found = made(augmentations, Selection(("rotate", "noise"), (1, 3), (0,)))
    assert [spec.label for spec in found.specs] == ["rotate/1", "noise/1", "rotate/3", "noise/3"]
    assert len(found.cells) == 35
    assert len(sweep_record(found)["cells"]) == 35


@pytest.mark.parametrize(
    ("selection", "said", "repair"),
    [
        (Selection(strategies=("rotat",)), "no rotat. Did you mean 'rotate'?", "strategies are: identity"),
        (Selection(folds=(5,)), "--folds: the sweep has no 5", "folds are: 0, 1, 2, 3, 4"),
        (Selection(seeds=(1,)), "--seeds: the sweep has no 1", "more stand in the sweep file"),
    ],
)
def test_a_selection_of_what_is_not_there(
    augmentations: SweepFile, selection: Selection, said: str, repair: str
) -> None:
    with pytest.raises(UsageError) as caught:
        made(augmentations, selection)
    assert said in caught.value.message
    assert repair in caught.value.hint


def test_more_folds_than_patients(augmentations: SweepFile) -> None:
    with pytest.raises(SpecError, match="39 folds cannot be made of 38 patients") as caught:
        made(replace(augmentations, folds=39))
    assert "folds: 38" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_trainer_without_data(augmentations: SweepFile) -> None:
    with pytest.raises(UsageError, match="names no data"):
        plan(augmentations, None, None, PINS)


@pytest.mark.parametrize(
    ("given", "capacity", "cpus", "gpus"),
    [
        ({}, Capacity(2), 1, 0),
        ({}, Capacity(64), 1, 0),
        ({}, Capacity(140), 4, 0),
        ({}, Capacity(64, parallel=8), 8, 0),
        ({}, Capacity(72, 1), 4, 1),
        ({"cpus": 3, "gpus": 0}, Capacity(72, 1), 3, 0),
    ],
)
def test_resources_come_with_a_reason(
    augmentations: SweepFile, given: dict[str, int], capacity: Capacity, cpus: int, gpus: int
) -> None:
    found = made(replace(augmentations, resources=given), capacity=capacity)
    assert (found.specs[0].resources.cpus, found.specs[0].resources.gpus) == (cpus, gpus)
    assert any(note.startswith(f"{cpus} core") and ": " in note for note in found.notes)


def test_a_command_over_a_grid(tmp_path: Path) -> None:
    found = command(tmp_path, "command: [run, '{fold}', '{lr}', '{run}/x']\ngrid: {fold: 0..1, lr: [1e-3, 1e-4]}\n")
    assert [spec.label for spec in found.specs] == [
        "fold=0,lr=0.001",
        "fold=0,lr=0.0001",
        "fold=1,lr=0.001",
        "fold=1,lr=0.0001",
    ]
    assert found.specs[1].argv == ("run", "0", "0.0001", "{run}/x")
    assert found.specs[1].cell.parameters["grid"] == {"fold": 0, "lr": 1e-4}
    assert not found.specs[1].result_required
    assert found.columns == ("fold", "lr")


def test_a_command_without_a_grid_is_one_job(tmp_path: Path) -> None:
    found = command(tmp_path, "command: [date]\n")
    assert [spec.label for spec in found.specs] == ["runs"]


def test_labels_stay_unique_when_values_look_alike(tmp_path: Path) -> None:
    labels = [spec.label for spec in command(tmp_path, "command: [a, '{x}']\ngrid: {x: [a b, a/b, a_b]}\n").specs]
    assert labels[0] == "x=a_b"
    assert len(set(labels)) == 3


def test_seeds_of_a_command(tmp_path: Path) -> None:
    found = command(tmp_path, "command: [a, '{seed}']\nseeds: [3, 4]\n")
    assert [(spec.argv, spec.cell.seed) for spec in found.specs] == [(("a", "3"), 3), (("a", "4"), 4)]
    with pytest.raises(UsageError, match="has no strategy"):
        plan(found.sweep, None, None, PINS, Selection(strategies=("x",)))


def test_two_words_that_make_the_same_job_are_refused(tmp_path: Path) -> None:
    sweep = command(tmp_path, "command: [a, '{x}']\ngrid: {x: [1]}\n").sweep
    with pytest.raises(UsageError, match="would be the same job"):
        plan(replace(sweep, axes={"x": [1, 1]}), None, None, PINS)


def test_the_record_says_what_the_sweep_is_now(augmentations: SweepFile) -> None:
    record = sweep_record(made(augmentations))
    assert record["columns"] == ["strategy", "fold", "seed"]
    assert record["strategies"][:2] == ["identity", "rotate"]
    assert record["kind"] == "trainer"
    assert record["code"] == PINS.code
    assert record["cells"][0]["label"] == "identity/0"
