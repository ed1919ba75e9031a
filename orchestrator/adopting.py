"""From the knobs of a notebook and a person's wishes to the sweep file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import SpecError, UsageError
from jobs.notebook import Notebook

from . import adopt, grid
from .adopt import FOLD, SEED, Knob
from .words import counted
from .yamlfile import parse


@dataclass(frozen=True)
class Adoption:
    """What becomes of a notebook.

    Attributes
    ----------
    axes:
        Values by variable, in order: several, so each job has another.
    parameters:
        One value by variable, the same for all jobs.
    variables:
        Variable by the name of its axis, where they differ.
    result:
        Expression by the name of the result.
    inputs, code:
        What is linked into each job's folder, and what is copied with the notebook, by paths from its folder.
    reasons:
        Why, by variable.
    """

    axes: Mapping[str, Sequence[Any]]
    parameters: Mapping[str, Any]
    variables: Mapping[str, str]
    result: Mapping[str, str]
    inputs: Sequence[str]
    code: Sequence[str]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        """Number of jobs."""
        return math.prod(len(values) for values in self.axes.values())


def decide(
    book: Notebook, folder: Path, found: Sequence[Knob], params: Sequence[str], fold: str | None, results: Sequence[str]
) -> Adoption:
    """Return what to write.

    Parameters
    ----------
    params, fold, results:
        Words of the command line: `NAME=V1,V2`, `NAME` or `NAME=0..4`, `NAME` or `NAME=EXPRESSION`.

    Raises
    ------
    UsageError
        A word cannot be understood, or nothing is left that differs between jobs.
    NotFound, SpecError
        The notebook does not set a variable, or not in a way that a sweep could change.
    """
    wished = dict(_wish(book, word) for word in params)
    folds = _fold(book, fold)
    values = {knob.name: list(knob.values) for knob in found if knob.values and not (folds and knob.role == FOLD)}
    values = {**values, **folds, **wished}
    axes = {name: chosen for name, chosen in values.items() if len(chosen) > 1}
    fixed = {name: chosen[0] for name, chosen in values.items() if len(chosen) == 1}
    if not axes:
        raise UsageError(
            f"found nothing in {book.path} that would differ between jobs",
            "name a variable and its values: orch adopt NOTEBOOK --param NAME=V1,V2 (the table lists what it sets)",
        )
    roles = {knob.name: knob.role for knob in found} | dict.fromkeys(folds, FOLD)
    reasons = {knob.name: f"{knob.where}: {knob.value!r}; {knob.reason}" for knob in found}
    reasons |= {name: f"{book.targets(name)[0].where}; --param says so" for name in {**folds, **wished}}
    variables = _columns({name: roles.get(name, "") for name in axes})
    result = _results(book, results)
    inputs, code = adopt.inputs(book, folder), adopt.modules(book, folder)
    return Adoption(axes, fixed, variables, result, inputs, code, reasons)


def _columns(roles: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose axis gets another name: tables average over columns named `fold` and `seed`."""
    named: dict[str, str] = {}
    for name, role in roles.items():
        if role in (FOLD, SEED) and role not in roles:
            named.setdefault(role, name)
    return named


def _wish(book: Notebook, word: str) -> tuple[str, list[Any]]:
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--param: '{word}' names no variable with values", "write --param batch_size=16,32")
    targets = book.targets(name)
    values = _values(text, isinstance(targets[0].value, str))
    if not values:
        raise UsageError(f"--param {name}: there is no value", f"write --param {name}=V1,V2")
    return name, values


def _values(text: str, texts: bool) -> list[Any]:
    """Values as the sweep file would read them; for a variable that holds a text, texts."""
    if texts:
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        whole = parse(f"v: {text if text.startswith('[') else f'[{text}]'}", "--param").value["v"]
    except SpecError:
        return [text]
    return [whole] if text.startswith("[") else grid.values(whole)


def _fold(book: Notebook, word: str | None) -> dict[str, list[Any]]:
    if word is None:
        return {}
    if "=" in word:
        return dict([_wish(book, word)])
    name = word
    values, _ = adopt.folds(book, book.targets(name)[0])
    if not values:
        raise UsageError(f"--fold {name}: its value is no number", f"write --fold {name}=0..4")
    return {name: list(values)}


def _results(book: Notebook, words: Sequence[str]) -> dict[str, str]:
    result = {}
    for word in words:
        name, equals, text = word.partition("=")
        result[name.strip()] = (text if equals else name).strip()
    if not words:
        result = {_short(name): name for name in adopt.scores(book)[:1]}
    for name, text in result.items():
        book.check_result(name, text)
    return result


def _short(name: str) -> str:
    return "dice" if "dice" in name.lower() else name


# --- Writing ---------------------------------------------------------------------------------------------------------


def text_of(adoption: Adoption, name: str, notebook: str, found: Sequence[Knob], unfit: Sequence[Knob]) -> str:
    """Return the sweep file, with a comment for everything that was decided."""
    columns = {variable: column for column, variable in adoption.variables.items()}
    folder = notebook.rpartition("/")[0]
    lines = [
        "# Written by orch adopt. The notebook stays as it is: each job runs a copy with its own values, in a folder",
        "# of its own beside the executed notebook; orch fetch brings both.",
        f"sweep: {name}",
        f"notebook: {json.dumps(notebook, ensure_ascii=False)}",
        "grid:",
    ]
    for variable, values in adoption.axes.items():
        lines.append(_line(columns.get(variable, variable), _listed(values), adoption.reasons.get(variable, "")))
    if adoption.variables:
        lines.append(f"variables: {_mapping(adoption.variables)}   # what the notebook calls them")
    lines += _parameters(adoption, found, unfit)
    if adoption.result:
        lines.append(f"result: {_mapping(adoption.result)}   # handed in when the last cell has run")
    else:
        lines.append(
            "# result: {dice: val_dice}   # a variable of the notebook, or an expression such as max(val_dices)"
        )
    if adoption.inputs:
        lines.append(f"inputs: {_flow(adoption.inputs)}   # read by relative paths: linked into each job's folder")
    if adoption.code:
        code = [f"{folder}/{path}" if folder else path for path in adoption.code]
        lines.append(f"code: {_flow(code)}   # imported by the notebook: copied and pinned with it")
    lines.append("# hosts: [grace, ada]   # or on the command line: --hosts grace,ada")
    return "\n".join(lines) + "\n"


def _parameters(adoption: Adoption, found: Sequence[Knob], unfit: Sequence[Knob]) -> list[str]:
    """The same for all jobs: what was asked for; the other settings stand there as comments, to be changed by hand."""
    kept = [knob for knob in found if knob.name not in {**adoption.axes, **adoption.parameters}]
    kept = [knob for knob in kept if knob.role != adopt.OTHER]
    lines = [_line(name, _flow(value), adoption.reasons[name]) for name, value in adoption.parameters.items()]
    for knob in kept:
        note = f"change it, and take the # away: {knob.reason}" if knob in unfit else f"as it is ({knob.where})"
        lines.append("# " + _line(knob.name, _flow(knob.value), note).removeprefix("  "))
    head = "parameters:" if adoption.parameters else "# parameters:"
    return [f"{head}   # the same for all jobs", *lines] if lines else []


def _line(key: str, value: str, reason: str) -> str:
    return f"  {key}: {value}" + (f"   # {' '.join(reason.split())}" if reason else "")


def _listed(values: Sequence[Any]) -> str:
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if whole and len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}..{values[-1]}"
    return _flow(list(values))


def _flow(value: Any) -> str:
    """A value as YAML in one line; JSON is YAML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {_flow(text)}" for name, text in values.items()) + "}"


def told(adoption: Adoption) -> str:
    """Return the factors of the jobs: `2 values of selected_aug x 5 folds`."""
    columns = {variable: column for column, variable in adoption.variables.items()}
    parts = []
    for name, values in adoption.axes.items():
        column = columns.get(name, name)
        parts.append(counted(len(values), column) if column in (FOLD, SEED) else f"{len(values)} values of {name}")
    return " x ".join(parts)
