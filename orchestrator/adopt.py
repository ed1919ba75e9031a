"""What a sweep could change in a lab's notebook: its knobs, each with what is proposed and why. Pure, but for paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobs.errors import OrchError
from jobs.notebook import Assignment, Notebook

FOLD, STRATEGY, SEED, SETTING, PATH, OTHER = "fold", "strategy", "seed", "setting", "path", "other"
ROLES = (STRATEGY, FOLD, SEED, SETTING, PATH, OTHER)  # the order in which they are shown
_FOLDS = 5  # parts of a cross-validation, where the notebook does not say
_WORD = r"(?:^|_)(?:{})(?:_|\d|$)"
_COUNT = re.compile(r"^n_?splits?$|(^|_)(n|num|nb|k)_?(folds|splits)$|^k_?folds?$|^folds$", re.IGNORECASE)
_NAMES = (
    (FOLD, re.compile(_WORD.format("fold|folds|cv|pli|foldno|kfold"), re.IGNORECASE)),
    (SEED, re.compile(_WORD.format("seed|random_state|graine"), re.IGNORECASE)),
    (PATH, re.compile(_WORD.format("dir|path|folder|root|file|chemin|dossier"), re.IGNORECASE)),
    (
        SETTING,
        re.compile(
            _WORD.format(
                "batch|batch_size|bs|epochs?|n_epochs|lr|learning_rate|patience|dropout|weight_decay|depth|width|"
                "filters|size|angle|degrees|threshold|alpha|beta|momentum|workers"
            ),
            re.IGNORECASE,
        ),
    ),
)
_CHOICE = re.compile(_WORD.format("aug|augs|augment|augmentation|strategy|transform|method|mode|model"), re.IGNORECASE)
_OUTPUT = re.compile(_WORD.format("out|output|outputs|save|saved|result|results|models?|ckpt|checkpoints?|logs?"), re.I)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_WRITES = re.compile(r"save|dump|write|to_csv|to_excel|savefig|savetxt|imsave|mkdir|makedirs|export", re.IGNORECASE)
_SCORE = re.compile(r"dice|iou|jaccard|accuracy|f1|auc|hd95|hausdorff", re.IGNORECASE)
_NO_SCORE = re.compile(r"loss|fn$|func|coef|metric|list|history|class|all|scores?$|s$", re.IGNORECASE)
_COMMENT = re.compile(r"[\w+.-]+")


class Knob(NamedTuple):
    """A variable that a sweep could change.

    Attributes
    ----------
    name, role, value, where:
        The variable, what it seems to be, its value in the notebook, and its place there.
    values:
        What is proposed: several values become an axis; empty: it stays as it is.
    reason:
        Why, or what one can do.
    """

    name: str
    role: str
    value: Any
    where: str
    values: tuple[Any, ...]
    reason: str


def knobs(book: Notebook, folder: Path) -> list[Knob]:
    """Return the knobs of a notebook that lies in `folder`, the most telling first.

    One strategy and one fold are proposed as axes: what else could vary is said, and left to the person.
    """
    found = []
    for name, assignments in book.assignments.items():
        first = assignments[0]
        if name in book.otherwise and role_of(name, first.value if first.literal else 0) == OTHER:
            continue  # counters, best values so far
        if first.literal and _is_plain(first.value):
            found.append(_knob(book, folder, assignments[-1] if assignments[-1].literal else first))
        elif name in book.otherwise and role_of(name, 0) == FOLD:
            found.append(_lasting(book, Knob(name, FOLD, None, first.where, (), "")))
    for name, where in book.otherwise.items():
        if name not in book.assignments and role_of(name, 0) == FOLD and where.startswith("a loop"):
            found.append(Knob(name, FOLD, None, where, (), "the notebook itself goes through the folds, in one run"))
    found.sort(key=lambda knob: (not knob.values, ROLES.index(knob.role), not _CHOICE.search(_snake(knob.name))))
    return list(_one_of_each(found))


def _one_of_each(found: list[Knob]) -> Iterator[Knob]:
    taken: set[str] = set()
    for knob in found:
        if knob.values and knob.role in taken:
            listed = ",".join(map(str, knob.values))
            knob = knob._replace(values=(), reason=f"stays; to vary it, too: --param {knob.name}={listed}")
        taken |= {knob.role} if knob.values else set()
        yield knob


def _lasting(book: Notebook, knob: Knob) -> Knob:
    """Take back what was proposed where a value from outside would not last, and say why."""
    try:
        book.targets(knob.name)
    except OrchError as error:
        return knob._replace(values=(), reason=f"cannot be changed from outside: {error.message}")
    return knob


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return 0 < len(value) <= 4 and all(isinstance(one, int | float) for one in value)
    return isinstance(value, bool | int | float | str)


def _knob(book: Notebook, folder: Path, one: Assignment) -> Knob:
    role = PATH if _is_beside(folder, one.value) else role_of(one.name, one.value)
    values: tuple[Any, ...] = ()
    reason = f"stays; to compare: --param {one.name}=V1,V2"
    if role == FOLD:
        values, reason = folds(book, one)
    elif role == STRATEGY or (role == OTHER and isinstance(one.value, str)):
        values, reason = choices(book, one)
        role = STRATEGY if values else OTHER
    elif role == SEED:
        reason = f"stays; several trainings of each: --param {one.name}=0,1,2"
    elif role == PATH:
        reason = _about_path(folder, one)
    return _lasting(book, Knob(one.name, role, one.value, one.where, values, reason))


def _is_beside(folder: Path, value: Any) -> bool:
    return isinstance(value, str) and any(_beside(folder, value))


def role_of(name: str, value: Any) -> str:
    """Tell what a variable seems to be, by its name and the kind of its value."""
    if isinstance(value, str) and (_WINDOWS.match(value) or "/" in value):
        return PATH
    if _COUNT.search(name):
        return OTHER
    wanted: dict[str, Any] = {FOLD: int | str, SEED: int, PATH: str, SETTING: int | float | list | tuple}
    for role, pattern in _NAMES:
        if pattern.search(_snake(name)) and isinstance(value, wanted[role]) and not isinstance(value, bool):
            return role
    return STRATEGY if isinstance(value, str) and _CHOICE.search(_snake(name)) else OTHER


def _snake(name: str) -> str:
    """`foldNo` is `fold_No`: names are told apart by their words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


# --- Folds -----------------------------------------------------------------------------------------------------------


def folds(book: Notebook, one: Assignment) -> tuple[tuple[Any, ...], str]:
    """Return the numbers of all folds, and how they are known."""
    if not isinstance(one.value, int):
        return (), f"stays; a fold by name: --param {one.name}=A,B"
    number, reason = next(_counts(book), (_FOLDS, f"{_FOLDS} folds assumed: the notebook does not say how many"))
    start = 1 if one.value == number or _counts_from_one(book, one.name) else 0
    sure = "" if start or one.value == 0 else " (assumed)"
    last = start + number - 1
    other = f"--fold {one.name}={1 - start}..{last + 1 - 2 * start}"
    return tuple(range(start, last + 1)), f"{reason}, counted from {start}{sure}; else: {other}"


def _counts(book: Notebook) -> Iterator[tuple[int, str]]:
    for cell in book.cells:
        for node in ast.walk(cell.tree) if cell.tree else ():
            if not isinstance(node, ast.Call) or "KFold" not in ast.unparse(node.func):
                continue
            given = [word.value for word in node.keywords if word.arg == "n_splits"] or node.args[:1]
            if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, int):
                yield given[0].value, f"{ast.unparse(node.func)} makes {given[0].value} (cell {cell.number})"
    for name, assignments in book.assignments.items():
        if _COUNT.search(name) and isinstance(assignments[-1].value, int) and 1 < assignments[-1].value <= 100:
            yield assignments[-1].value, f"{name} = {assignments[-1].value} ({assignments[-1].where})"


def _counts_from_one(book: Notebook, name: str) -> bool:
    pattern = re.compile(rf"\b{re.escape(name)}\s*-\s*1\b")
    return any(pattern.search(cell.source) for cell in book.cells)


# --- Strategies ------------------------------------------------------------------------------------------------------


def choices(book: Notebook, one: Assignment) -> tuple[tuple[str, ...], str]:
    """Return the texts between which the notebook chooses by this variable, in their order, and how they are known."""
    for texts, reason in _groups(book, one):
        if one.value in texts and len(texts) > 1:
            return tuple(dict.fromkeys(texts)), reason
    return (), f"stays; its other values are not known: --param {one.name}={one.value},OTHER"


def _groups(book: Notebook, one: Assignment) -> Iterator[tuple[list[str], str]]:
    """Yield groups of texts: what it is compared with, then collections of texts, then its comment."""
    compared: dict[str, list[str]] = {}
    collections: list[tuple[list[str], str]] = []
    for cell in book.cells:
        for node in ast.walk(cell.tree) if cell.tree else ():
            if isinstance(node, ast.Compare):
                _add_comparison(compared, node)
            elif isinstance(node, ast.Match):
                texts = [text for case in node.cases for inner in ast.walk(case.pattern) for text in _texts([inner])]
                compared.setdefault(ast.unparse(node.subject), []).extend(texts)
            elif isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
                members = node.keys if isinstance(node, ast.Dict) else node.elts
                collections.append((_texts(members), f"listed in cell {cell.number}, line {node.lineno}"))
    if one.name in compared:
        yield compared.pop(one.name), f"what the notebook compares {one.name} with"
    yield from collections
    for name, texts in compared.items():
        yield texts, f"what the notebook compares {name} with"
    yield _commented(book, one), "named in its comment"


def _add_comparison(compared: dict[str, list[str]], node: ast.Compare) -> None:
    other = node.comparators[0]
    texts = _texts([other, *(other.elts if isinstance(other, ast.List | ast.Tuple | ast.Set) else [])])
    if isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In):
        compared.setdefault(ast.unparse(node.left), []).extend(texts)


def _texts(nodes: Any) -> list[str]:
    """The texts among some nodes; a pattern of `match` holds its text in a node of its own."""
    inner = [node.value if isinstance(node, ast.MatchValue) else node for node in nodes]
    return [node.value for node in inner if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _commented(book: Notebook, one: Assignment) -> list[str]:
    line = next(cell for cell in book.cells if cell.number == one.cell).source.split("\n")[one.span[2] - 1]
    _, _, comment = line.encode()[one.span[3] :].decode("utf-8", "replace").partition("#")
    return _COMMENT.findall(comment)


# --- Paths -----------------------------------------------------------------------------------------------------------


def _about_path(folder: Path, one: Assignment) -> str:
    text = str(one.value)
    give = f"--param {one.name}=/where/it/is"
    if _WINDOWS.match(text):
        return f"a path of Windows: no host has it; {give}"
    place = Path(text).expanduser()
    if not place.is_absolute():
        linked, new = "beside the notebook: linked into each job's folder", "a name: it stays in each job's folder"
        return linked if (folder / place).exists() else new
    if _OUTPUT.search(_snake(one.name)):
        return f"all jobs would write there; each in its own folder: --param {one.name}={place.name or 'out'}"
    return "is here; a host needs it at the same place" if place.exists() else f"is not on this machine; {give}"


def unfit_paths(found: list[Knob]) -> list[Knob]:
    """Return the paths that cannot stay as they are: not on this machine, or written by all jobs."""
    return [knob for knob in found if knob.role == PATH and "--param" in knob.reason]


def inputs(book: Notebook, folder: Path) -> list[str]:
    """Return what lies beside the notebook and is named, but not written, in it: the first part of each path."""
    found: dict[str, None] = {}
    for cell in book.cells:
        written = {id(inner) for node in _writing(cell.tree) for inner in ast.walk(node)}
        for node in ast.walk(cell.tree) if cell.tree else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in written:
                found.update(dict.fromkeys(_beside(folder, node.value)))
    return [name for name in found if name != Path(book.path).name]


def _writing(tree: ast.Module | None) -> Iterator[ast.Call]:
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call):
            mode = [text for text in _texts(node.args[1:2]) if text[:1] in "wax"]
            if _WRITES.search(ast.unparse(node.func).rpartition(".")[2]) or mode:
                yield node


def _beside(folder: Path, text: str) -> Iterator[str]:
    if not text or len(text) > 255 or "\n" in text or "\0" in text or _WINDOWS.match(text):
        return
    parts = Path(text).parts
    inside = not Path(text).is_absolute() and parts and ".." not in parts
    if inside and (folder / text).exists() and not text.endswith(".py"):
        yield parts[0]


def modules(book: Notebook, folder: Path) -> list[str]:
    """Return the files and packages beside the notebook that it imports."""
    names: dict[str, None] = {}
    for cell in book.cells:
        for node in ast.walk(cell.tree) if cell.tree else ():
            if isinstance(node, ast.Import):
                names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names[node.module.partition(".")[0]] = None
    places = (place for name in names for place in (f"{name}.py", name))
    return [place for place in places if (folder / place).exists()]


def scores(book: Notebook) -> list[str]:
    """Return variables that seem to hold a result, the likeliest first: of tests, then of validation, the last set."""
    lists = {
        name for name, all_of in book.assignments.items() if isinstance(all_of[-1].value, list | dict | tuple | str)
    }
    functions = {name for name, how in book.otherwise.items() if how.startswith(("a definition", "an import"))}
    names = [name for name in book.bound if _SCORE.search(name) and not _NO_SCORE.search(name)]
    kept = [name for name in names if name not in lists | functions]
    order = ("test", "val", "best", "mean")
    rank = {
        name: next((place for place, word in enumerate(order) if word in name.lower()), len(order)) for name in kept
    }
    return sorted(kept, key=lambda name: (rank[name], [-number for number in book.bound[name]]))
