"""The report as Markdown: for a README, an issue, or Word through pandoc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobs.visible import visible

from . import words
from .model import Report
from .table import Table, detail, write

_NUMBERS = frozenset({"count", "score", "spread", "tenth", "number", "time"})


def render(report: Report) -> str:
    """Return the page; it names `curves.png` and `comparison.png` beside it."""
    blocks = [
        f"# {_plain(report.summary.sweep)}",
        _plain(report.headline),
        *_listed("Read before comparing", report.warnings),
        "## Comparison",
        *_comparison(report),
        *_figures(report),
        *_holes(report),
        *_worst(report),
        *_facts(report),
        *(["## Methods", _plain(report.methods)] if report.methods else []),
        *_listed("Notes", report.notes),
        f"Written {report.made}.",
    ]
    return "\n\n".join(blocks) + "\n"


def _comparison(report: Report) -> list[str]:
    if report.summary.kind != "trainer":
        return [_of(report.table)]
    return [
        _of(report.table.main()),
        "Mean Dice of each fold, and times:",
        _of(detail(report.summary)),
        "Dice: per patient, in 3D; mean ± standard deviation over patients.",
        words.SLICE_DICE,
        words.EARLY_STOPPING,
    ]


def _of(table: Table) -> str:
    return _table([c.name for c in table.columns], table.texts(), [c.form for c in table.columns])


def _figures(report: Report) -> list[str]:
    found = []
    if any(row.patients for row in report.summary.strategies):
        found.append("![Dice of every patient, by strategy](comparison.png)")
    if report.learning:
        found.append("![Learning curves](curves.png)")
    return ["## Figures", *found] if found else []


def _holes(report: Report) -> list[str]:
    if not report.summary.holes:
        return []
    rows = [[job.label, job.state, job.reason] for job in report.summary.holes]
    return ["## Cells without a result", _table(["cell", "state", "reason"], rows)]


def _worst(report: Report) -> list[str]:
    rows = [
        [job.label, row.group, row.case, row.cls, write(row.dice, "score"), write(row.slice_dice, "score")]
        for job, row in report.worst
    ]
    heads = ["cell", "patient", "case", "class", "Dice", "slice Dice"]
    return ["## Lowest scores", _table(heads, rows)] if rows else []


def _facts(report: Report) -> list[str]:
    rows = [[fact.name, value, str(len(labels))] for fact in report.facts for value, labels in fact.values.items()]
    return ["## Provenance", _table(["what", "value", "results"], rows, ["text", "text", "count"])] if rows else []


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    items = [f"- {_plain(line)}" for line in lines]
    return [f"## {title}", "\n".join(items)] if items else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], forms: Sequence[str] = ()) -> str:
    rule = ["---:" if place < len(forms) and forms[place] in _NUMBERS else "---" for place in range(len(heads))]
    lines = [heads, rule, *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Keep a text in its cell, and as text."""
    for sign in ("\\", "|", "<", "*", "_", "`", "["):
        text = text.replace(sign, "\\" + sign)
    return " ".join(visible(text).split())
