"""Checks of a sweep file by JSON Schema; every mistake becomes one message with a line and a repair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.errors import SpecError

from . import schema
from .schema import augmentations, example, limits, shown, takes
from .words import did_you_mean
from .yamlfile import Document, PathIn

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "a mapping (name: value)",
    "boolean": "true or false",
    "null": "empty",
}


class Wrong(NamedTuple):
    """One mistake, out of the validator's own type."""

    rule: str  # JSON Schema keyword: type, minimum, ...
    allowed: Any  # value of that keyword
    value: Any  # what the file says
    schema: dict[str, Any]  # the part of the schema that holds the keyword
    place: PathIn


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    trainer = Resource.from_contents(schema.document("trainer"))
    registry: Registry[Any] = Registry().with_resource("urn:orch:trainer", trainer)
    return Draft202012Validator(schema.document("sweep"), registry=registry)


def check(document: Document) -> None:
    """Check a sweep file against the schema.

    Raises
    ------
    SpecError
        The first thing that is wrong, by line: file, line, place, what is allowed, and the repair.
    """
    if not isinstance(document.value, dict):
        raise document.error((), "a sweep holds `key: value` lines", f"keys are: {', '.join(_keys())}")
    for place in _not_finite(document.value, ()):
        raise document.error(place, "must be a finite number", "write a number")
    found = [_told(_branch(error), document) for error in _validator().iter_errors(document.value)]
    if found:
        raise min(found, key=_line)


def _keys() -> list[str]:
    return list(schema.document("sweep")["properties"])


def _line(error: SpecError) -> int:
    digits = error.message.split("  ")[0].rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


def _not_finite(value: Any, place: PathIn) -> Iterator[PathIn]:
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _not_finite(item, (*place, key))


def _branch(error: ValidationError) -> ValidationError:
    """Follow the alternative that the writer meant: the augmentation that is named, or the mapping that was given."""
    if error.validator != "oneOf" or not isinstance(error.instance, dict):
        return error
    meant = [inner for inner in error.context or () if _is_meant(error, inner)]
    if not meant:
        return error
    return _branch(min(meant, key=lambda inner: inner.validator == "anyOf"))  # a misspelt key explains what is missing


def _is_meant(error: ValidationError, inner: ValidationError) -> bool:
    options: Any = error.validator_value
    given: Any = error.instance
    option = options[inner.schema_path[0]]
    named = option.get("required", [None])[0]
    return set(given) == {named} or (named is None and "$ref" in option)


def _told(error: ValidationError, document: Document) -> SpecError:
    part: Any = error.schema
    wrong = Wrong(str(error.validator), error.validator_value, error.instance, part, tuple(error.absolute_path))
    text, hint, extra = _DESCRIBE.get(wrong.rule, _other)(wrong)
    return document.error((*wrong.place, *extra), text, hint)


_Told = tuple[str, str, PathIn]  # text, repair, what to add to the place


def _other(wrong: Wrong) -> _Told:
    meant = wrong.schema.get("description", "")
    return (
        f"does not fit: {shown(wrong.value)}",
        f"it must be {meant}" if meant else f"{wrong.rule}: {wrong.allowed}",
        (),
    )


def _unknown(wrong: Wrong) -> _Told:
    known = list(wrong.schema["properties"])
    key = next(key for key in wrong.value if key not in known)
    near = did_you_mean(key, known)
    if not wrong.place:
        return f"unknown key{near}", f"keys are: {', '.join(known)}", (key,)
    owner = str(wrong.place[-1])
    noun = "parameter" if wrong.place[0] in ("strategies", "train") else "key"
    text = f"unknown {noun} '{key}'{near}\n{owner} takes: {takes(wrong.schema)}"
    return text, f"write {example(owner, wrong.schema)}", ()


def _type(wrong: Wrong) -> _Told:
    wanted = wrong.allowed if isinstance(wrong.allowed, list) else [wrong.allowed]
    names = " or ".join(_TYPES[name] for name in wanted)
    return f"must be {names}, not {shown(wrong.value)}", _repair(wrong), ()


def _range(wrong: Wrong) -> _Told:
    return f"must lie within {limits(wrong.schema)}, not {shown(wrong.value)}", _repair(wrong), ()


def _enum(wrong: Wrong) -> _Told:
    options = [str(option) for option in wrong.allowed]
    near = did_you_mean(str(wrong.value), options)
    return f"unknown value {shown(wrong.value)}{near}", f"it can be: {', '.join(options)}", ()


def _pattern(wrong: Wrong) -> _Told:
    text = f"'{wrong.value}' cannot be a name"
    if wrong.place[:1] == ("grid",):
        return text, "use letters, digits and _, and begin with a letter", ()
    return text, "use letters, digits and . _ + -, and begin with a letter or digit", ()


def _empty(wrong: Wrong) -> _Told:
    if wrong.value:
        return _other(wrong)
    return "is empty: there is nothing to run", _repair(wrong) or "write at least one value", ()


def _twice(wrong: Wrong) -> _Told:
    return f"has a value twice: {shown(wrong.value)}", "write each value once", ()


def _alternatives(wrong: Wrong) -> _Told:
    if wrong.place[:1] == ("strategies",):
        return _step(wrong)
    if wrong.place[:1] == ("grid",) and wrong.value in ([], ""):
        return (
            "is empty: there is nothing to run",
            f"write {wrong.place[-1]}: [0, 1, 2] or {wrong.place[-1]}: 1..200",
            (),
        )
    return _other(wrong)


def _step(wrong: Wrong) -> _Told:
    known, step = augmentations(), wrong.value
    if isinstance(step, str) and step in known:
        return f"'{step}' lacks its parameters", f"write {{{step}: {{}}}} for the defaults", ()
    if isinstance(step, dict) and len(step) > 1:
        parts = ", ".join(f"{{{key}: …}}" for key in step)
        return "one step holds two augmentations", f"write them one after the other: [{parts}]", ()
    name = str(next(iter(step), "")) if isinstance(step, dict) else str(step)
    return f"unknown augmentation '{name}'{did_you_mean(name, known)}", f"augmentations are: {', '.join(known)}", ()


def _source(wrong: Wrong) -> _Told:
    return "names no images", "write {images: folder, labels: folder} or {csv: file}", ()


_DESCRIBE: dict[str, Any] = {
    "additionalProperties": _unknown,
    "type": _type,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _range),
    "enum": _enum,
    "pattern": _pattern,
    **dict.fromkeys(("minItems", "minProperties", "minLength"), _empty),
    "uniqueItems": _twice,
    "oneOf": _alternatives,
    "anyOf": _source,
}


def _repair(wrong: Wrong) -> str:
    part = wrong.schema
    name = str(wrong.place[-1]) if wrong.place else ""
    if part.get("properties"):
        return f"write {example(name, part)}"
    if "default" in part:
        return f"write {name}: {shown(part['default'])} (the default), or leave the line out"
    return str(part.get("description", ""))
