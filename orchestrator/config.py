"""Settings: flag, then `ORCH_*`, then the project file `orch.yaml` (searched upward), then the user's file.

    home       folder of all runs (the orch home)
    python     interpreter that runs the trainer
    parallel   jobs side by side on this machine
    state      folder of the local index and caches of this machine's user
    data       data sets by name: {images, labels} or {csv}, groups, classes
    project    id of the project, so that its sweeps are told from those of others; in the project file alone

No file is read before a value is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.errors import UsageError
from jobs.folder import valid_name

from .words import did_you_mean

if TYPE_CHECKING:
    from .yamlfile import Document

PROJECT_FILE = "orch.yaml"
SCALARS = ("home", "python", "parallel", "state")  # can be set by flag, environment and `orch config KEY VALUE`
KEYS = {
    "home": "folder of all runs; a path",
    "python": "interpreter that runs the trainer; a path or a command",
    "parallel": "jobs side by side on this machine; a whole number, at least 1",
    "state": "folder of the local index; a path on a local disk",
    "data": "data sets by name: {images, labels} or {csv}, groups, classes",
    "project": "id of this project, which tells its sweeps from those of others; letters, digits and . _ -",
}
DATA_KEYS = ("images", "labels", "groups", "csv", "classes")


class Value(NamedTuple):
    """A setting with where it came from."""

    value: Any
    origin: str


class DataSource(NamedTuple):
    """A data set as the project file or a sweep names it; paths are absolute (a glob pattern may stand at their end).

    Attributes
    ----------
    images, labels:
        Folders or glob patterns; `labels` may be missing where `images` holds imagesTr and labelsTr.
    csv:
        A table with the columns image, label[, group][, case].
    groups:
        Regular expression whose one group is the patient.
    classes:
        Names of the label values 1..n.
    """

    images: str | None = None
    labels: str | None = None
    csv: str | None = None
    groups: str | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any], folder: Path) -> DataSource:
        """Build it from a checked mapping; relative paths start in `folder`."""
        paths = {key: _absolute(value[key], folder) for key in ("images", "labels", "csv") if value.get(key)}
        classes = value.get("classes")
        return cls(**paths, groups=value.get("groups"), classes=tuple(classes) if classes else None)


class Settings:
    """All settings of one call.

    Parameters
    ----------
    flags:
        Parsed command line: `home`, `config`, `python`, `parallel` and `state` are looked at.
    environment:
        Variables; `ORCH_HOME` and so on.
    folder:
        Where the upward search for `orch.yaml` starts.
    """

    def __init__(self, flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> None:
        self._flags = flags
        self._environment = environment
        self._folder = folder

    @classmethod
    def of(cls, flags: Mapping[str, Any]) -> Settings:
        """Return the settings of this process under these flags."""
        return cls(flags, os.environ, Path.cwd())

    def value(self, key: str) -> Value:
        """Return one setting and its origin.

        Raises
        ------
        UsageError
            There is no such key, or the value has the wrong type.
        SpecError
            A settings file cannot be read or holds an unknown key.
        """
        check_key(key)
        if key == "data":
            return Value({name: source._asdict() for name, source in self.data.items()}, self._data_origin())
        if key == "project":
            return Value(self.project_id or None, self._where_project())
        for value, origin, folder in self._layers(key):
            if value is not None:
                return Value(checked_value(key, value, folder, origin), origin)
        return self._default(key)

    def _layers(self, key: str) -> list[tuple[Any, str, Path]]:
        variable = "ORCH_" + key.upper()
        flag, environment = self._flags.get(key), self._environment.get(variable) or None
        found = [(flag, f"flag --{key}", self._folder), (environment, variable, self._folder)]
        if flag is None and environment is None:
            for document, path in self._files:
                found.append((document.value.get(key), document.where((key,)), path.parent))
        return found

    def _default(self, key: str) -> Value:
        if key == "home":
            return Value(Path.home() / ".orch", "default")
        if key == "state":
            return self._default_state()
        return Value(sys.executable if key == "python" else None, "default")

    def _default_state(self) -> Value:
        """The user's state folder; where that lies on a network file system, SQLite needs another place."""
        from jobs.disk import disk  # only commands that open the index need it

        usual = user_folder(self._environment, "XDG_STATE_HOME", ".local/state", "LOCALAPPDATA") / "orch"
        found = disk(usual)
        if not found.on_network or os.name != "posix":
            return Value(usual, "default")
        local = Path("/var/tmp") / f"orch-{os.getuid()}" / "state"
        return Value(local, f"default: {usual} is on {found.kind}, where an index is not safe")

    @property
    def home(self) -> Path:
        """The orch home; it may not exist yet (`homes.open_home` makes it)."""
        return Path(self.value("home").value)

    @property
    def python(self) -> str:
        """The interpreter that runs the trainer."""
        return str(self.value("python").value)

    @property
    def parallel(self) -> int | None:
        """Jobs side by side on this machine, or None: as many as its slots allow."""
        value = self.value("parallel").value
        return None if value is None else int(value)

    @property
    def state(self) -> Path:
        """Folder of local state; the index of a home is `<state>/<home id>/index.db`."""
        return Path(self.value("state").value)

    @cached_property
    def data(self) -> dict[str, DataSource]:
        """Data sets that the files name; the project file wins over the user's."""
        found: dict[str, DataSource] = {}
        for document, path in reversed(self._files):
            for name, value in (document.value.get("data") or {}).items():
                found[name] = DataSource.of(value, path.parent)
        return found

    def _data_origin(self) -> str:
        named = [document.where(("data",)) for document, _ in self._files if document.value.get("data")]
        return ", ".join(named) or "default"

    @cached_property
    def project_file(self) -> Path | None:
        """The project file: `--config`, `ORCH_CONFIG`, or the nearest `orch.yaml` upward."""
        named = self._flags.get("config") or self._environment.get("ORCH_CONFIG")
        if named:
            return (self._folder / Path(named).expanduser()).absolute()
        candidates = (folder / PROJECT_FILE for folder in (self._folder, *self._folder.parents))
        return next((path for path in candidates if path.is_file()), None)

    @cached_property
    def project_id(self) -> str:
        """The id that the project file gives the project; empty: none."""
        found = [document.value.get("project") for document, path in self._files if path == self.project_file]
        return str(found[0]) if found and found[0] else ""

    @property
    def names_project(self) -> bool:
        """Whether `--config` or `ORCH_CONFIG` names a project file with an id: then it counts wherever we stand."""
        return bool((self._flags.get("config") or self._environment.get("ORCH_CONFIG")) and self.project_id)

    def _where_project(self) -> str:
        named = [document.where(("project",)) for document, path in self._files if path == self.project_file]
        return named[0] if self.project_id else "default"

    @property
    def user_file(self) -> Path:
        """The user's own file; `orch config KEY VALUE` writes it."""
        return user_folder(self._environment, "XDG_CONFIG_HOME", ".config", "APPDATA") / "orch" / "config.yaml"

    @cached_property
    def _files(self) -> list[tuple[Document, Path]]:
        """Project file, then user file, each checked; only those that exist."""
        found = [self.project_file] if self.project_file else []
        found += [self.user_file] if self.user_file.is_file() else []
        if not found:
            return []  # without a file no YAML library is loaded
        from .yamlfile import load

        return [(check_file(load(path)), path) for path in found]


def check_key(key: str) -> None:
    """Refuse an unknown key.

    Raises
    ------
    UsageError
        The nearest key is named.
    """
    if key not in KEYS:
        raise UsageError(f"there is no setting '{key}'{did_you_mean(key, KEYS)}", f"settings are: {', '.join(KEYS)}")


def check_file(document: Document) -> Document:
    """Check a settings file: known keys, data sets that make sense; return it with a mapping as value.

    Raises
    ------
    SpecError
        It names file, line and the nearest key.
    """
    value = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        raise document.error((), "a settings file holds `key: value` lines", f"keys: {', '.join(KEYS)}")
    for key in value:
        if key not in KEYS:
            raise document.error((key,), f"unknown key{did_you_mean(key, KEYS)}", f"keys are: {', '.join(KEYS)}")
    _check_data(document, value.get("data"))
    project = value.get("project")
    if project is not None and not (isinstance(project, str) and valid_name(project)):
        raise document.error(("project",), f"{project!r} cannot be a project's id", "project: liver-3f9c")
    return document._replace(value=value)


def _check_data(document: Document, data: Any) -> None:
    if data is not None and not isinstance(data, dict):
        raise document.error(("data",), "must be a mapping", "data: {liver: {images: folder, labels: folder}}")
    for name, value in (data or {}).items():
        place = ("data", name)
        if not isinstance(value, dict):
            raise document.error(place, "must be a mapping", f"{name}: {{images: folder, labels: folder}}")
        for key, item in value.items():
            if key not in DATA_KEYS:
                text = f"unknown key '{key}'{did_you_mean(key, DATA_KEYS)}"
                raise document.error((*place, key), text, f"keys are: {', '.join(DATA_KEYS)}")
            _check_data_value(document, (*place, key), key, item)
        if not (value.get("images") or value.get("csv")):
            raise document.error(
                place, "names no images", f"{name}: {{images: folder, labels: folder}} or {{csv: file}}"
            )


def _check_data_value(document: Document, place: tuple[str | int, ...], key: str, item: Any) -> None:
    if key == "classes":
        if item is not None and not (isinstance(item, list) and all(isinstance(one, str) for one in item)):
            raise document.error(place, "must be a list of names", "classes: [anterior, posterior]")
    elif item is not None and not isinstance(item, str):
        raise document.error(place, f"must be a text, not {item!r}", f"{key}: path or pattern")


def checked_value(key: str, value: Any, folder: Path, origin: str) -> Any:
    """Return a scalar setting with its type: paths are absolute, relative ones start in `folder`.

    Raises
    ------
    UsageError
        It has the wrong type; the message names `origin`.
    """
    if key == "parallel":
        if isinstance(value, bool) or not str(value).isdecimal() or int(value) < 1:
            raise UsageError(f"{origin}: parallel must be a whole number of at least 1, not '{value}'", "parallel: 4")
        return int(value)
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{origin}: {key} must be a text, not {value!r}", f"{key}: {KEYS[key]}")
    if key == "python" and not {"/", os.sep} & set(str(value)):
        return str(value)  # a command to be found in PATH
    return _absolute(value, folder) if key == "python" else Path(_absolute(value, folder))


def _absolute(value: str | os.PathLike[str], folder: Path) -> str:
    """Return an absolute path; symbolic links stay (an environment's python is one)."""
    return os.path.normpath(folder / Path(value).expanduser())


def user_folder(environment: Mapping[str, str], variable: str, default: str, windows: str) -> Path:
    """Return one of the user's own folders: the XDG variable, else the system's usual place."""
    if environment.get(variable):
        return Path(environment[variable])
    if os.name == "nt" and environment.get(windows):
        return Path(environment[windows])
    return Path.home() / default
