"""A sweep file: found by name, checked, defaults filled in. What it makes of it is in `plan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jobs import notebook
from jobs.atomic import canonical
from jobs.errors import NotFound, OrchError
from jobs.folder import valid_name

from . import grid, policies, schema
from .config import PROJECT_FILE, DataSource
from .validate import check
from .words import did_you_mean
from .yamlfile import Document, PathIn, load

T = TypeVar("T")
TRAINER, COMMAND, NOTEBOOK = "trainer", "command", "notebook"
MOST_JOBS = 100_000  # a larger grid is a slip of the pen
SHIPPED = Path(__file__).parent / "sweeps"
_TRAINER_ONLY = ("strategies", "train", "folds", "inner", "baseline", "data")
_NOTEBOOK_ONLY = ("parameters", "variables", "result", "inputs")


@dataclass(frozen=True)
class SweepFile:
    """A sweep as its file says, checked, with all defaults.

    Attributes
    ----------
    name, kind:
        Name of the sweep; `trainer`, `command` or `notebook`.
    path, text, base:
        The file, its text, and the folder from which its relative paths start.
    data:
        Name of a registered data set, a source, or None (the command line must say).
    folds, inner, seeds:
        Parts by patient; share of the training patients kept for early stopping; seeds, one training each.
    strategies, train:
        Resolved augmentations by name, in order; resolved training parameters. Empty for a command.
    baseline, metric:
        Strategy that others are compared with, or None; value that tables show first, or None.
    command, axes:
        Words with placeholders; values by placeholder, in order. Empty for the trainer.
    notebook, parameters, variables:
        Its path below `base`; the same values for all jobs, by variable; variables of axes that are named otherwise.
    result, inputs:
        Expressions of the notebook by name of the result; files and folders beside it that it reads by relative paths.
    code, env, resources:
        Files to snapshot (empty: the trainer's own); variables; what the file asks for, by name.
    tuning, policy:
        How jobs are computed without becoming others; rules for failures that it changes, by kind.
    hosts:
        Hosts of the site file that share the jobs, `("auto",)`, or empty: not said.
    notes:
        What was decided for the writer, each with its reason.
    title:
        The name that the file gives it, where `name` became the one of the orch homes (`orchestrator.ownership`).
    """

    name: str
    kind: str
    path: str
    text: str
    base: str
    data: str | DataSource | None = None
    folds: int = 5
    inner: float = 0.2
    seeds: tuple[int, ...] = (0,)
    strategies: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    metric: str | None = None
    command: tuple[str, ...] = ()
    axes: Mapping[str, list[Any]] = field(default_factory=dict)
    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float | str] = field(default_factory=dict)
    tuning: Mapping[str, int] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = ""

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.title or self.name


def find_sweep(word: str, folder: Path, project: Path | None) -> Path:
    """Return the file of a sweep: a path, a name in `sweeps/` here or beside `orch.yaml`, or a shipped one.

    Raises
    ------
    NotFound
        No file has that name; the nearest known one is named.
    """
    direct = folder / Path(word).expanduser()
    if direct.is_file():
        return direct
    places = _places(folder, project)
    for place in places:
        for ending in (".yaml", ".yml", ""):
            if (place / f"{word}{ending}").is_file():
                return place / f"{word}{ending}"
    files = (path for place in places for path in place.glob("*.y*ml") if path.name != PROJECT_FILE)
    known = sorted({path.stem for path in files})
    raise NotFound(
        f"no sweep named '{word}'{did_you_mean(word, known)}",
        f"known here: {', '.join(known)}; or give the path of a file",
        known=known,
    )


def _places(folder: Path, project: Path | None) -> list[Path]:
    near = [folder / "sweeps", folder]
    beside = [project.parent / "sweeps", project.parent] if project else []
    return [*near, *beside, SHIPPED]


def load_sweep(path: Path, project: Path | None = None) -> SweepFile:
    """Read and check a sweep file.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It says something that cannot be understood: file, line, what is allowed, and the repair.
    """
    document = load(path)
    check(document)
    given = document.value
    common: dict[str, Any] = {
        "name": given.get("sweep", path.stem),
        "path": str(path.absolute()),
        "text": path.read_text("utf-8-sig"),
        "base": str(base_of(path, project)),
        "metric": given.get("metric"),
        "code": tuple(given.get("code", ())),
        "env": {name: grid.plain(value) for name, value in given.get("env", {}).items()},
        "resources": policies.resources(document),
        "tuning": {name: int(value) for name, value in given.get("tuning", {}).items()},
        "policy": policies.policy(document),
        "hosts": _hosts(given.get("hosts")),
    }
    if not valid_name(common["name"]):
        raise document.error((), f"the file name '{path.stem}' cannot name a sweep", "add a line `sweep: NAME`")
    make = {COMMAND: _command_sweep, NOTEBOOK: _notebook_sweep, TRAINER: _trainer_sweep}
    return make[_kind(document)](document, common)


def _hosts(given: str | list[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def base_of(path: Path, project: Path | None) -> Path:
    """Return the folder from which the relative paths of a sweep file start."""
    folder = path.absolute().parent
    if SHIPPED in (folder, folder.resolve()):
        return Path.cwd()
    if project and project.parent in path.absolute().parents:
        return project.parent
    return folder.parent if folder.name == "sweeps" else folder


def _kind(document: Document) -> str:
    given = document.value
    kind = next((kind for kind in (COMMAND, NOTEBOOK) if kind in given), TRAINER)
    refused = {COMMAND: (*_TRAINER_ONLY, NOTEBOOK, *_NOTEBOOK_ONLY), NOTEBOOK: _TRAINER_ONLY, TRAINER: _NOTEBOOK_ONLY}
    for key in refused[kind]:
        if key in given:
            goes = "goes with `notebook` only" if kind == TRAINER else f"does not go together with `{kind}`"
            raise document.error((key,), goes, "leave it out, or put its values into `grid`")
    if kind != TRAINER:
        return kind
    if "strategies" not in given:
        hint = "add `strategies: {identity: [], rotate: [{rotate: {degrees: 15}}]}` or `command: [python3, train.py]`"
        raise document.error((), "the sweep names neither strategies nor a command", hint)
    if "grid" in given:
        text = "goes with `command` or `notebook` only"
        raise document.error(("grid",), text, "write strategies, or a command and its grid")
    return TRAINER


def _trainer_sweep(document: Document, common: dict[str, Any]) -> SweepFile:
    given = document.value
    strategies = {name: schema.resolve_strategy(steps) for name, steps in given["strategies"].items()}
    _refuse_equal_strategies(document, strategies)
    baseline, notes = _baseline(document, strategies)
    data = given.get("data")
    base = Path(common["base"])
    return SweepFile(
        **{**common, "metric": common["metric"] or "dice"},
        kind=TRAINER,
        data=DataSource.of(data, base) if isinstance(data, dict) else data,
        folds=int(given.get("folds", schema.default("folds"))),
        inner=float(given.get("inner", schema.default("inner"))),
        seeds=_seeds(given),
        strategies=strategies,
        train=_train(document),
        baseline=baseline,
        notes=notes,
    )


def _seeds(given: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(seed) for seed in given.get("seeds", schema.default("seeds")))


def _train(document: Document) -> dict[str, Any]:
    train = schema.resolve(document.value.get("train"), schema.trainer_part("train"))
    step = 2 ** int(train["depth"])
    size = train["size"]
    if size != "auto" and any(side % step for side in size):
        fitting = [-(-side // step) * step for side in size]
        text = f"{size} is not a multiple of {step} = 2^depth, so the U-Net cannot halve it {train['depth']} times"
        raise document.error(("train", "size"), text, f"write size: {fitting}, or size: auto")
    return train


def _refuse_equal_strategies(document: Document, strategies: Mapping[str, list[dict[str, Any]]]) -> None:
    seen: dict[str, str] = {}
    for name, steps in strategies.items():
        first = seen.setdefault(canonical(steps), name)
        if first != name:
            text = f"is the same recipe as '{first}' (defaults filled in): the same jobs would stand under two names"
            raise document.error(("strategies", name), text, "keep one of the two, or change a parameter")


def _baseline(document: Document, strategies: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    named = document.value.get("baseline")
    if named is None:
        empty = next((name for name, steps in strategies.items() if not steps), None)
        return empty, (f"baseline {empty}: the strategy without augmentation",) if empty else ()
    if named not in strategies:
        text = f"'{named}' is not among the strategies{did_you_mean(named, strategies)}"
        raise document.error(("baseline",), text, f"strategies are: {', '.join(strategies)}")
    return str(named), ()


def _command_sweep(document: Document, common: dict[str, Any]) -> SweepFile:
    given = document.value
    command = tuple(grid.plain(word) for word in given["command"])
    axes = _axes(document)
    seeds = _seeds(given) if "seeds" in given else ()
    if seeds and "seed" in axes:
        raise document.error(("grid", "seed"), "stands beside `seeds`", "keep one of the two")
    known = [*axes, *(["seed"] if seeds else []), grid.RUN]
    used = set(_used(document, command, known))
    notes = tuple(
        f"'{axis}' stands in no word of the command: its value reaches the program only by job.json (names.{axis})"
        for axis in known[:-1]
        if axis not in used
    )
    if policies.micro_batch_unknown(common["policy"], axes):
        text = "asks for smaller batches, but nobody knows how large they are"
        raise document.error(
            ("policy",), text, "add `batch_size` to the grid, and let the command read ORCH_MICRO_BATCH"
        )
    return SweepFile(**common, kind=COMMAND, command=command, axes=axes, seeds=seeds, notes=notes)


def _notebook_sweep(document: Document, common: dict[str, Any]) -> SweepFile:
    given = document.value
    axes = _axes(document)
    seeds = _seeds(given) if "seeds" in given else ()
    if seeds and "seed" in axes:
        raise document.error(("grid", "seed"), "stands beside `seeds`", "keep one of the two")
    variables, parameters = dict(given.get("variables", {})), dict(given.get("parameters", {}))
    known = [*axes, *(["seed"] if seeds else [])]
    for axis in variables:
        if axis not in known:
            hint = f"axes are: {', '.join(known) or 'none'}"
            raise document.error(("variables", axis), f"is no axis of the grid{did_you_mean(axis, known)}", hint)
    book = _checked(document, ("notebook",), notebook.read, str(Path(common["base"], given["notebook"])))
    places: dict[PathIn, str] = {("parameters", name): name for name in parameters}
    for axis in known:
        places[("grid", axis) if axis in axes else ("seeds",)] = variables.get(axis, axis)
    for place, name in places.items():
        _checked(document, place, book.targets, name)
    if len(set(places.values())) < len(places):
        raise document.error(("grid",), "gives one variable two values", "keep it in `grid` or in `parameters`")
    result = {name: str(text) for name, text in given.get("result", {}).items()}
    for name, text in result.items():
        _checked(document, ("result", name), book.check_result, name, text)
    metric = common["metric"] or next(iter(result), None)
    about = {"notebook": given["notebook"], "inputs": tuple(given.get("inputs", ())), "result": result}
    shared = {**common, **about, "metric": metric, "variables": variables, "parameters": parameters}
    return SweepFile(**shared, kind=NOTEBOOK, axes=axes, seeds=seeds, notes=tuple(book.problems))


def _checked(document: Document, place: PathIn, check: Callable[..., T], *words: str) -> T:
    """Let what is wrong with the notebook name the line of the sweep file that asks for it."""
    try:
        return check(*words)
    except OrchError as error:
        raise document.error(place, error.message, error.hint) from error


def _axes(document: Document) -> dict[str, list[Any]]:
    written = document.value.get("grid", {})
    total = len(document.value.get("seeds", [0]))
    for name, values in written.items():
        total *= grid.length(values)
        if name == grid.RUN:
            raise document.error(("grid", name), "{run} is the run folder and cannot be an axis", "choose another name")
    if total > MOST_JOBS:
        raise document.error(("grid",), f"makes {total} jobs; the limit is {MOST_JOBS}", "use fewer values")
    axes = {name: grid.values(values) for name, values in written.items()}
    for name, values in axes.items():
        for value in _repeated(values):
            raise document.error(("grid", name), f"holds {value!r} twice: duplicate jobs", "write each value once")
    return axes


def _repeated(values: list[Any]) -> Iterator[Any]:
    seen: set[str] = set()
    for value in values:
        text = canonical(value)
        if text in seen:
            yield value
        seen.add(text)


def _used(document: Document, command: tuple[str, ...], known: list[str]) -> Iterator[str]:
    for number, word in enumerate(command):
        for name in grid.placeholders(word):
            if name not in known:
                text = f"unknown placeholder {{{name}}}{did_you_mean(name, known)}"
                hint = f"placeholders are: {', '.join(f'{{{one}}}' for one in known)}; a brace itself is {{{{ or }}}}"
                raise document.error(("command", number), text, hint)
            yield name
