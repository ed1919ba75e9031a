"""The figures, drawn once with matplotlib's objects and written as SVG or PNG: curves as small multiples, and patients.

Colours are those of the light page; `svg` turns each into a variable of the page, so that the dark page recolours them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..store import Curve
from .model import Learning, Report
from .summary import Strategy

INK, SOFT, LINE, PAPER = "#1c2126", "#5b6670", "#d5dbe0", "#fffffe"
TRAIN, VALIDATION = "#7a8894", "#0b6e8f"
COLOURS = {INK: "ink", SOFT: "soft", LINE: "line", PAPER: "paper", TRAIN: "train", VALIDATION: "accent"}

_ACROSS = 4  # panels side by side
_WIDTH = 9.1  # inches of a figure that fills the page
_WIDEST = 3.0  # inches of a panel
_HEIGHT = 1.55  # inches of a panel
_MOST_PANELS = 12  # of a generic figure
_ROW = 0.42  # inches of one strategy in the patients' figure
_PAIRS = (("loss", "train_loss", "val_loss"), ("Dice", "train_dice", "val_dice"))

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "orch",
    "text.parse_math": False,  # a strategy's name may hold dollar signs
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and write in the report's style, whatever the user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def curves(report: Report) -> Figure | None:
    """Draw learning curves: one column per strategy, loss above Dice; other programs: one panel per metric."""
    if not report.learning:
        return None
    return _by_strategy(report) if report.summary.kind == "trainer" else _by_metric(report)


def patients(report: Report) -> Figure | None:
    """Draw each patient's Dice as a dot, one row per strategy, with mean and standard deviation; None without any."""
    rows = [row for row in report.summary.strategies if row.patients]
    if not rows:
        return None
    figure = Figure(figsize=(_WIDTH, _ROW * len(rows) + 0.65))
    axes = figure.add_subplot()
    _margins(figure, left=1.35, right=0.15, top=0.1, bottom=0.45)
    for place, row in enumerate(rows):
        _strip(axes, len(rows) - 1 - place, row)
    axes.set_yticks(range(len(rows)), [_short(row.name, 22) for row in reversed(rows)])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("Dice of a patient  (dot: one patient · diamond and bar: mean ± SD)")
    return figure


def _strip(axes: Axes, height: int, row: Strategy) -> None:
    values = np.array(sorted(row.patients.values()))  # (n,)
    shift = 0.5 + (np.arange(len(values)) * 0.618034) % 1.0  # golden ratio: spread evenly, the same every time
    axes.scatter(values, height + 0.34 * (shift - 1.0), s=10, color=VALIDATION, alpha=0.6, linewidths=0)
    if row.dice.mean is not None:
        axes.errorbar(
            row.dice.mean, height, xerr=row.dice.sd, fmt="D", markersize=5, color=INK, elinewidth=1.4, zorder=3
        )


def _by_strategy(report: Report) -> Figure:
    names = [row.name for row in report.summary.strategies]
    groups = [(name, [one for one in report.learning if one.strategy == name]) for name in names]
    bands = math.ceil(len(groups) / _ACROSS)
    across = min(len(groups), _ACROSS)
    figure = Figure(figsize=(_across(across), bands * (2 * _HEIGHT + 0.5) + 0.2))
    grid = figure.subplots(2 * bands, across, squeeze=False, sharex=True, sharey=False)
    _margins(figure, left=0.5, right=0.1, top=0.5, bottom=0.4, wspace=0.28, hspace=0.42)
    for place in range(bands * across):
        for line, (title, train, validation) in enumerate(_PAIRS):
            axes = grid[2 * (place // across) + line][place % across]
            if place >= len(groups):
                axes.set_visible(False)
                continue
            name, learning = groups[place]
            _panel(axes, learning, train, validation)
            axes.set_title(_short(name, 26) if line == 0 else "", loc="left")
            axes.set_ylabel(title if place % across == 0 else "")
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("epoch" if line == 1 and place // across == bands - 1 else "")
    _same_limits(grid[0::2].ravel(), loss=True)
    _same_limits(grid[1::2].ravel(), loss=False)
    _key(figure)
    return figure


def _panel(axes: Axes, learning: Sequence[Learning], train: str, validation: str) -> None:
    for name, colour, dashes in ((train, TRAIN, (0, (3, 1.5))), (validation, VALIDATION, "solid")):
        found = [one.curves[name] for one in learning if name in one.curves]
        for curve in found:
            axes.plot(curve.steps, curve.values, color=colour, linewidth=0.6, alpha=0.5, linestyle=dashes)
        whole = [one.curves[name] for one in learning if one.job.counted and name in one.curves] or found
        if len(whole) > 1:
            steps, values = mean_curve(whole)
            axes.plot(steps, values, color=colour, linewidth=1.8, linestyle=dashes)
    if not axes.lines:
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center", va="center", color=SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def mean_curve(curves: Sequence[Curve]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the mean over curves at the steps (n,) that all of them have.

    Beyond the shortest curve the mean would be one over other folds, and would leap where a fold stops early.
    """
    steps = np.array(curves[0].steps, dtype=np.int64)
    for curve in curves[1:]:
        steps = np.intersect1d(steps, np.array(curve.steps, dtype=np.int64))
    stacked = [np.asarray(curve.values)[np.isin(np.asarray(curve.steps), steps)] for curve in curves]
    return steps, np.mean(stacked, axis=0)  # (n,), (n,)


def _same_limits(panels: Iterable[Axes], loss: bool) -> None:
    """Let all panels of a row share their scale, so that they can be compared by eye."""
    drawn = [axes for axes in panels if axes.get_visible() and axes.lines]
    values = [np.asarray(line.get_ydata(), dtype=float) for axes in drawn for line in axes.lines]
    finite = np.concatenate(values)[np.isfinite(np.concatenate(values))] if values else np.empty(0)
    if not finite.size:
        return
    low, high = (float(finite.min()), float(np.quantile(finite, 0.995))) if loss else (float(finite.min()), 1.0)
    margin = 0.05 * ((high - low) or 1.0)
    for axes in drawn:
        axes.set_ylim(low - margin, high + (margin if loss else 0.0))


def _by_metric(report: Report) -> Figure:
    names = list(dict.fromkeys(name for one in report.learning for name in one.curves))[:_MOST_PANELS]
    across = min(len(names), _ACROSS)
    bands = math.ceil(len(names) / _ACROSS)
    figure = Figure(figsize=(_across(across), bands * (_HEIGHT + 0.35) + 0.55))
    grid = figure.subplots(bands, across, squeeze=False).ravel()
    _margins(figure, left=0.5, right=0.1, top=0.3, bottom=0.4, wspace=0.28, hspace=0.45)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid, names, strict=False):
        for one in report.learning:
            if name in one.curves:
                axes.plot(one.curves[name].steps, one.curves[name].values, color=VALIDATION, linewidth=0.8, alpha=0.6)
        axes.set_title(_short(name, 26), loc="left")
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return figure


def _key(figure: Figure) -> None:
    """Explain the lines once for all panels."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=TRAIN, linestyle=(0, (3, 1.5)), linewidth=1.8, label="training"),
        Line2D([], [], color=VALIDATION, linewidth=1.8, label="inner validation"),
        Line2D([], [], color=SOFT, linewidth=0.6, label="one fold"),
        Line2D([], [], color=SOFT, linewidth=1.8, label="mean, as long as all folds train"),
    ]
    figure.legend(handles=marks, loc="upper left", ncols=4, fontsize=7.5, labelcolor=SOFT, handlelength=2.2)


def _across(panels: int) -> float:
    """Return the width in inches of a figure with so many panels side by side."""
    return min(_WIDTH, panels * _WIDEST + 0.6)


def _margins(
    figure: Figure,
    left: float,
    right: float,
    top: float,
    bottom: float,
    wspace: float | None = None,
    hspace: float | None = None,
) -> None:
    """Set margins in inches: they stay the same however many panels there are."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left / width, bottom / height, 1 - right / width, 1 - top / height, wspace=wspace, hspace=hspace
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
