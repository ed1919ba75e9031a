"""The table of torch wheels (`wheels.json`): one row for a release line, a backend and an architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_NUMBER = re.compile(r"\d+")


class Row(NamedTuple):
    """One line of the table.

    Attributes
    ----------
    torch:
        First version of a release line (`2.9.0` stands for all 2.9.x).
    backend, arch:
        `cu126`, `cu130` or `cpu`; `x86_64` or `aarch64`.
    python:
        Oldest and newest minor version: `3.9-3.13`.
    min_driver:
        Oldest GPU driver, or None where none is needed.
    sass:
        Compute capabilities that the build holds machine code for.
    triton:
        triton comes along, so that `torch.compile` works.
    until:
        Last release line of this backend, or None.
    seen:
        `file`: such a file was seen; `matrix`: the release matrix names it, an index has to confirm it.
    source:
        Where this was read.
    """

    torch: str
    backend: str
    arch: str
    python: str
    min_driver: str | None
    sass: tuple[str, ...]
    triton: bool
    until: str | None
    seen: str
    source: str


class Table(NamedTuple):
    """The rows, the oldest C library of all of them, and where the wheels lie (one index a backend below `base`)."""

    rows: tuple[Row, ...]
    glibc: str
    base: str


class Wheel(NamedTuple):
    """One file that an index or a wheelhouse holds: version with its backend (`2.6.0+cu126`), architecture, Python."""

    version: str
    arch: str
    python: str


class Build(NamedTuple):
    """An exact version of torch for one backend."""

    torch: str
    backend: str

    def __str__(self) -> str:
        """Return it as pip and torch write it."""
        return f"{self.torch}+{self.backend}"


@cache
def table() -> Table:
    """Return the shipped table."""
    value = json.loads(Path(__file__).with_name("wheels.json").read_text(encoding="utf-8"))
    backends = value["backends"]
    rows = (_row(item, backends[item["backend"]]) for item in value["rows"])
    return Table(tuple(rows), value["glibc"], value["base"])


def _row(item: Mapping[str, Any], backend: Mapping[str, Any]) -> Row:
    shared = {"min_driver": backend["min_driver"], "until": backend["until"]}
    return Row(**{**item, "sass": tuple(item["sass"])}, **shared)


def runs_on(capability: str, sass: Iterable[str]) -> bool:
    """Tell whether machine code for one of `sass` runs on a card: same major version, and no newer minor one.

    Source: CUDA C++ Programming Guide, binary compatibility.
    """
    card = version(capability)
    return any(version(code)[0] == card[0] and version(code) <= card for code in sass)


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparison: `545.23.08` is (545, 23, 8)."""
    return tuple(int(number) for number in _NUMBER.findall(text))
