"""The figures as PNG, for slides and mails."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

from . import figures
from .model import Report

DPI = 200  # dots per inch: 1,700 pixels for the widest figure


def render(report: Report) -> dict[str, bytes]:
    """Return the PNG files by name: `curves.png`, `comparison.png`; a figure without content is left out."""
    with figures.style():
        drawn = {"curves.png": figures.curves(report), "comparison.png": figures.patients(report)}
    return {name: _png(figure) for name, figure in drawn.items() if figure}


def _png(figure: Figure) -> bytes:
    with figures.style():
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
