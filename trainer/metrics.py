"""Scores per patient in 3D, from whole numbers: TP, FP and FN are counted per slice and summed over a volume's slices.

Rules
-----
- Dice of a volume = 2 TP / (2 TP + FP + FN), per class, over all its slices at once.
- The reference is empty: Dice is undefined (null, status `undefined_empty_ref`); false positives are reported.
- The prediction is empty and the reference is not: Dice is 0.
- A patient's Dice is the mean over its volumes, first per class, and over the defined classes; a run's is the mean over
  patients. No ratio is ever averaged over batches.
- `slice_dice` is the mean over slices of the Dice of each slice, where two empty masks agree with 1. It flatters: most
  slices of a thin organ are empty. It stands beside the volume Dice only so that older tables can be compared.

Source: L. Maier-Hein et al., "Metrics reloaded", Nature Methods 21 (2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .data import CaseSlices

Counts = npt.NDArray[np.int64]  # (N, C, 3): TP, FP, FN of each slice and class, in pixels
Row = dict[str, Any]


def count(predicted: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Return TP, FP, FN (B, C, 3) int64 of label maps (B, H, W) against reference label maps."""
    counted = []
    for label in range(1, classes + 1):
        guess, truth = predicted == label, masks == label  # (B, H, W)
        hits = (guess & truth).sum((1, 2))  # (B,)
        counted.append(torch.stack([hits, guess.sum((1, 2)) - hits, truth.sum((1, 2)) - hits], dim=-1))
    return torch.stack(counted, dim=1)


def dice(tp: int, fp: int, fn: int) -> float | None:
    """Return the Dice coefficient; None when the reference is empty."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fn else None


def slice_dice(counts: Counts) -> npt.NDArray[np.float64]:
    """Return Dice (N, C) of each slice by itself; two empty masks give 1."""
    tp, fp, fn = np.moveaxis(counts, -1, 0).astype(np.float64)  # (N, C) each
    whole = 2 * tp + fp + fn
    return np.where(whole > 0, 2 * tp / np.maximum(whole, 1), 1.0)


def score(
    counts: Counts, case_of: npt.NDArray[np.int64], cases: Sequence[CaseSlices], classes: Sequence[str]
) -> list[Row]:
    """Return one row per case and class, in the order of the cases.

    Parameters
    ----------
    counts:
        (N, C, 3) TP, FP, FN of each slice.
    case_of:
        (N,) index into `cases` of each slice; cases without a slice get no row.
    cases:
        What `trainer.data.load` says of each case: pseudonyms and the volume of a voxel.
    classes:
        C names of foreground classes.
    """
    singles = slice_dice(counts)
    rows = []
    for index in np.unique(case_of):
        mine = case_of == index
        summed, flat = counts[mine].sum(0), singles[mine].mean(0)  # (C, 3), (C,)
        for place, name in enumerate(classes):
            tp, fp, fn = (int(value) for value in summed[place])
            rows.append(_row(cases[index], name, (tp, fp, fn), float(flat[place])))
    return rows


def _row(case: CaseSlices, name: str, counted: tuple[int, int, int], flat: float) -> Row:
    tp, fp, fn = counted
    reference, predicted = tp + fn, tp + fp  # voxels
    return {
        "case": case.case,
        "group": case.group,
        "class": name,
        "status": "ok" if reference else "undefined_empty_ref",
        "dice": dice(tp, fp, fn),
        "slice_dice": flat,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "n_ref": reference,
        "n_pred": predicted,
        "volume_ref_ml": reference * case.voxel_ml,
        "volume_pred_ml": predicted * case.voxel_ml,
        "volume_error": (predicted - reference) / reference if reference else None,
    }


def summarise(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, float | None]:
    """Return a run's values: means over patients, null where no patient has a defined value.

    `dice` and `dice/<class>`; `volume_error` is the mean size of the relative volume errors, `volume_bias` their mean
    with sign; `undefined` counts rows without a reference.
    """
    values: dict[str, float | None] = {"dice": _over_patients(rows, classes, "dice")}
    values |= {f"dice/{name}": _over_patients(rows, [name], "dice") for name in classes}
    sizes = [{**row, "volume_error": None if row["n_ref"] == 0 else abs(row["volume_error"])} for row in rows]
    values["volume_error"] = _over_patients(sizes, classes, "volume_error")
    values["volume_bias"] = _over_patients(rows, classes, "volume_error")
    values["undefined"] = float(sum(row["status"] != "ok" for row in rows))
    return values


def summarise_slices(counts: Counts, classes: Sequence[str]) -> dict[str, float | None]:
    """Return `slice_dice` and `slice_dice/<class>`: plain means over all slices."""
    means = slice_dice(counts).mean(0)
    each = {f"slice_dice/{name}": float(mean) for name, mean in zip(classes, means, strict=True)}
    return {"slice_dice": float(means.mean()), **each}


def _over_patients(rows: Sequence[Row], classes: Sequence[str], key: str) -> float | None:
    """Average volumes within a patient and class, then a patient's classes, then patients."""
    patients = []
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        patients.append(mean(mean(row[key] for row in mine if row["class"] == name) for name in classes))
    return mean(patients)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the defined values; None when there is none."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
