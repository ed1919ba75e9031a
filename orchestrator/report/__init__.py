"""The report of a sweep: built once from the index, written in every format.

    table = comparison(summarise(index, "sweep"))    plain values for a terminal; imports neither pandas nor matplotlib
    report = build(index, "sweep")                   everything, frozen
    write(report, folder)                            report.html, report.md, *.csv, *.png

A new format is one file here with `render(report)` and one line in `write`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jobs.atomic import write_bytes
from jobs.errors import disk_error
from jobs.homes import private

from .build import build
from .model import Report
from .summary import Summary, summarise
from .table import Table, comparison

__all__ = ["Report", "Summary", "Table", "Written", "build", "comparison", "summarise", "write"]


class Written(NamedTuple):
    """The files of one report, `report.html` first."""

    paths: tuple[Path, ...]


def write(report: Report, folder: Path) -> Written:
    """Write all formats into a folder; each file is replaced in one step, those without content are removed.

    Raises
    ------
    DiskError
        The disk is full or not writable.
    """
    from . import csv, html, markdown, png  # they import matplotlib and pandas

    files: dict[str, bytes] = {
        "report.html": html.render(report).encode(),
        "report.md": markdown.render(report).encode(),
        **{name: text.encode() for name, text in csv.render(report).items()},
        **png.render(report),
    }
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
