"""The report of a sweep: built once from the index, written in every format.

    table = comparison(summarise(index, "sweep"))    plain values for a terminal; imports neither pandas nor matplotlib
    report = build(index, "sweep")                   everything, frozen
    write(report, folder)                            report.html, report.md, report.json, *.csv, *.png

A new format is one file here with `render(report)` and one line in `write`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jobs.atomic import read_json, write_bytes
from jobs.errors import UsageError, disk_error
from jobs.homes import private

from .build import build
from .model import Report
from .summary import Summary, summarise
from .table import Table, comparison

__all__ = ["Report", "Summary", "Table", "Written", "build", "comparison", "holds_another", "summarise", "write"]

_SAME = ("sweep", "project", "owner")


class Written(NamedTuple):
    """The files of one report, `report.html` first."""

    paths: tuple[Path, ...]


ABOUT = "report.json"  # in every report's folder: whose report it is


def holds_another(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Tell whether a folder holds the report of another sweep (by name in the homes, project and owner)."""
    known = read_json(folder / ABOUT)
    return isinstance(known, dict) and any(known.get(key) != identity.get(key) for key in _SAME)


def write(report: Report, folder: Path, identity: Mapping[str, Any] | None = None) -> Written:
    """Write all formats into a folder; each file is replaced in one step, those without content are removed.

    Parameters
    ----------
    identity:
        Whose report it is: `sweep`, `project` and `owner`, kept in `report.json`.

    Raises
    ------
    UsageError
        The folder holds the report of another sweep; nothing is written.
    DiskError
        The disk is full or not writable.
    """
    if identity and holds_another(folder, identity):
        text = f"{folder} holds the report of another sweep, by its {ABOUT}"
        raise UsageError(text, "name another folder: --out FOLDER")
    from . import csv, html, markdown, png  # they import matplotlib and pandas

    files: dict[str, bytes] = {
        "report.html": html.render(report).encode(),
        "report.md": markdown.render(report).encode(),
        **{name: text.encode() for name, text in csv.render(report).items()},
        **png.render(report),
    }
    if identity:
        about = {**identity, "made": report.made, "version": report.summary.version}
        files[ABOUT] = (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode()
    try:
        with private():  # pseudonyms, but of patients all the same: who shares a report does so on purpose
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                write_bytes(folder / name, data, sync=False)
        for name in {"curves.png", "comparison.png"} - set(files):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, str(folder)) from error
    return Written(tuple(folder / name for name in files))
