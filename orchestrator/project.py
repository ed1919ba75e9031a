"""To which project a folder or a sweep file belongs: `project:` of the `orch.yaml` above it, else its folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.errors import OrchError

from .config import PROJECT_FILE, Settings, check_file

if TYPE_CHECKING:
    from .sweep import SweepFile

MOST_FOLDERS = 20  # of one project: clones, and where it lay before
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_LENGTH = 40  # characters of a project's id that we make


class Project(NamedTuple):
    """A project.

    Attributes
    ----------
    folder:
        Where it lies on this machine, without symbolic links.
    given:
        Its id in `orch.yaml`, which goes along with every clone; empty: none is there.
    """

    folder: str
    given: str = ""

    @property
    def name(self) -> str:
        """What people call it: its folder's name."""
        return Path(self.folder).name or self.folder

    @property
    def id(self) -> str:
        """The given id; else one that is made of its folder's path."""
        return self.given or new_id(self.name, self.folder)

    def record(self, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what a sweep's record says of it; folders of before stay known."""
        known = [folder for folder in (before or {}).get("folders", ()) if folder != self.folder]
        about = {"id": self.id, "declared": bool(self.given), "name": self.name}
        return {**about, "folders": [self.folder, *known][:MOST_FOLDERS]}


def new_id(name: str, salt: str = "") -> str:
    """Return an id for a project: its name, and four letters that no other has (made of `salt`, else random)."""
    word = _UNFIT.sub("-", name).strip("-._")[:_LENGTH] or "project"
    return f"{word}-{hashlib.sha256(salt.encode() or os.urandom(16)).hexdigest()[:4]}"


def here(settings: Settings, known: Iterable[Mapping[str, Any]] = ()) -> Project | None:
    """Return the project in which we stand, or None.

    Parameters
    ----------
    known:
        Projects of sweeps: without an `orch.yaml` the nearest folder upward that is one of theirs.
    """
    file = settings.project_file
    if file is not None and (_inside(Path.cwd(), file.parent) or settings.names_project):
        return Project(os.path.realpath(file.parent), settings.project_id)
    folders = {folder for project in known for folder in project.get("folders", ())}
    place = Path(os.path.realpath(Path.cwd()))
    above = [folder for folder in place.parents if folder not in (Path.home(), Path(place.anchor))]
    return next((Project(str(one)) for one in (place, *above) if str(one) in folders), None)


def of_sweep(settings: Settings, sweep: SweepFile) -> Project:
    """Return the project of a sweep file: where it lies, not where we stand; of a shipped one where we stand."""
    from .sweep import SHIPPED
    from .yamlfile import load  # most commands read no YAML

    path = Path(sweep.path)
    folder = Path(sweep.base) if path.parent in (SHIPPED, Path(os.path.realpath(SHIPPED))) else path.parent
    file = settings.project_file
    if file is not None and (_inside(folder, file.parent) or settings.names_project):
        return Project(os.path.realpath(file.parent), settings.project_id)
    file = next((one / PROJECT_FILE for one in (folder, *folder.parents) if (one / PROJECT_FILE).is_file()), None)
    if file is None:
        return Project(os.path.realpath(sweep.base))
    return Project(os.path.realpath(file.parent), str(check_file(load(file)).value.get("project") or ""))


def lies_below(path: str, folder: str) -> bool:
    """Tell whether a path, which may be of another machine, leads into a folder of this one."""
    try:
        return bool(path) and os.path.realpath(path).startswith(folder.rstrip("/") + "/")
    except (OSError, ValueError):
        return False


def is_there(path: str) -> bool:
    """Tell whether a path, which may be of another machine, leads to something here."""
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):
        return False


def is_project(folder: str, identity: str) -> bool:
    """Tell whether a folder's own `orch.yaml` gives it this id: a path that a host tells is not believed."""
    from .yamlfile import load

    try:
        return bool(check_file(load(Path(folder, PROJECT_FILE))).value.get("project") == identity)
    except (OrchError, OSError, ValueError):
        return False


def _inside(place: Path, folder: Path) -> bool:
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))
