"""A notebook as text: its cells, what their top level assigns, and other values put where those stand.

Values are replaced where they stand, in a copy: a cell that is added after the assignment would come too late for what
the assigning cell itself does with the value, and one before it would be written over.
"""

from __future__ import annotations

import ast
import builtins
import copy
import difflib
import json
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from .errors import NotFound, SpecError

# `name = !ls` and `name = %magic`, then whole lines of IPython: `%matplotlib inline`, `!nvidia-smi`, `?print`, `x?`.
_CAPTURED = re.compile(r"^(\s*[\w, ]+=\s*)[!%]\s*\w.*$")
_MAGIC = re.compile(r"^(\s*)([%!?].*|[\w.]+\?{1,2}\s*)$")
_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")  # what follows them is Python still
_PATHS = ("Path", "pathlib.Path", "PurePath", "os.path.join", "os.path.expanduser", "os.path.abspath")
_Place = Tuple[int, int, int]  # number of the cell, line and column in it


class Cell(NamedTuple):
    """A code cell: its number among all cells and its source, from 1 on; its syntax tree, or why there is none."""

    number: int
    source: str
    tree: Optional[ast.Module]
    problem: str


class Assignment(NamedTuple):
    """One `name = value` at the top level of a cell.

    Attributes
    ----------
    name, value:
        The variable; its literal value, or None with `literal` false when it is computed.
    cell, line:
        Where, from 1 on.
    text:
        The value as it stands there.
    span:
        First line, first byte, last line, end byte of that text within the cell; lines from 1, bytes from 0.
    literal, derived:
        It is a plain value; it is made from the variable itself (`path = Path(path)`).
    """

    name: str
    value: Any
    cell: int
    line: int
    text: str
    span: Tuple[int, int, int, int]
    literal: bool
    derived: bool

    @property
    def where(self) -> str:
        """`cell 3, line 2`."""
        return "cell {}, line {}".format(self.cell, self.line)


class Notebook:
    """A notebook of Python, read and understood as far as it goes.

    Parameters
    ----------
    document:
        The JSON object of nbformat 4.
    path:
        For messages.
    """

    def __init__(self, document: Mapping[str, Any], path: str) -> None:
        self.document, self.path = document, path
        self.cells = [_cell(number, one) for number, one in _code_cells(document)]
        self.assignments: Dict[str, List[Assignment]] = {}
        self.otherwise: Dict[str, str] = {}  # names that loops, branches or functions set: where, in words
        self.bound: Dict[str, _Place] = {}  # all names that the notebook's top level sets
        self._uses: Dict[str, List[_Place]] = {}
        for cell in self.cells:
            if cell.tree:
                self._read(cell, cell.tree)

    @property
    def problems(self) -> List[str]:
        """Cells that were left alone, each with its reason."""
        return [cell.problem for cell in self.cells if cell.problem]

    def targets(self, name: str) -> List[Assignment]:
        """Return the assignments whose value has to be replaced so that `name` has another value throughout.

        Raises
        ------
        NotFound
            The notebook does not set it.
        SpecError
            A value from outside would not last: a loop or branch sets it too, or it is set anew after its use.
        """
        found = self.assignments.get(name, [])
        if name in self.otherwise:
            text = "{} sets {} in {}: a value from outside would not last".format(self.path, name, self.otherwise[name])
            raise SpecError(text, "leave {} out, or take that line out of the notebook".format(name), name=name)
        if not found:
            known = sorted(self.assignments)
            near = difflib.get_close_matches(name, known, 1, 0.6)
            text = "{} sets no variable '{}' at the top level of a cell".format(self.path, name)
            hint = "it sets: {}".format(", ".join(known) or "nothing that could be changed")
            raise NotFound(text + (". Did you mean '{}'?".format(near[0]) if near else ""), hint, known=known)
        plain = [one for one in found if not one.derived]
        for number, later in enumerate(plain[1:]):
            former = plain[number]
            if former.text != later.text and self._used_between(former, later):
                text = "{} sets {} twice, and uses it in between ({} and {})".format(
                    self.path, name, former.where, later.where
                )
                raise SpecError(text, "a sweep needs one value: keep one of the two in the notebook", name=name)
        return plain or found[:1]

    def _used_between(self, former: Assignment, later: Assignment) -> bool:
        start, end = (former.cell, former.line, 0), (later.cell, later.line, 0)
        return any(start < place < end for place in self._uses.get(former.name, ()))

    def with_values(self, values: Mapping[str, Any]) -> Dict[str, Any]:
        """Return a copy of the document in which variables get other values, without outputs.

        Raises
        ------
        NotFound, SpecError
            See `targets`.
        """
        edits: Dict[int, List[Tuple[Assignment, str]]] = {}
        for name, value in values.items():
            for one in self.targets(name):
                written = tuple(value) if isinstance(one.value, tuple) and isinstance(value, list) else value
                edits.setdefault(one.cell, []).append((one, repr(written)))
        made = without_outputs(self.document)
        for number, changes in edits.items():
            source = text_of(made["cells"][number - 1])
            for one, text in sorted(changes, key=lambda change: change[0].span, reverse=True):
                source = _replaced(source, one.span, text)
            made["cells"][number - 1]["source"] = source
        return made

    def check_result(self, name: str, text: str) -> None:
        """Refuse a result that is no expression, or needs what the notebook never sets: at once, not after hours.

        Raises
        ------
        SpecError
            With the names that it sets.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            text = "result {}: '{}' is no expression of Python".format(name, text)
            raise SpecError(text, "name a variable of the notebook, or write max(val_dice)") from error
        used = {inner.id for inner in ast.walk(tree) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}
        own = {inner.id for inner in ast.walk(tree) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
        for word in sorted(used - own - set(self.bound) - set(dir(builtins))):
            near = difflib.get_close_matches(word, list(self.bound), 1, 0.6)
            also = ". Did you mean '{}'?".format(near[0]) if near else ""
            text = "result {}: {} sets no variable '{}'{}".format(name, self.path, word, also)
            raise SpecError(text, "it sets: {}".format(", ".join(sorted(self.bound))), name=name)

    # --- Reading -----------------------------------------------------------------------------------------------------

    def _read(self, cell: Cell, tree: ast.Module) -> None:
        for node in tree.body:
            taken = set()
            for one in _assignments(cell, node):
                self.assignments.setdefault(one.name, []).append(one)
                self.bound[one.name] = (cell.number, one.line, 0)
                taken.add(one.name)
            for name, line, how, derived in _bindings(node):
                if name not in taken:
                    self.bound.setdefault(name, (cell.number, line, 0))
                    if how and not derived:
                        self.otherwise.setdefault(name, "{} (cell {}, line {})".format(how, cell.number, line))
        for inner in ast.walk(tree):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                place = (cell.number, inner.lineno, inner.col_offset)
                self._uses.setdefault(inner.id, []).append(place)


def read(path: str) -> Notebook:
    """Read a notebook.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It is no notebook, is of an old format, or of another language.
    """
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound("there is no notebook {}".format(path), "give the path of an .ipynb file") from error
    except OSError as error:
        raise SpecError("{} cannot be read: {}".format(path, error.strerror), "look at its permissions") from error
    return parse(data, path)


def parse(data: bytes, path: str) -> Notebook:
    """Understand the bytes of a notebook (see `read`)."""
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        what = "is empty" if not data.strip() else "is no JSON"
        raise SpecError(
            "{} {}, so it is no notebook".format(path, what), "open it in Jupyter, and save it there"
        ) from error
    _check(document, path)
    return Notebook(document, path)


def _check(document: Any, path: str) -> None:
    again = "open it in a current Jupyter or VS Code and save it, or: jupyter nbconvert --to notebook --inplace"
    if not isinstance(document, dict) or not ({"cells", "worksheets"} & set(document)):
        raise SpecError("{} is JSON, but no notebook: it has no cells".format(path), "give the path of an .ipynb file")
    if document.get("nbformat") != 4 or not isinstance(document.get("cells"), list):
        text = "{} is a notebook of format {}; format 4 is understood".format(path, document.get("nbformat"))
        raise SpecError(text, "{} {}".format(again, path))
    if not all(isinstance(cell, dict) for cell in document["cells"]):
        raise SpecError("{} has cells that are none".format(path), "open it in Jupyter, and save it there")
    language = _language(document.get("metadata"))
    if language.lower() not in ("python", "ipython"):
        text = "{} is a notebook of {}, not of Python".format(path, language)
        raise SpecError(text, "make it a script, and sweep that: command: [Rscript, train.R, --fold, '{fold}']")
    if not any(text_of(cell).strip() for _, cell in _code_cells(document)):
        raise SpecError("{} has no code: there is nothing to run".format(path), "save the notebook in Jupyter first")


def _language(metadata: Any) -> str:
    """The language that the notebook names; without any word it is Python's."""
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        part = metadata.get(key)
        if isinstance(part, dict) and part.get(name):
            return str(part[name])
    return "python"


def without_outputs(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a copy without what an earlier run left: outputs may show patients, and are no code."""
    made: Dict[str, Any] = copy.deepcopy(dict(document))
    for cell in made["cells"]:
        cell.pop("attachments", None)
    for _, cell in _code_cells(made):
        cell.update(outputs=[], execution_count=None)
        metadata = cell.get("metadata")
        cell["metadata"] = {"tags": metadata["tags"]} if isinstance(metadata, dict) and metadata.get("tags") else {}
    return made


def text_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell as one text."""
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return text.replace("\r\n", "\n")


def _code_cells(document: Mapping[str, Any]) -> Iterator[Tuple[int, Dict[str, Any]]]:
    for number, cell in enumerate(document["cells"], 1):
        if cell.get("cell_type") == "code":
            yield number, cell


def _cell(number: int, cell: Mapping[str, Any]) -> Cell:
    source = text_of(cell)
    for text in (source, _plain(source)):
        try:
            return Cell(number, source, ast.parse(text), "")
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 1
    return Cell(number, source, None, "cell {} was left alone: line {} is no Python".format(number, line))


def _plain(source: str) -> str:
    """Take IPython's own lines out of a cell; every other character stays where it is."""
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(_PYTHON_CELLS):
        return ""  # another language
    return "\n".join(_MAGIC.sub(r"\1pass", _CAPTURED.sub(r"\1None", line)) for line in lines)


def _assignments(cell: Cell, node: ast.stmt) -> Iterator[Assignment]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = node.target, node.value
    else:
        return
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = list(zip(target.elts, value.elts))
    for name, given in pairs:
        if isinstance(name, ast.Name) and not isinstance(given, ast.Starred):
            yield _assignment(cell, name.id, given)


def _assignment(cell: Cell, name: str, node: ast.expr) -> Assignment:
    inner, value, literal = _literal(node)
    span = (inner.lineno, inner.col_offset, inner.end_lineno or 0, inner.end_col_offset or 0)
    text = ast.get_source_segment(cell.source, inner) or ""
    return Assignment(name, value, cell.number, node.lineno, text, span, literal, _mentions(node, name))


def _literal(node: ast.expr) -> Tuple[ast.expr, Any, bool]:
    """What to replace, and its value: a path's text is replaced within `Path(...)`, so that it stays a path."""
    if isinstance(node, ast.Call) and node.args and not node.keywords and ast.unparse(node.func) in _PATHS:
        words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if len(words) == len(node.args) == 1:
            return node.args[0], words[0], True
        if len(words) == len(node.args) and ast.unparse(node.func) == "os.path.join":
            return node, "/".join(words), True
    try:
        return node, ast.literal_eval(node), True
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return node, None, False


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


_Binding = Tuple[str, int, str, bool]  # name, line, how (empty: a plain one), made from the name itself
_BLOCKS = {
    ast.For: "a loop",
    ast.AsyncFor: "a loop",
    ast.While: "a loop",
    ast.If: "a branch",
    ast.Try: "a try",
    ast.With: "a with",
    ast.AsyncWith: "a with",
}


def _bindings(node: ast.stmt, how: str = "") -> Iterator[_Binding]:
    """Yield what a statement of the top level sets, down its blocks; functions and classes have names of their own."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name, node.lineno, how or "a definition", False
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                yield from ((name, inner.lineno, "a function", False) for name in inner.names)
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield (alias.asname or alias.name).split(".")[0], node.lineno, how or "an import", False
        return
    block = next((words for kind, words in _BLOCKS.items() if isinstance(node, kind)), "")
    value = getattr(node, "value", None)
    for inner in _own(node):
        for one in ast.walk(inner):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                derived = isinstance(node, ast.AugAssign) or (value is not None and _mentions(value, one.id))
                yield one.id, one.lineno, block or how, derived
    for child in ast.iter_child_nodes(node):
        for statement in child.body if isinstance(child, ast.ExceptHandler) else [child]:
            if isinstance(statement, ast.stmt):
                yield from _bindings(statement, block or how)


def _own(node: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement, without the statements inside it and without comprehensions' own names."""
    for child in ast.iter_child_nodes(node):
        hidden = (ast.stmt, ast.ExceptHandler, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)
        if not isinstance(child, hidden):
            yield child


def _replaced(source: str, span: Tuple[int, int, int, int], text: str) -> str:
    """Put a text in the place of another; columns are bytes, as `ast` counts them."""
    first, start, last, end = span
    lines = source.split("\n")
    head = lines[first - 1].encode()[:start].decode()
    tail = lines[last - 1].encode()[end:].decode()
    return "\n".join([*lines[: first - 1], head + text + tail, *lines[last:]])
