"""YAML as people expect it: numbers as in YAML 1.2 (`1e-4` is one), no duplicate keys, a line for every value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from jobs.errors import NotFound, SpecError

PathIn = tuple[str | int, ...]  # place of a value: ("strategies", "rotate", 0, "rotate")

_PREFIX = "tag:yaml.org,2002:"
# Core schema of YAML 1.2.2, section 10.3.2, with the characters that may come first; `yes`, `off` and `1:30` are text.
_RULES = (
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one is 8 times as fast
    """Composes nodes with our number rule."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's name


class Document(NamedTuple):
    """One YAML file.

    Attributes
    ----------
    path:
        The file, as messages name it.
    value:
        Plain dicts (keys are text), lists, str, int, float, bool and None.
    lines:
        Line number, from 1, of every value by its place.
    """

    path: str
    value: Any
    lines: dict[PathIn, int]

    def where(self, place: PathIn) -> str:
        """Return `file:line` of a place, or of the nearest one that encloses it."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.lines:
                return f"{self.path}:{self.lines[place[:length]]}"
        return self.path

    def error(self, place: PathIn, text: str, hint: str = "") -> SpecError:
        """Return the error that names file, line and place."""
        name = dotted(place)
        return SpecError(f"{self.where(place)}  {name}{': ' if name else ''}{text}", hint, file=self.path, place=name)


def dotted(place: PathIn) -> str:
    """Return a place as people write it: `strategies.rotate[0].rotate`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def load(path: Path) -> Document:
    """Read a YAML file.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It is not UTF-8, not YAML, has a key twice, or uses tags that are no plain data.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"there is no file {path}", "check the name; orch init writes a first one") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{shown(path)} is not UTF-8 text", "save it as UTF-8 in your editor") from error
    return parse(text, shown(path))


def shown(path: Path) -> str:
    """Return a path as messages show it: relative when it lies in the current folder."""
    relative = os.path.relpath(path) if path.drive == Path.cwd().drive else str(path)
    return str(path) if relative.startswith("..") else relative


def parse(text: str, name: str) -> Document:
    """Read YAML text; `name` stands in messages.

    Raises
    ------
    SpecError
        See `load`.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        hint = "indent with spaces, and quote texts that hold ': ', '#', '{' or '['"
        raise SpecError(f"{name}{line}  cannot be read: {problem}", hint, file=name) from error
    document = Document(name, None, {(): 1})
    if node is None:
        return document
    return document._replace(value=_build(node, (), document, ()))


def _build(node: Node, place: PathIn, document: Document, parents: tuple[Node, ...]) -> Any:
    document.lines.setdefault(place, node.start_mark.line + 1)
    if node in parents:
        raise document.error(place, "an alias (*name) stands inside what it names", "write the value out")
    inside = (*parents, node)
    if isinstance(node, MappingNode):
        pairs = _pairs(node, place, document)
        return {key: _build(item, (*place, key), document, inside) for key, item in pairs}
    if isinstance(node, SequenceNode):
        return [_build(item, (*place, number), document, inside) for number, item in enumerate(node.value)]
    return _scalar(node, place, document)


def _pairs(node: MappingNode, place: PathIn, document: Document) -> Iterator[tuple[str, Node]]:
    seen: dict[str, int] = {}
    for key_node, item in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            raise document.error(place, "a key must be a plain word", "write `name: value`")
        key = key_node.value
        if key in seen:
            document.lines[(*place, key)] = line
            text = f"this key stands here twice (first in line {seen[key]})"
            raise document.error((*place, key), text, "keep one of the two")
        seen[key] = document.lines[(*place, key)] = line
        yield key, item


def _scalar(node: Node, place: PathIn, document: Document) -> Any:
    kind, text = str(node.tag).removeprefix(_PREFIX), str(node.value)
    try:
        return _SCALARS[kind](text)
    except KeyError:
        raise document.error(place, f"the tag {node.tag} means nothing here", "write plain values") from None
    except ValueError:
        raise document.error(place, f"'{text}' is no {kind}", "take the tag away") from None


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.replace(".", "") if text[-3:].lower() in ("inf", "nan") else text)


_SCALARS: dict[str, Any] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": _float,
    "str": str,
}

for _kind, _pattern, _first in _RULES:
    _Loader.add_implicit_resolver(_PREFIX + _kind, re.compile(f"^(?:{_pattern})$"), list(_first))
