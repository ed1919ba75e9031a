"""What a run folder asks for: the resolved knobs, the strategy, and the slices of each part of its fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.atomic import read_json
from jobs.errors import ContractError, DataError, UsageError
from jobs.folder import RunFolder
from jobs.spec import JobSpec

from .augment import Chain, build
from .data import Slices, load
from .folds import check_leakage
from .schema import TRAIN, defaults


@dataclass(frozen=True)
class Settings:
    """The knobs of `trainer/schema.py`, resolved."""

    width: int  # channels of the first level
    depth: int  # levels below it
    batch_size: int  # slices per step
    epochs: int  # at most so many
    lr: float  # learning rate of Adam
    schedule: str  # constant, or cosine: falls to 0 over all epochs
    patience: int  # epochs without a better val_dice until the stop; 0 = never
    alpha: float  # weight of the Dice loss; the rest is cross-entropy
    axis: int  # of the volume, cut into slices
    size: tuple[int, int]  # (rows, columns) in pixels, multiples of 2**depth
    precision: str  # auto, fp32 or bf16

    @classmethod
    def read(cls, knobs: Mapping[str, Any]) -> Settings:
        """Read the `train` object of a job.

        Raises
        ------
        UsageError
            A knob is unknown, or the size does not fit the depth.
        """
        known = defaults(TRAIN)
        unknown = sorted(set(knobs) - set(known))
        if unknown:
            raise UsageError(f"train has no knob {unknown[0]!r}", f"use one of: {', '.join(known)}")
        full = {**known, **knobs}
        loss, size = full.pop("loss"), full.pop("size")
        if size == "auto":
            raise UsageError("size auto is resolved before a job is made", "write the job with size: [rows, columns]")
        return cls(**full, alpha=loss["dice"], size=_fitting(size, full["depth"]))

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate at a step of all `steps`, both counted over the whole run."""
        if self.schedule == "cosine":
            return float(self.lr * 0.5 * (1 + np.cos(np.pi * step / steps)))
        return self.lr


def _fitting(size: tuple[int, int], depth: int) -> tuple[int, int]:
    grain = 2**depth
    rows, columns = (-(-side // grain) * grain for side in size)
    if (rows, columns) != tuple(size):
        raise UsageError(
            f"size {list(size)} cannot be halved {depth} times", f"use size: [{rows}, {columns}], or a smaller depth"
        )
    return rows, columns


@dataclass(frozen=True)
class Task:
    """One job of the trainer.

    Attributes
    ----------
    settings, chain, seed, fold:
        What is trained, and how.
    slices:
        All slices of the data set.
    train, validation, test:
        (n,) rows of `slices` in each part, in the order of the cache, which no pseudonym decides.
    micro_batch:
        Slices computed at once (`tuning` in `job.json`): fewer than the batch size where memory is short.
    """

    settings: Settings
    chain: Chain
    seed: int
    fold: int
    slices: Slices
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    micro_batch: int

    @property
    def batch(self) -> int:
        """Slices per step: no more than there are."""
        return min(self.settings.batch_size, len(self.train))


def read(folder: RunFolder) -> Task:
    """Read `job.json` and what it names, and decode the data if no job has done so before.

    Raises
    ------
    ContractError
        `job.json`, the manifest or the split cannot be read.
    UsageError
        A knob is unknown or does not fit.
    DataError
        The split leaks, the data changed, or a part has nothing to learn from or to choose by.
    """
    spec = JobSpec.from_json(_json(folder.job))
    if spec.cell.program != "trainer" or spec.cell.fold is None:
        raise ContractError(f"{folder.job} is not a job of the trainer", "start it as its argv says")
    settings = Settings.read(spec.cell.parameters["train"])
    chain = build(spec.cell.parameters["augment"])
    manifest, split = _json(spec.inputs["manifest"]), _json(spec.inputs["split"])
    check_leakage(split, manifest)
    slices = load(manifest, settings.axis, settings.size)
    try:
        part = split["folds"][spec.cell.fold]
    except IndexError:
        raise DataError(
            f"the split has no fold {spec.cell.fold}", f"use a fold from 0 to {len(split['folds']) - 1}"
        ) from None
    rows = {name: np.sort(slices.rows(part[name])) for name in ("train", "validation", "test")}
    _refuse_empty(slices, rows, spec.cell.fold)
    micro = _micro_batch(spec.tuning, settings.batch_size)
    return Task(settings, chain, spec.cell.seed or 0, spec.cell.fold, slices, **rows, micro_batch=micro)


def _micro_batch(tuning: Mapping[str, Any], batch_size: int) -> int:
    micro = tuning.get("micro_batch", batch_size)
    if isinstance(micro, bool) or not isinstance(micro, int) or micro < 1:
        raise UsageError(f"a micro-batch of {micro!r} cannot be computed", "give a whole number from 1")
    return min(micro, batch_size)


def _refuse_empty(slices: Slices, rows: Mapping[str, npt.NDArray[np.int64]], fold: int) -> None:
    for name in ("train", "validation"):
        if not any(slices.masks[row].any() for row in rows[name]):
            what = "nothing to learn" if name == "train" else "no Dice to choose the best epoch by"
            raise DataError(
                f"all masks in the {name} part of fold {fold} are empty: {what}",
                "write other `folds:` or a larger `inner:` in the sweep file, or add labelled patients",
            )


def _json(path: str) -> Any:
    value = read_json(path)
    if value is None:
        raise ContractError(f"{path} is missing or not whole", "start the sweep again: orch sweep writes it anew")
    return value
