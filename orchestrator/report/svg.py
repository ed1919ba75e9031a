"""A figure as inline SVG: part of the page, with its font, its colours and a text for those who cannot see it."""

from __future__ import annotations

import re
from html import escape
from io import StringIO

from matplotlib.figure import Figure

from . import figures

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def render(figure: Figure, name: str, title: str, text: str) -> str:
    """Return an `<svg>` element.

    Parameters
    ----------
    name:
        Begins all its ids, so that several figures can share a page.
    title, text:
        Read by screen readers: what it is, and what it shows.
    """
    with figures.style():
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    body = drawn[drawn.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{name}-", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", _FONT, body)
    for colour, variable in figures.COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r">\s+<", "><", body).strip()
    width, height = (72 * side for side in figure.get_size_inches())  # points
    return (
        f'<svg class="figure" viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 1.55:.0f}px" role="img"'
        f' aria-labelledby="{name}-title {name}-text"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-text">{escape(text)}</desc>{body}'
    )
