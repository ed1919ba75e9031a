"""Scores against shapes whose volumes and overlaps are known, and the rules for empty masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import CaseSlices
from trainer.metrics import count, dice, mean, score, slice_dice, summarise, summarise_slices


def case(name: str, group: str, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> CaseSlices:
    return CaseSlices(name, group, 0, 1, (8, 8), (0, 0), spacing)


def ball(radius: float, centre: tuple[float, float, float], size: int = 64) -> torch.Tensor:
    """Label map (D, H, W) of a ball."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"), -1) - torch.tensor(centre)
    return (grid.square().sum(-1) <= radius**2).to(torch.uint8)


def volume_dice(predicted: torch.Tensor, masks: torch.Tensor) -> float | None:
    tp, fp, fn = count(predicted, masks, 1).sum((0, 1)).tolist()
    return dice(tp, fp, fn)


def test_two_balls_overlap_as_the_formula_of_the_lens_says() -> None:
    radius, distance = 20.0, 12.0
    first, second = ball(radius, (31.5, 31.5, 25.5)), ball(radius, (31.5, 31.5, 25.5 + distance))
    lens = math.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    found = volume_dice(first, second)
    assert found == pytest.approx(lens / (4 / 3 * math.pi * radius**3), abs=0.005)


def test_a_thin_cylinder_that_is_moved_by_one_pixel_loses_half() -> None:
    predicted, masks = torch.zeros(2, 10, 8, 8, dtype=torch.uint8)
    masks[2:8, 3:5, :] = 1  # a duct 2 pixels wide
    predicted[2:8, 4:6, :] = 1
    assert volume_dice(predicted, masks) == 0.5


def test_counts_by_hand() -> None:
    masks = torch.tensor([[[1, 1, 0], [2, 2, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=torch.uint8)
    predicted = torch.tensor([[[1, 0, 0], [2, 1, 2]], [[0, 0, 0], [0, 0, 1]]], dtype=torch.uint8)
    counted = count(predicted, masks, 2)
    assert counted.dtype == torch.int64
    assert counted.tolist() == [[[1, 1, 1], [1, 1, 1]], [[0, 1, 0], [0, 0, 0]]]  # slice, class, (TP, FP, FN)


def test_a_volume_is_scored_from_the_sum_of_its_slices_not_from_their_mean() -> None:
    counts = np.array([[[8, 0, 0]], [[0, 1, 1]], [[0, 0, 0]], [[5, 5, 0]]])  # three slices of a, one of b
    cases = [case("a", "p", (0.5, 0.5, 2.0)), case("b", "q")]
    first, second = score(counts, np.array([0, 0, 0, 1]), cases, ["duct"])
    assert first["dice"] == 16 / 18 and second["dice"] == 10 / 15
    assert first["slice_dice"] == pytest.approx((1 + 0 + 1) / 3)
    assert (first["tp"], first["fp"], first["fn"], first["n_ref"], first["n_pred"]) == (8, 1, 1, 9, 9)
    assert first["volume_ref_ml"] == pytest.approx(9 * 0.5 / 1000)
    assert second["volume_error"] == 1.0 and first["volume_error"] == 0.0
    values = summarise([first, second], ["duct"])
    assert values["dice"] == values["dice/duct"] == (16 / 18 + 10 / 15) / 2
    assert values["volume_error"] == values["volume_bias"] == 0.5
    assert summarise_slices(counts, ["duct"])["slice_dice"] == pytest.approx((1 + 0 + 1 + 2 / 3) / 4)


def test_an_empty_reference_is_undefined_and_an_empty_prediction_is_zero() -> None:
    counts = np.array([[[0, 7, 0], [3, 0, 0]], [[0, 0, 4], [0, 0, 0]]])
    rows = score(counts, np.array([0, 1]), [case("a", "p"), case("b", "q")], ["x", "y"])
    undefined, found, missed, absent = rows
    assert undefined["dice"] is None and undefined["status"] == "undefined_empty_ref"
    assert undefined["fp"] == 7 and undefined["volume_error"] is None
    assert found["dice"] == 1 and missed["dice"] == 0 and missed["volume_error"] == -1
    assert absent["status"] == "undefined_empty_ref" and absent["slice_dice"] == 1
    values = summarise(rows, ["x", "y"])
    assert values["dice"] == 0.5  # patient p: y only; patient q: x only
    assert values["dice/x"] == 0 and values["dice/y"] == 1 and values["undefined"] == 2


def test_volumes_of_one_patient_are_averaged_before_patients_are() -> None:
    counts = np.array([[[1, 0, 0]], [[0, 0, 1]], [[1, 0, 0]]])
    rows = score(counts, np.arange(3), [case("a", "p"), case("b", "p"), case("c", "q")], ["x"])
    assert summarise(rows, ["x"])["dice"] == 0.75


def test_nothing_defined_gives_null() -> None:
    rows = score(np.zeros((1, 1, 3), np.int64), np.array([0]), [case("a", "p")], ["x"])
    assert summarise(rows, ["x"])["dice"] is None and summarise(rows, ["x"])["volume_bias"] is None
    assert mean([]) is None and mean([None, 2.0]) == 2


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), min_size=1, max_size=8))
def test_dice_does_not_depend_on_how_a_volume_is_cut(parts: list[tuple[int, int, int]]) -> None:
    counts = np.array(parts, dtype=np.int64)[:, None]
    together = score(counts.sum(0, keepdims=True), np.array([0]), [case("a", "p")], ["x"])
    apart = score(counts, np.zeros(len(parts), np.int64), [case("a", "p")], ["x"])
    assert together[0]["dice"] == apart[0]["dice"]
    assert ((slice_dice(counts) >= 0) & (slice_dice(counts) <= 1)).all()
