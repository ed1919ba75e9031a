"""What a sweep may say to the trainer: every knob with its range, default, unit and meaning, as JSON Schema.

Free of torch and numpy. `python -m trainer schema` prints it; the copy `orchestrator/trainer_schema.json` is what the
laptop validates and fills defaults with, for it never imports the trainer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def number(default: float, low: float, high: float, meaning: str, unit: str = "", above: bool = False) -> Schema:
    """Describe a real number from `low` (left out when `above`) to `high`."""
    limit = {"exclusiveMinimum": low} if above else {"minimum": low}
    return _knob({"type": "number", **limit, "maximum": high}, default, meaning, unit)


def integer(default: int, low: int, high: int, meaning: str, unit: str = "") -> Schema:
    """Describe a whole number from `low` to `high`."""
    return _knob({"type": "integer", "minimum": low, "maximum": high}, default, meaning, unit)


def choice(default: str, values: list[str], meaning: str) -> Schema:
    """Describe one of several words."""
    return _knob({"type": "string", "enum": values}, default, meaning)


def _knob(core: Schema, default: Any, meaning: str, unit: str = "") -> Schema:
    return {**core, "default": default, "description": meaning, **({"unit": unit} if unit else {})}


def _object(properties: Mapping[str, Schema], meaning: str) -> Schema:
    body = dict(properties)
    return {"type": "object", "description": meaning, "properties": body, "additionalProperties": False}


def _probability(default: float, what: str) -> Schema:
    return number(default, 0, 1, f"share of the slices {what}")


AUGMENTATIONS: dict[str, Schema] = {
    "rotate": _object(
        {
            "degrees": number(15, 0, 180, "angle is drawn evenly from -degrees to +degrees", "degree"),
            "probability": _probability(1, "that are turned"),
        },
        "Turn slice and mask about the centre; what comes in from outside is 0 and background.",
    ),
    "affine": _object(
        {
            "degrees": number(15, 0, 180, "angle is drawn evenly from -degrees to +degrees", "degree"),
            "scale": number(0.1, 0, 0.9, "size factor is drawn evenly from 1-scale to 1+scale"),
            "translate": number(0.05, 0, 1, "shift along each axis, up to this share of the slice's side"),
            "shear": number(0, 0, 60, "shear angle is drawn evenly from -shear to +shear", "degree"),
            "probability": _probability(1, "that are moved"),
        },
        "Turn, resize, shift and shear slice and mask; what comes in from outside is 0 and background.",
    ),
    "flip": _object(
        {
            "probability": _probability(0.5, "that are mirrored, drawn for each axis by itself"),
            "axes": _knob(
                {"type": "array", "items": {"enum": ["horizontal", "vertical"]}, "minItems": 1, "uniqueItems": True},
                ["horizontal"],
                "horizontal mirrors the slice's last axis (columns), vertical the one before (rows)",
            ),
        },
        "Mirror slice and mask.",
    ),
    "noise": _object(
        {
            "std": number(0.05, 0, 10, "standard deviation of Gaussian noise", "standard deviations of the volume"),
            "probability": _probability(1, "that get noise"),
        },
        "Add Gaussian noise to the slice; the mask stays.",
    ),
    "contrast": _object(
        {
            "limit": number(0.25, 0, 1, "factor about the slice's mean is drawn evenly from 1-limit to 1+limit"),
            "probability": _probability(1, "that change"),
        },
        "Stretch or squeeze the slice's intensities about their mean; the mask stays.",
    ),
    "gamma": _object(
        {
            "limit": number(0.3, 0, 4, "log of the exponent is drawn evenly between those of 1/(1+limit) and 1+limit"),
            "probability": _probability(1, "that change"),
        },
        "Raise the slice's intensities, scaled to 0..1 by its own range, to a power; the mask stays.",
    ),
}

TRAIN = _object(
    {
        "width": integer(64, 1, 512, "channels of the U-Net's first level; doubled at each level below", "channels"),
        "depth": integer(4, 1, 6, "how often the U-Net halves the slice (64..1024 channels at width 64)", "levels"),
        "batch_size": integer(16, 1, 4096, "slices per step", "slices"),
        "epochs": integer(100, 1, 100_000, "at most so many passes over the training slices", "epochs"),
        "lr": number(1e-4, 0, 1, "learning rate of Adam", above=True),
        "schedule": choice("constant", ["constant", "cosine"], "cosine lets the rate fall to 0 over all epochs"),
        "patience": integer(10, 0, 100_000, "stop after so many epochs without a better val_dice; 0 = never", "epochs"),
        "loss": {
            **_object(
                {"dice": number(0.5, 0, 1, "weight of the Dice part; the rest is cross-entropy (binary: BCE)")},
                "Weighted sum of Dice loss and cross-entropy.",
            ),
            "default": {"dice": 0.5},
        },
        "axis": integer(2, 0, 2, "axis of the volume along which it is cut into slices"),
        "size": {
            "oneOf": [
                {"const": "auto"},
                {"type": "array", "items": {"type": "integer", "minimum": 8}, "minItems": 2, "maxItems": 2},
            ],
            "default": "auto",
            "description": "[rows, columns] to pad or crop slices to, multiples of 2^depth; auto holds every slice",
            "unit": "pixels",
        },
        "precision": choice("auto", ["auto", "fp32", "bf16"], "auto is bf16 where the hardware computes in it"),
    },
    "How the U-Net is trained.",
)


def document() -> Schema:
    """Return the JSON Schema (draft 2020-12): `$defs` holds each augmentation, `step`, `strategy` and `train`."""
    steps = [
        {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/{name}"}},
            "required": [name],
            "additionalProperties": False,
        }
        for name in AUGMENTATIONS
    ]
    strategy = {
        "type": "array",
        "items": {"$ref": "#/$defs/step"},
        "description": "Augmentations, applied in this order; the empty list is identity.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {**AUGMENTATIONS, "step": {"oneOf": steps}, "strategy": strategy, "train": TRAIN},
    }


def text() -> str:
    """Return the document as it is checked in."""
    return json.dumps(document(), indent=2) + "\n"


def defaults(schema: Schema) -> dict[str, Any]:
    """Return the default of every knob of one object schema, for example `TRAIN`."""
    return {name: knob["default"] for name, knob in schema["properties"].items()}
