"""Augmentations: image and mask together, keyed randomness, labels stay labels, neutral strength changes no bit."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jobs.errors import UsageError
from trainer import schema
from trainer.augment import TABLE, Chain, Geometric, build
from trainer.augment.geometry import warp

NEUTRAL: dict[str, dict[str, Any]] = {
    "rotate": {"degrees": 0},
    "affine": {"degrees": 0, "scale": 0, "translate": 0, "shear": 0},
    "flip": {"probability": 0},
    "noise": {"std": 0},
    "contrast": {"limit": 0},
    "gamma": {"limit": 0},
}
EVERYTHING = [{name: {"probability": 0.8}} for name in TABLE]
SAMPLES = np.arange(100, 116)


def batch(count: int = 16, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """Noise images and label maps of two blocks, values 0, 1 and 3."""
    images = torch.randn(count, 1, height, width, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(count, height, width, dtype=torch.uint8)
    masks[:, 6:14, 5:20] = 1
    masks[:, 10:18, 12:28] = 3
    return images, masks


def augment(chain: Chain, images: Tensor, masks: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
    params = chain.make_params(seed=5, epoch=2, samples=SAMPLES[rows])
    return chain.apply(images[rows], masks[rows], params)


def test_the_table_and_the_schema_name_the_same_things() -> None:
    assert list(TABLE) == list(schema.AUGMENTATIONS)
    assert all(cls.name == name for name, cls in TABLE.items())


@pytest.mark.parametrize("strategy", [*[[{name: {}}] for name in TABLE], EVERYTHING])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_sample_is_augmented_alike_in_any_batch_and_order(strategy: list[dict[str, Any]], threads: int) -> None:
    chain, (images, masks) = build(strategy), batch(height=96, width=128)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = augment(chain, images, masks, list(range(16)))
        for rows in ([3], [2, 0, 3, 1], list(range(15, -1, -1))):
            moved, labels = augment(chain, images, masks, rows)
            assert torch.equal(moved, whole[0][rows]) and torch.equal(labels, whole[1][rows])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", list(TABLE))
def test_defaults_change_the_image_and_leave_the_given_one_alone(name: str) -> None:
    images, masks = batch()
    kept = images.clone(), masks.clone()
    moved, labels = augment(build([{name: {}}]), images, masks, list(range(16)))
    assert not torch.equal(moved, images) and torch.isfinite(moved).all()
    assert torch.equal(images, kept[0]) and torch.equal(masks, kept[1])
    assert moved.dtype == torch.float32 and labels.dtype == torch.uint8
    assert torch.equal(labels, masks) != issubclass(TABLE[name], Geometric)


@pytest.mark.parametrize("name", list(TABLE))
@pytest.mark.parametrize("never", [False, True])
def test_strength_zero_changes_no_bit_and_warns_with_an_example_that_works(name: str, never: bool) -> None:
    images, masks = batch()
    with pytest.warns(UserWarning, match=f"{name} changes nothing") as caught:
        chain = build([{name: {"probability": 0} if never else NEUTRAL[name]}])
    moved, labels = augment(chain, images, masks, list(range(16)))
    assert torch.equal(moved, images) and torch.equal(labels, masks)
    example = str(caught[0].message).split("for example ")[1].removesuffix(" does").replace("'", '"')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build([json.loads(example)])


def test_identity_is_the_empty_chain_and_exact() -> None:
    images, masks = batch()
    moved, labels = augment(build([]), images, masks, list(range(16)))
    assert torch.equal(moved, images) and torch.equal(labels, masks)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    names=st.lists(st.sampled_from(list(TABLE)), min_size=1, max_size=4),
    labels=st.lists(st.integers(1, 255), min_size=1, max_size=3),
)
def test_a_mask_stays_a_label_map(seed: int, names: list[str], labels: list[int]) -> None:
    images, _ = batch(4)
    masks = torch.zeros(4, 24, 32, dtype=torch.uint8)
    for place, label in enumerate(labels):
        masks[:, 4 + 5 * place : 12 + 5 * place, 6:25] = label
    chain = build([{name: {}} for name in names])
    moved, mapped = chain.apply(images, masks, chain.make_params(seed, 1, SAMPLES[:4]))
    assert set(mapped.flatten().tolist()) <= {0, *labels}
    assert moved.shape == images.shape and mapped.shape == masks.shape and torch.isfinite(moved).all()


def smooth(height: int = 40, width: int = 56) -> tuple[Tensor, Tensor]:
    """One slow wave, and a disc in the middle."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.sin(columns * 0.2) + torch.cos(rows * 0.15)
    disc = (rows - (height - 1) / 2) ** 2 + (columns - (width - 1) / 2) ** 2 < 13**2
    return image[None, None].float(), disc[None].to(torch.uint8)


@settings(max_examples=40, deadline=None)
@given(degrees=st.floats(-180, 180))
def test_turning_back_returns(degrees: float) -> None:
    image, mask = smooth()
    rotate = TABLE["rotate"](degrees=180, probability=1)  # type: ignore[call-arg]
    assert isinstance(rotate, Geometric)
    matrices = [rotate.matrix({"degrees": np.array([angle])}, (40, 56)) for angle in (degrees, -degrees)]
    there = warp(image, mask, matrices[0])
    back, label = warp(*there, matrices[1])
    inside = (slice(None), slice(None), slice(12, 28), slice(20, 36))  # stays in the frame at every angle
    assert (back[inside] - image[inside]).abs().max() < 0.05  # two bilinear samplings
    assert (label != mask).float().mean() < 0.06 and torch.equal(label[:, 14:26, 22:34], mask[:, 14:26, 22:34])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), names=st.permutations(["rotate", "affine", "flip"]))
def test_composed_matrices_do_what_the_single_steps_do(seed: int, names: list[str]) -> None:
    image, mask = smooth()
    chain = build([{name: {}} for name in names])
    params = chain.make_params(seed, 1, np.array([0]))
    together, label = chain.apply(image, mask, params)
    apart, steps = (image, mask), [build([{name: {}}]) for name in names]
    for step, drawn in zip(steps, params, strict=True):
        apart = step.apply(*apart, [drawn])
    assert (together - apart[0])[..., 14:26, 22:34].abs().max() < 0.1
    assert (label != apart[1]).float().mean() < 0.03


def test_a_quarter_turn_is_counter_clockwise_and_a_flip_is_exact() -> None:
    images, masks = batch(1, 9, 9)
    rotate, flip = TABLE["rotate"](degrees=180, probability=1), TABLE["flip"](probability=1, axes=["horizontal"])  # type: ignore[call-arg]
    assert isinstance(rotate, Geometric) and isinstance(flip, Geometric)
    turned, labels = warp(images, masks, rotate.matrix({"degrees": np.array([90.0])}, (9, 9)))
    assert torch.allclose(turned, images.rot90(1, (2, 3)), atol=1e-5)
    assert torch.equal(labels, masks.rot90(1, (1, 2)))
    yes, no = np.array([True]), np.array([False])
    mirrored, labels = warp(images, masks, flip.matrix({"horizontal": yes, "vertical": no}, (9, 9)))
    assert torch.equal(mirrored, images.flip(3)) and torch.equal(labels, masks.flip(2))
    mirrored, labels = warp(images, masks, flip.matrix({"horizontal": no, "vertical": yes}, (9, 9)))
    assert torch.equal(mirrored, images.flip(2)) and torch.equal(labels, masks.flip(1))


def test_a_shift_moves_by_whole_pixels_on_slices_that_are_not_square() -> None:
    image, mask = smooth()
    affine = TABLE["affine"](degrees=0, scale=0, translate=0.5, shear=0, probability=1)  # type: ignore[call-arg]
    assert isinstance(affine, Geometric)
    drawn = {"degrees": 0, "scale": 1, "translate_columns": 7 / 56, "translate_rows": 4 / 40, "shear": 0}
    moved, label = warp(image, mask, affine.matrix({k: np.array([v]) for k, v in drawn.items()}, (40, 56)))
    assert torch.allclose(moved[:, :, 4:, 7:], image[:, :, :-4, :-7], atol=1e-4)
    assert torch.equal(label[:, 4:, 7:], mask[:, :-4, :-7])
    assert (moved[:, :, :4].abs() < 1e-4).all() and (label[:, :4] == 0).all()


def test_intensities_change_as_the_drawn_numbers_say() -> None:
    images, masks = batch(4)
    for name, key in (("contrast", "factor"), ("gamma", "exponent"), ("noise", "std")):
        chain = build([{name: {"std": 0.5} if name == "noise" else {}}])
        params = chain.make_params(0, 1, SAMPLES[:4])
        moved, _ = chain.apply(images, masks, params)
        value = torch.from_numpy(params[0][key])
        if name == "contrast":
            assert torch.allclose(moved.std((1, 2, 3)) / images.std((1, 2, 3)), value.float(), atol=1e-4)
            assert torch.allclose(moved.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-4)
        elif name == "gamma":
            assert torch.allclose(moved.amin((1, 2, 3)), images.amin((1, 2, 3)), atol=1e-4)
            assert torch.equal(moved.mean((1, 2, 3)) < images.mean((1, 2, 3)), value > 1)
        else:
            assert torch.allclose((moved - images).std((1, 2, 3)), value.float(), atol=0.05)


def test_a_flat_slice_survives_gamma_and_contrast() -> None:
    images, masks = torch.full((4, 1, 8, 8), 2.0), torch.zeros(4, 8, 8, dtype=torch.uint8)
    chain = build([{"gamma": {}}, {"contrast": {}}])
    moved, _ = chain.apply(images, masks, chain.make_params(0, 1, SAMPLES[:4]))
    assert torch.allclose(moved, images)


def test_drawn_numbers_stay_in_their_ranges_and_are_recorded_as_json() -> None:
    chain = build(EVERYTHING)
    params = chain.make_params(3, 9, np.arange(2000))
    angles = params[0]["degrees"]
    assert -15 <= angles.min() < -14 and 14 < angles.max() < 15
    assert 0.17 < (angles == 0).mean() < 0.23  # probability 0.8
    assert params[4]["factor"].min() >= 0.75 and params[4]["factor"].max() <= 1.25
    assert params[5]["exponent"].min() >= 1 / 1.3 and params[5]["exponent"].max() <= 1.3
    record = json.loads(json.dumps(chain.record(params, 17)))
    assert [list(step) for step in record] == [[name] for name in TABLE]
    assert record[0]["rotate"]["degrees"] == angles[17]
    assert set(record[1]["affine"]) == {"degrees", "scale", "translate_columns", "translate_rows", "shear"}
    assert 0 <= record[3]["noise"]["seed"] < 2**53


def test_unknown_names_and_knobs_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match="no augmentation is called 'rotat'") as caught:
        build([{"rotat": {}}])
    assert "rotate" in caught.value.hint
    with pytest.raises(UsageError, match="rotate has no knob 'degree'") as caught:
        build([{"rotate": {"degree": 15}}])
    assert "degrees" in caught.value.hint
