"""The report as one HTML file: no script needed, no other file, no address of another machine."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jobs.visible import visible

from . import figures, svg, words
from .model import Report
from .table import detail, write

_FOLDER = Path(__file__).parent / "page"


def render(report: Report) -> str:
    """Return the page."""
    page = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.globals.update(write=write)
    return page.get_template("report.html").render(
        report=report,
        summary=report.summary,
        words=words,
        table=report.table.main(),
        detail=detail(report.summary),
        style=Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),
        script=Markup((_FOLDER / "sort.js").read_text(encoding="utf-8")),
        **_drawn(report),
    )


def _shown(value: object) -> object:
    """Texts without signs that a page would obey and nobody sees; what the page's own code has made stays."""
    return visible(value) if type(value) is str else value


def _drawn(report: Report) -> dict[str, Markup]:
    with figures.style():
        patients, curves = figures.patients(report), figures.curves(report)
    names = ", ".join(row.name for row in report.summary.strategies) or f"{len(report.learning)} jobs"
    return {
        "patients": Markup(svg.render(patients, "patients", "Dice of every patient", f"One row per strategy: {names}."))
        if patients
        else Markup(),
        "curves": Markup(svg.render(curves, "curves", "Learning curves", f"Values by step for {names}."))
        if curves
        else Markup(),
    }
