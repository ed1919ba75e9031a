"""Sentences of the report, made from values: the headline, the warnings, the paragraph for a methods section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..store import AttemptRow
from ..words import listed
from .facts import Fact
from .summary import Strategy, Summary

EARLY_STOPPING = (
    "Early stopping and the choice of the checkpoint used an inner validation part of the training patients;"
    " the tested fold was used for neither."
)
SLICE_DICE = (
    "“slice Dice” averages the Dice of every 2D slice, where two empty masks agree with 1. It depends on how many"
    " slices are empty and can rank strategies otherwise than the Dice per patient. It stands here only for"
    " comparison with older tables."
)
ONE_SEED = (
    "There is one seed per cell, so luck of training is not separated from the effect of a strategy:"
    " this order is a hypothesis, not a finding."
)


def headline(summary: Summary) -> str:
    """Say in two or three sentences what the table shows; a strategy with a hole is never ranked."""
    if not any(job.counted for job in summary.jobs):
        return f"No result yet: {_states(summary)}."
    if summary.kind != "trainer":
        done = sum(bool(job.counted) for job in summary.jobs)
        return f"{done} of {_count(len(summary.jobs), 'cell')} {'has' if done == 1 else 'have'} a result."
    whole = [row for row in summary.strategies if row.complete and row.dice.mean is not None]
    holes = [row for row in summary.strategies if not row.complete]
    parts = [_order(summary, whole), _left_out(holes)]
    if len(whole) > 1:
        parts.append(
            ONE_SEED if len(summary.seeds) < 2 else f"Each patient's value is the mean over {len(summary.seeds)} seeds."
        )
    return " ".join(filter(None, parts))


def _order(summary: Summary, whole: Sequence[Strategy]) -> str:
    if not whole:
        return "No strategy has all its cells yet, so none is ranked."
    best = max(whole, key=lambda row: row.dice.mean or 0)
    text = f"mean Dice, {best.dice.mean:.3f} over {_count(best.dice.n, 'patient')}"
    if len(whole) == 1:
        return f"{best.name}: {text.replace(',', '')}."
    base = next((row for row in whole if row.name == summary.baseline and row is not best), None)
    if base is None:
        second = sorted(whole, key=lambda row: -(row.dice.mean or 0))[1]
        return f"{best.name} has the highest {text}; {second.name} follows with {second.dice.mean:.3f}."
    difference = (best.dice.mean or 0) - (base.dice.mean or 0)
    return f"{best.name} has the highest {text}; the baseline {base.name} has {base.dice.mean:.3f} ({difference:+.3f})."


def _left_out(holes: Sequence[Strategy]) -> str:
    if not holes:
        return ""
    names = ", ".join(f"{row.name} ({row.done} of {row.cells})" for row in holes)
    return f"Not ranked, because cells are missing: {names}."


def warnings(summary: Summary, facts: Iterable[Fact], attempts: Iterable[AttemptRow]) -> tuple[str, ...]:
    """Return everything that a reader must know before comparing rows."""
    return (
        *_version(summary),
        *_missing(summary),
        *_unequal_patients(summary),
        *_undefined(summary),
        *(_differs(fact) for fact in facts if fact.must_agree and len(fact.values) > 1),
        *(_uncommitted(fact) for fact in facts if fact.name == "git" and "uncommitted" in "".join(fact.values)),
        *(f"{row.label}, attempt {row.number}: {row.warning}." for row in attempts if row.counts and row.warning),
        *(
            f"{row.label}, attempt {row.number}: its result came after it was given up and does not count."
            for row in attempts
            if row.fenced and row.state == "done"
        ),
    )


def _version(summary: Summary) -> list[str]:
    """Which version of the sweep this is, where there are several."""
    if summary.version != summary.newest:
        return [f"This is version {summary.version} of the sweep, as its file was before; now it is {summary.newest}."]
    if summary.newest > 1:
        text = f"This is version {summary.newest} of the sweep: its file was changed since the version before"
        return [f"{text} (orch report {summary.sweep} --version {summary.newest - 1} shows that)."]
    return []


def _missing(summary: Summary) -> list[str]:
    if not summary.holes:
        return []
    by_state: dict[str, list[str]] = {}
    for job in summary.holes:
        by_state.setdefault(job.state, []).append(job.label)
    told = "; ".join(f"{state}: {listed(labels)}" for state, labels in by_state.items())
    return [f"{_count(len(summary.holes), 'cell')} of {len(summary.jobs)} without a result ({told})."]


def _unequal_patients(summary: Summary) -> list[str]:
    if not any(row.common for row in summary.strategies):
        return []
    numbers = ", ".join(f"{row.name} {row.dice.n}" for row in summary.strategies)
    shared = next(row.common.n for row in summary.strategies if row.common)
    return [
        f"The strategies were tested on different patients ({numbers});"
        f" the column “on common” compares them on the {shared} that all have."
    ]


def _undefined(summary: Summary) -> list[str]:
    rows = max((row.undefined for row in summary.strategies), default=0)
    if not rows:
        return []
    return [f"Up to {_count(rows, 'case')} per strategy has an empty reference: Dice is undefined there and left out."]


def _differs(fact: Fact) -> str:
    told = "; ".join(f"{value}: {listed(labels)}" for value, labels in fact.values.items())
    return f"Not all results share the same {fact.name} ({told})."


def _uncommitted(fact: Fact) -> str:
    return (
        f"The code had changes that no commit holds (git {', '.join(fact.values)}); the patch is kept in the orch home."
    )


def methods(summary: Summary, attempts: Sequence[AttemptRow]) -> str:
    """Return a paragraph that can be pasted into a methods section; empty when nothing counts yet."""
    spec = next((row.spec for row in attempts if row.counts and row.spec), None)
    if spec is None or summary.kind != "trainer":
        return ""
    train = spec.get("cell", {}).get("parameters", {}).get("train", {})
    everyone = max((row.dice.n for row in summary.strategies), default=0)
    return " ".join(
        filter(
            None,
            [
                f"A 2D U-Net{_network(train)} was trained {_training(train)}." if train else "A 2D U-Net was trained.",
                f"{_count(len(summary.strategies), 'augmentation strategy', 'augmentation strategies')} "
                f"({', '.join(row.name for row in summary.strategies)}) were compared by {len(summary.folds)}-fold"
                f" cross-validation over {_count(everyone, 'patient')}, with folds drawn by patient and"
                f" {_count(len(summary.seeds) or 1, 'seed')} per cell.",
                EARLY_STOPPING,
                "Dice was computed in 3D for each volume, from true and false positives and false negatives summed over"
                " its slices, then averaged within each patient; values are mean ± standard deviation over patients."
                " Volumes with an empty reference have no Dice; an empty prediction of a reference that is not empty"
                " counts as 0.",
            ],
        )
    )


def _network(train: Mapping[str, Any]) -> str:
    width, depth = train.get("width"), train.get("depth")
    return f" ({width} channels in its first level, {depth} poolings)" if width and depth else ""


def _training(train: Mapping[str, Any]) -> str:
    loss = train.get("loss") or {}
    share = loss.get("dice") if isinstance(loss, Mapping) else None
    size = train.get("size")
    parts = [
        f"on slices of {size[0]} × {size[1]} pixels along axis {train.get('axis')}" if isinstance(size, list) else "",
        f"with Adam (learning rate {train.get('lr')}) and batches of {train.get('batch_size')}",
        f"for at most {train.get('epochs')} epochs",
        f"with early stopping after {train['patience']} epochs without progress" if train.get("patience") else "",
        f"on a loss of {share} Dice and {round(1 - share, 6)} cross-entropy" if isinstance(share, int | float) else "",
    ]
    return ", ".join(filter(None, parts))


def _states(summary: Summary) -> str:
    counted: dict[str, int] = {}
    for job in summary.jobs:
        counted[job.state] = counted.get(job.state, 0) + 1
    told = ", ".join(f"{number} {state}" for state, number in counted.items())
    return f"{_count(len(summary.jobs), 'cell')}" + (f", {told}" if told else "")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
