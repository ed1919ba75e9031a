"""What a sweep may say, read from the two JSON Schemas: parameters with ranges and defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def document(name: str) -> dict[str, Any]:
    """Return a schema of this package: `sweep`, or `trainer` (a copy of what the trainer prints)."""
    text = resources.files(__package__).joinpath(f"{name}_schema.json").read_text("utf-8")
    return dict(json.loads(text))


def trainer_part(name: str) -> dict[str, Any]:
    """Return one of the trainer's definitions: `train`, `strategy`, or an augmentation."""
    return dict(document("trainer")["$defs"][name])


def augmentations() -> list[str]:
    """Return the names of all augmentations."""
    return [next(iter(option["properties"])) for option in trainer_part("step")["oneOf"]]


def sweep_part(name: str) -> dict[str, Any]:
    """Return the schema of one top-level key of a sweep."""
    return dict(document("sweep")["properties"][name])


def default(name: str) -> Any:
    """Return the default of a top-level key of a sweep."""
    return copy.deepcopy(sweep_part(name)["default"])


def shown(value: Any) -> str:
    """Return a value as messages show it: JSON, at most 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def limits(schema: Mapping[str, Any]) -> str:
    """Return the range of a number: `0..180`, `0 (excluded)..1`, `1 and more`."""
    excluded = "exclusiveMinimum" in schema
    low = f"{schema['exclusiveMinimum']} (excluded)" if excluded else str(schema["minimum"])
    return f"{low}..{schema['maximum']}" if "maximum" in schema else f"{low} and more"


def takes(schema: Mapping[str, Any]) -> str:
    """Return the parameters of an object schema: `degrees (float, 0..180, default 15), …`."""
    return ", ".join(f"{name} ({_facts(part)})" for name, part in schema["properties"].items())


def _facts(part: Mapping[str, Any]) -> str:
    kind = {"number": "float", "integer": "int"}.get(str(part.get("type")), str(part.get("type", "value")))
    ranged = "minimum" in part or "exclusiveMinimum" in part
    default_ = f"default {shown(part['default'])}" if "default" in part else ""
    return ", ".join(fact for fact in (kind, limits(part) if ranged else "", default_) if fact)


def example(name: str, schema: Mapping[str, Any]) -> str:
    """Return a line that works: `{rotate: {degrees: 15}}`, with the first parameter that has a default."""
    parts = [(key, part) for key, part in schema["properties"].items() if part.get("type") != "object"]
    key, part = next(((key, part) for key, part in parts if "default" in part), parts[0])
    value = shown(part["default"]) if "default" in part else "…"
    inner = f"{{{key}: {value}}}"
    return f"{{{name}: {inner}}}" if name in augmentations() else f"{name}: {inner}"


def resolve(value: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked object with all defaults filled in; whole numbers become int (15.0 is 15)."""
    given = value or {}
    out: dict[str, Any] = {}
    for name, part in schema["properties"].items():
        if part.get("properties"):
            out[name] = resolve(given.get(name, part.get("default")), part)
        elif name in given:
            out[name] = int(given[name]) if part.get("type") == "integer" else copy.deepcopy(given[name])
        elif "default" in part:
            out[name] = copy.deepcopy(part["default"])
    return out


def resolve_strategy(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a checked strategy with all defaults of its augmentations filled in."""
    return [{name: resolve(value, trainer_part(name)) for name, value in step.items()} for step in steps]
