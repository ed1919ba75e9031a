"""Random numbers that depend on a key and on nothing else.

A sample's augmentation is keyed by (seed, epoch, sample, operation), an epoch's order by (seed, epoch). So batch size,
order, workers and a resume in the middle change no bit, and no generator state has to be kept.

Source: Philox4x32-10 of J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]  # 32-bit words, kept in 64 bits so that a product of two fits
Floats = npt.NDArray[np.float64]

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_AUGMENT, _ORDER, _WEIGHTS = 0, 1, 2  # last word of the counter: what the numbers are for


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Turn counters (..., 4) into random words (..., 4) under a key of two 32-bit words."""
    c0, c1, c2, c3 = (counter[..., word] for word in range(4))
    k0, k1 = np.uint64(key[0]) & _LOW, np.uint64(key[1]) & _LOW
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1)


def uniform(seed: int, epoch: int, samples: npt.NDArray[np.int64], operation: int, draws: int) -> Floats:
    """Return numbers in [0, 1) of shape (len(samples), draws), one row for each sample.

    Parameters
    ----------
    seed, epoch:
        The key.
    samples:
        (B,) index of each slice in the whole data set.
    operation:
        Place of the augmentation in its chain.
    draws:
        Numbers per sample.
    """
    blocks = -(-draws // 4)  # a counter gives 4 words
    counter = np.zeros((len(samples), blocks, 4), dtype=np.uint64)  # (B, blocks, 4)
    counter[..., 0] = samples[:, None]
    counter[..., 1] = operation
    counter[..., 2] = np.arange(blocks)
    counter[..., 3] = _AUGMENT
    words = philox(counter, (seed, epoch)).reshape(len(samples), -1)  # (B, 4 * blocks)
    return words[:, :draws] / 2.0**32


def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Return the permutation of 0..count-1 in which an epoch visits its slices."""
    counter = np.zeros((count, 4), dtype=np.uint64)
    counter[:, 0] = np.arange(count)
    counter[:, 3] = _ORDER
    words = philox(counter, (seed, epoch))
    return np.lexsort((words[:, 1], words[:, 0]))  # 64 bits per slice: a tie does not happen, and would keep order


def weights_seed(seed: int) -> int:
    """Return the 64-bit seed from which the network's first weights are drawn."""
    words = philox(np.array([0, 0, 0, _WEIGHTS], dtype=np.uint64), (seed, 0))
    return int(words[0]) << 32 | int(words[1])
