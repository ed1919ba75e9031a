"""Keyed random numbers: the published vectors, and nothing but the key matters."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.keyed import order, philox, uniform, weights_seed

# Known answers of Random123's philox4x32-10: counter, key, words.
VECTORS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_published_vectors(counter: list[int], key: tuple[int, int], words: list[int]) -> None:
    assert philox(np.array(counter, dtype=np.uint64), key).tolist() == words


def test_a_sample_s_numbers_do_not_depend_on_its_batch() -> None:
    whole = uniform(7, 3, np.arange(100), operation=1, draws=6)
    assert whole.min() >= 0 and whole.max() < 1
    for rows in ([5], [99, 5, 17], list(range(50, 100))):
        assert np.array_equal(uniform(7, 3, np.array(rows), 1, 6), whole[rows])
    assert np.array_equal(uniform(7, 3, np.arange(100), 1, 2), whole[:, :2])


def test_every_part_of_the_key_matters() -> None:
    samples = np.arange(4)
    drawn = [uniform(*key, samples, place, 4) for key, place in (((0, 1), 0), ((1, 1), 0), ((0, 2), 0), ((0, 1), 1))]
    assert len({values.tobytes() for values in drawn}) == 4
    assert len({weights_seed(seed) for seed in range(100)}) == 100


def test_numbers_are_evenly_spread() -> None:
    values = uniform(0, 1, np.arange(10_000), 0, 4)
    assert np.allclose(values.mean(0), 0.5, atol=0.01)
    assert np.allclose(np.corrcoef(values.T), np.eye(4), atol=0.05)


def test_an_epoch_visits_every_slice_once_in_its_own_order() -> None:
    first, second = order(0, 1, 500), order(0, 2, 500)
    assert sorted(first) == sorted(second) == list(range(500))
    assert not np.array_equal(first, second) and np.array_equal(first, order(0, 1, 500))
