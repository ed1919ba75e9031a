"""What stands around a notebook's execution: the values put in, the folder it runs in, its results handed in.

It runs out of the code snapshot, by `orchestrator/notebook_program.py`, which is the snapshot's `__main__.py`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, Mapping

from . import notebook
from .errors import UsageError
from .folder import RunFolder
from .handin import Run

PROJECT = "project"  # the lab's own files, in the code snapshot
NEEDS = "{} -m pip install papermill ipykernel"  # what repairs an environment that cannot run notebooks
_SHOWN = 60  # characters of a former value


def prepared(project: str, cell: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the notebook with a cell's values in it and, at its end, the cell that hands in the results.

    Parameters
    ----------
    project:
        Folder of the lab's files in the snapshot.
    cell:
        `notebook` (path below it), `grid` (values by variable), `result` (expressions by name).

    Raises
    ------
    NotFound, SpecError
        See `Notebook.targets`; or a result is made of what the notebook never sets.
    """
    book = notebook.read(os.path.join(project, cell["notebook"]))
    made = book.with_values(cell["grid"])
    for name, value in cell["grid"].items():
        for one in book.targets(name):
            say("orch: {} = {!r} ({}; was {})".format(name, value, one.where, one.text[:_SHOWN]))
    for name, text in cell["result"].items():
        book.check_result(name, text)
    if cell["result"]:
        made["cells"].append(_last_cell(cell["result"]))
    return made


def _last_cell(result: Mapping[str, str]) -> Dict[str, Any]:
    words = json.dumps(dict(result), ensure_ascii=True)
    source = "# added by orch\nfrom jobs.notebookrun import hand_in\nhand_in({}, globals())".format(words)
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


def hand_in(result: Mapping[str, str], names: Dict[str, Any]) -> None:
    """Write the job's result, from within the notebook's kernel.

    Parameters
    ----------
    result:
        Python expressions by the name of the result.
    names:
        The notebook's variables.

    Raises
    ------
    TypeError
        One is no number; its message says what it is, and how to name one.
    """
    values: Dict[str, Any] = {}
    for name, text in result.items():
        values.update(_numbers(name, text, eval(text, names)))
    Run().finish(**values)


def _numbers(name: str, text: str, value: Any) -> Dict[str, float]:
    """A number by its name, or all numbers of a dictionary by theirs; an array of one value counts as that value."""
    if isinstance(value, Mapping):
        parts = {str(key): _number(one) for key, one in value.items()}
        found = {key: number for key, number in parts.items() if number is not None}
        if found:
            return found
    number = _number(value)
    if number is not None:
        return {name: number}
    many = " of {}".format(len(value)) if hasattr(value, "__len__") else ""
    hint = "; name one number of it: {0}[-1], or max({0})".format(text) if many else ""
    raise TypeError("result {}: {} is a {}{}, not a number{}".format(name, text, type(value).__name__, many, hint))


def _number(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    try:  # NumPy, torch: their own scalars, and arrays of one value
        return _number(value.item())
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def working_folder(folder: RunFolder, inputs: Mapping[str, Any]) -> str:
    """Make the folder in which the notebook runs, with links to what it reads by relative paths; return its path.

    Raises
    ------
    UsageError
        Something of it is not on this host.
    """
    work = folder.work
    os.makedirs(work, exist_ok=True)
    for name in inputs.get("links") or []:
        source, link = os.path.join(inputs["folder"], name), os.path.join(work, name)
        if not os.path.exists(source):
            text = "the notebook reads {}, which is not on this host: {}".format(name, source)
            raise UsageError(text, "copy it there, or give its place here as a value: orch adopt --param NAME=PATH")
        if not os.path.lexists(link):
            os.symlink(source, link)
    return work


def say(text: str) -> None:
    """Write to the log, in order with what the notebook prints."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
