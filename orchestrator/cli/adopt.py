"""`orch adopt`: finds what a sweep could change in a notebook, and writes the sweep; the notebook stays as it is."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from pathlib import Path

from jobs import notebook
from jobs.atomic import write_bytes
from jobs.errors import UsageError, disk_error

from .. import adopt, adopting
from ..adopt import FOLD
from ..config import Settings
from ..sweep import base_of, load_sweep
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch adopt unet.ipynb
orch adopt unet.ipynb --param batch_size=16,32 --result dice=val_dice
orch adopt unet.ipynb --fold fold_no=1..5 --param data_dir=/data/mri
"""
_UNFIT = re.compile(r"[^A-Za-z0-9._+-]+")
_SHOWN = 48  # characters of a value in the table


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("notebook", metavar="NOTEBOOK", help="an .ipynb file; it is read, never changed")
    parser.add_argument(
        "--param",
        metavar="NAME=V1,V2",
        action="append",
        default=[],
        help="a variable and its values: several make an axis, one is the same for all jobs; ranges such as 0..4",
    )
    parser.add_argument(
        "--fold", metavar="NAME", help="the variable that holds the fold; NAME=1..5 says which there are"
    )
    parser.add_argument(
        "--result",
        metavar="NAME=EXPR",
        action="append",
        default=[],
        help="a number that the notebook leaves: a variable, or an expression such as dice=max(val_dices)",
    )
    parser.add_argument("--force", action="store_true", help="write over the sweep file that is there")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Read, show, write."""
    path = Path(args.notebook).expanduser()
    book = notebook.read(str(path))
    folder = path.absolute().parent
    name = _UNFIT.sub("_", path.stem).strip("._+-") or "notebook"
    target = folder / f"{name}.yaml"
    if target.exists() and not args.force:
        hint = f"edit it, or write it anew: orch adopt {args.notebook} --force"
        raise UsageError(f"{_near(target)} exists already", hint)
    found = adopt.knobs(book, folder)
    _show(found, out)
    for problem in book.problems:
        out.warning(problem)
    adoption = adopting.decide(book, folder, found, args.param, args.fold, args.result)
    given = {**adoption.axes, **adoption.parameters}
    unfit = [knob for knob in adopt.unfit_paths(found) if knob.name not in given]
    inside = path.absolute().relative_to(base_of(target, settings.project_file)).as_posix()
    _write(target, adopting.text_of(adoption, name, inside, found, unfit), settings)
    knobs = [knob._asdict() for knob in found]
    about = {"axes": adoption.axes, "parameters": adoption.parameters, "result": adoption.result}
    out.json({"sweep": name, "file": str(target), "jobs": adoption.jobs, "knobs": knobs, **about})
    out.result(f"Wrote {_near(target)}: {counted(adoption.jobs, 'job')} = {adopting.told(adoption)}.")
    _advise(adoption, unfit, book, out)
    word = name if Path.cwd() in (folder, folder.parent) and target.parent == Path.cwd() else _near(target)
    out.next(f"orch sweep {word} --dry-run")
    if FOLD in adoption.variables or FOLD in adoption.axes:
        first = adoption.axes[adoption.variables.get(FOLD, FOLD)][0]
        out.next(f"orch sweep {word} --folds {first}    (one fold first, to see that it works)")
    return 0


def _near(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _show(found: list[adopt.Knob], out: Output) -> None:
    rows = []
    for knob in found:
        proposed = ", ".join(str(value) for value in knob.values) or None
        rows.append((knob.name, knob.role, str(knob.value)[:_SHOWN], knob.where, proposed, knob.reason))
    out.table(("variable", "looks like", "value", "where", "proposed", "why"), rows)


def _write(target: Path, text: str, settings: Settings) -> None:
    """Write the file, once it was read as `orch sweep` will read it."""
    aside = target.with_name(f".{target.name}.new")
    try:
        write_bytes(aside, text.encode())
        load_sweep(aside, settings.project_file)
        aside.replace(target)
    except OSError as error:
        raise disk_error(error, str(target)) from error
    finally:
        aside.unlink(missing_ok=True)


def _advise(adoption: adopting.Adoption, unfit: list[adopt.Knob], book: notebook.Notebook, out: Output) -> None:
    for knob in unfit:
        out.warning(f"{knob.name} = {knob.value!r} ({knob.where}): {knob.reason}")
    if adoption.result:
        listed = ", ".join(f"{name} = {text}" for name, text in adoption.result.items())
        out.result(f"Each job hands in: {listed}   (another: --result dice=VARIABLE)")
    elif "Run(" not in "".join(cell.source for cell in book.cells):
        out.warning("no result was found, so the report will have no values: --result dice=VARIABLE")
    if not any("seed" in cell.source.lower() or "random_state" in cell.source for cell in book.cells):
        out.warning("the notebook sets no random seed: the same cell run twice will differ, as strategies may by luck")
