"""Augmentations of slices, image and mask moved together: one file each, this table, and a chain.

    chain = build([{"rotate": {"degrees": 15}}, {"noise": {"std": 0.05}}])
    params = chain.make_params(seed=0, epoch=1, samples=np.array([17, 4]))
    images, masks = chain.apply(images, masks, params)

`identity` is the empty list.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.errors import UsageError
from trainer.schema import AUGMENTATIONS, defaults

from .affine import Affine
from .base import Augmentation, Geometric, Params, Pointwise
from .chain import Chain
from .contrast import Contrast
from .flip import Flip
from .gamma import Gamma
from .noise import Noise
from .rotate import Rotate

TABLE: dict[str, type[Augmentation]] = {
    "rotate": Rotate,
    "affine": Affine,
    "flip": Flip,
    "noise": Noise,
    "contrast": Contrast,
    "gamma": Gamma,
}

__all__ = ["TABLE", "Augmentation", "Chain", "Geometric", "Params", "Pointwise", "build"]


def build(strategy: Sequence[Mapping[str, Mapping[str, Any]]]) -> Chain:
    """Make the chain that a sweep's strategy describes; knobs that are not given have their defaults.

    Warns about a step that changes nothing, with knobs that do.

    Raises
    ------
    UsageError
        A step has no such name or knob.
    """
    return Chain([_step(name, knobs) for step in strategy for name, knobs in step.items()])


def _step(name: str, knobs: Mapping[str, Any]) -> Augmentation:
    if name not in TABLE:
        raise UsageError(f"no augmentation is called {name!r}", f"use one of: {', '.join(TABLE)}")
    known = defaults(AUGMENTATIONS[name])
    for knob in knobs:
        if knob not in known:
            raise UsageError(f"{name} has no knob {knob!r}", f"use one of: {', '.join(known)}")
    step = TABLE[name](**{**known, **knobs})
    if step.is_noop():
        example = {name: dict(step.noop_example)}
        warnings.warn(f"{name} changes nothing with {dict(knobs)}; for example {example} does", stacklevel=3)
    return step
