"""The trainer's vocabulary: a valid schema, whole defaults, and a fresh copy on the laptop's side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from trainer import schema

COPY = Path(__file__).parents[2] / "orchestrator" / "trainer_schema.json"


def check(value: object, definition: str) -> None:
    document = schema.document()
    jsonschema.Draft202012Validator({**document, "$ref": f"#/$defs/{definition}"}).validate(value)


def test_the_copy_for_the_laptop_is_fresh() -> None:
    assert COPY.read_text() == schema.text(), f"{sys.executable} -m trainer schema > {COPY}"


def test_it_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.document())


def test_every_knob_has_default_and_meaning_and_the_default_is_valid() -> None:
    for name, definition in {**schema.AUGMENTATIONS, "train": schema.TRAIN}.items():
        assert all(knob["description"] for knob in definition["properties"].values())
        check(schema.defaults(definition), name)


def test_the_lab_s_way_is_the_default() -> None:
    lab = {"width": 64, "depth": 4, "batch_size": 16, "epochs": 100, "lr": 1e-4, "patience": 10, "loss": {"dice": 0.5}}
    assert lab.items() <= schema.defaults(schema.TRAIN).items()


@pytest.mark.parametrize("strategy", [[], [{"rotate": {"degrees": 15}}], [{"flip": {}}, {"noise": {"std": 0.05}}]])
def test_strategies_that_are_understood(strategy: object) -> None:
    check(strategy, "strategy")


@pytest.mark.parametrize(
    "strategy",
    [[{"rotate": {"degree": 15}}], [{"rotat": {}}], [{"rotate": {}, "noise": {}}], [{"rotate": {"degrees": 181}}]],
)
def test_strategies_that_are_refused(strategy: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(strategy, "strategy")


def test_it_needs_no_torch() -> None:
    code = "import sys, trainer.schema; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
