"""Under which name a sweep stands in the orch homes: its title where that is free or its own, else a longer one.

The name is chosen once and kept by the record: a sweep belongs to its project and to whoever ran it first. Where two
begin at the same moment the home decides (`jobs.sweep_records`), and the slower one chooses again.
"""

from __future__ import annotations

import getpass
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.folder import valid_name
from jobs.sweep_records import same_project

from . import versions
from .config import Settings
from .project import Project, is_there, lies_below, of_sweep
from .store import Index, SweepRow
from .sweep import TRAINER, SweepFile

_ROOM = 100  # characters that a name may have


@dataclass(frozen=True)
class Owned:
    """A sweep file under its name in the homes.

    Attributes
    ----------
    sweep:
        The file; its `name` is that of the homes.
    project:
        To which it belongs.
    before:
        The whole record of its last run; empty when this is the first.
    joined:
        It is a colleague's who works in the same folder: his record stays as it is.
    note:
        What a person must know of the choice, or empty.
    """

    sweep: SweepFile
    project: Project
    before: Mapping[str, Any]
    joined: bool = False
    note: str = ""

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the new record with title, project and versions."""
        about = {"title": self.sweep.shown, "project": self.project.record(self.before.get("project"))}
        return versions.continued({**record, **about}, self.before)


def owned(index: Index, settings: Settings, sweep: SweepFile, taken: Collection[str] = (), join: bool = True) -> Owned:
    """Return a sweep file under its name in the homes.

    Parameters
    ----------
    taken:
        Names that turned out to be another's.
    join:
        A colleague's sweep of the same folder will do.
    """
    project = of_sweep(settings, sweep)
    titled = [row for row in index.sweeps() if row.title == sweep.shown and row.name not in taken]
    mine = [row for row in titled if row.mine]
    ours = [row for row in mine if row.project and same_project(row.project, project.record())]
    if ours:
        return _continued(index, sweep, project, ours[-1])
    shared = [row for row in titled if not row.mine and project.folder in row.project.get("folders", ())]
    if shared and join:
        return replace(_continued(index, sweep, project, shared[-1]), joined=True)
    for row in reversed(mine):
        record = index.sweep(row.name).record
        if not row.record.get("grows") and (note := _adoptable(record, sweep, project)) is not None:
            return replace(_continued(index, sweep, project, row), note=note)
    name = _free(index, sweep.shown, project.id, taken)
    note = "" if name == sweep.shown else f"in the homes its name is {name}: {sweep.shown} is another project's"
    return Owned(replace(sweep, name=name, title=sweep.shown), project, {}, note=note)


def single(index: Index, title: str, taken: Collection[str] = ()) -> str:
    """Return the name of our own sweep of single commands; it belongs to no project."""
    for row in index.sweeps():
        if row.title == title and row.mine and not row.project and row.record.get("grows") and row.name not in taken:
            return row.name
    return _free(index, title, _login(), taken)


def _continued(index: Index, sweep: SweepFile, project: Project, row: SweepRow) -> Owned:
    record = index.sweep(row.name).record
    note = _copied(record, sweep, project)
    return Owned(replace(sweep, name=row.name, title=sweep.shown), project, record, note=note)


def _adoptable(record: Mapping[str, Any], sweep: SweepFile, project: Project) -> str | None:
    """Tell why a sweep of unknown project, or of one that was moved, is this one; None: it is not."""
    source = str(record.get("source") or "")
    if not record or (not record.get("project") and (source == sweep.path or lies_below(source, project.folder))):
        return ""
    if (record.get("project") or {}).get("declared") or is_there(source) or record.get("text") != sweep.text:
        return None
    if record.get("kind") != TRAINER and Path(source).name != Path(sweep.path).name:
        return None
    return f"goes on with the sweep that was run from {source}, which is not here (any more): the file says the same"


def _copied(record: Mapping[str, Any], sweep: SweepFile, project: Project) -> str:
    """Warn of a copied folder with the same id: two projects would take turns in one sweep."""
    source = str(record.get("source") or "")
    if not project.given or record.get("text") == sweep.text or lies_below(source, project.folder):
        return ""
    if not is_there(source):
        return ""
    return f"the same project was last run from {source}: if this copy is another project, give it another `project:`"


def _free(index: Index, title: str, slug: str, taken: Collection[str]) -> str:
    known = {row.name for row in index.sweeps()} | set(taken)
    return next(name for name in _names(title, slug) if name not in known)


def _names(title: str, slug: str) -> Iterator[str]:
    yield title
    short = f"{title[: _ROOM // 2 - 1]}+{slug[: _ROOM // 2 - 20]}"
    yield short
    login = "".join(letter for letter in _login() if letter.isalnum())[:10] or "user"
    yield f"{short}+{login}"
    number = 2
    while valid_name(f"{short}+{login}-{number}"):
        yield f"{short}+{login}-{number}"
        number += 1


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "user"
