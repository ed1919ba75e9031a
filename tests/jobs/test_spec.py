"""Job specifications: a job is its scientific cell."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import ContractError
from jobs.spec import Cell, JobSpec, Resources

TRAINER = Cell(
    "trainer",
    {"augment": [{"rotate": {"degrees": 15}}], "train": {"lr": 1e-4, "width": 64}},
    data="aa",
    split="bb",
    fold=3,
    seed=0,
)
COMMAND = Cell("command", {"argv": ["python3", "train.py", "--fold", "{fold}"], "grid": {"fold": 1}})


@pytest.mark.parametrize(("cell", "pinned"), [(TRAINER, "fd95c9af2c60f843"), (COMMAND, "b5eca7f6eea5265c")])
def test_ids_never_change(cell: Cell, pinned: str) -> None:
    """Every run folder ever made is found by its id: another hash would make all of them holes."""
    assert cell.id == pinned


def test_equal_numbers_name_the_same_job() -> None:
    same = dataclasses.replace(TRAINER, parameters=json.loads(json.dumps(TRAINER.parameters).replace("15", "15.0")))
    assert same.id == TRAINER.id


@pytest.mark.parametrize("change", [{"data": "ab"}, {"split": "bc"}, {"fold": 2}, {"seed": 1}, {"program": "x"}])
def test_every_part_of_the_cell_counts(change: dict[str, Any]) -> None:
    assert dataclasses.replace(TRAINER, **change).id != TRAINER.id


def spec(**more: Any) -> JobSpec:
    given: dict[str, Any] = {"sweep": "s", "label": "a/1", "names": {"fold": 1}, "cell": TRAINER, "argv": ("x",)}
    return JobSpec(**{**given, "cwd": "/", **more})


@pytest.mark.parametrize(
    "change",
    [
        {"sweep": "t"},
        {"label": "b"},
        {"argv": ("y",)},
        {"cwd": "/tmp"},
        {"env": {"A": "1"}},
        {"inputs": {"m": "/x"}},
        {"resources": Resources(4, 1)},
        {"provenance": {"git": "abc"}},
        {"placement": {"host": "grace"}},
    ],
)
def test_nothing_else_counts(change: dict[str, Any]) -> None:
    assert spec(**change).id == spec().id


def test_an_edited_file_is_refused() -> None:
    for path, value in (("fold", 2), ("seed", 9), ("data", "zz")):
        job = spec().to_json()
        job["cell"][path] = value
        with pytest.raises(ContractError, match="was edited") as caught:
            JobSpec.from_json(job)
        assert "put the old file back" in caught.value.hint


def test_what_the_host_adds_is_ignored() -> None:
    job = {**spec().to_json(), "attempt": 2, "claim": {"token": "x"}, "resume": "/y"}
    assert JobSpec.from_json(job) == spec()


@pytest.mark.parametrize("key", ["sweep", "cell", "argv", "resources", "env"])
def test_a_missing_key_is_named(key: str) -> None:
    job = spec().to_json()
    del job[key]
    with pytest.raises(ContractError, match=key):
        JobSpec.from_json(job)


@pytest.mark.parametrize("contract", [None, 0, 2, "1"])
def test_another_contract_is_refused(contract: object) -> None:
    with pytest.raises(ContractError, match="contract"):
        JobSpec.from_json({**spec().to_json(), "contract": contract})


@pytest.mark.parametrize(
    "bad",
    [
        {"argv": []},
        {"argv": ["a\0b"]},
        {"argv": [1]},
        {"cwd": None},
        {"env": {"A=B": "1"}},
        {"env": {"A": 1}},
        {"env": {"": "x"}},
        {"env": ["A"]},
        {"resources": {"cpus": -1, "gpus": 0, "memory_mb": None}},
        {"resources": {"cpus": 1, "gpus": 0.5, "memory_mb": None}},
        {"resources": {"cores": 1}},
    ],
)
def test_what_no_host_could_start_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ContractError) as caught:
        JobSpec.from_json({**spec().to_json(), **bad})
    assert caught.value.hint


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
parameters = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
cells = st.builds(
    Cell,
    program=st.sampled_from(["trainer", "command"]),
    parameters=st.dictionaries(words, parameters, max_size=3),
    data=st.none() | words,
    split=st.none() | words,
    fold=st.none() | st.integers(0, 99),
    seed=st.none() | st.integers(0, 2**32),
)
specs = st.builds(
    JobSpec,
    sweep=words,
    label=words,
    names=st.dictionaries(words, words, max_size=2),
    cell=cells,
    argv=st.lists(words, min_size=1, max_size=3).map(tuple),
    cwd=words,
    env=st.dictionaries(st.from_regex(r"\A[A-Z]{1,4}\Z"), words, max_size=2),
    resources=st.builds(Resources, st.integers(0, 9), st.integers(0, 9), st.none() | st.integers(0, 10**6)),
    result_required=st.booleans(),
)


@given(specs)
def test_a_specification_survives_json(given: JobSpec) -> None:
    back = JobSpec.from_json(json.loads(json.dumps(given.to_json(), ensure_ascii=False).encode()))
    assert back == given
    assert back.id == given.id
