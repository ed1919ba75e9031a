"""Names of sweeps, as people write them: the project's own first, others by project, owner, or full name.

augmentations              of the project in which we stand; outside of every project the only one of that name
liver/augmentations        of the project liver (its folder's name, or its id)
ana:liver/augmentations    a colleague's
augmentations@1            as it was before its file changed (the number is told by the plan and the report)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.errors import NotFound, UsageError
from jobs.sweep_records import same_project

from .config import Settings
from .project import Project, here, is_there, lies_below
from .store import Index, SweepRow, not_found
from .versions import split_version
from .words import listed

if TYPE_CHECKING:
    from .sweep import SweepFile


@dataclass(frozen=True)
class Names:
    """What the names of sweeps mean for whoever stands in a folder.

    Attributes
    ----------
    rows:
        All sweeps that the index knows, oldest first.
    project:
        The project in which we stand, or None.
    """

    rows: Sequence[SweepRow]
    project: Project | None
    _titled: dict[str, list[SweepRow]] = field(default_factory=dict)
    _inside: set[str] = field(default_factory=set)
    _placed: dict[tuple[str, str], list[SweepRow]] = field(default_factory=dict)  # by title and project's name or id
    _known: dict[str, list[SweepRow]] = field(default_factory=dict)  # what a name was found to mean
    _free: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, index: Index, settings: Settings) -> Names:
        """Read them from the index."""
        rows = index.sweeps()
        names = cls(rows, here(settings, (row.project for row in rows)))
        about = names.project.record() if names.project else None
        for row in rows:
            if about and _is_of(row, about):
                names._inside.add(row.name)
            for word in {row.title, row.name}:
                names._titled.setdefault(word, []).append(row)
            for project in {row.project.get(key) for key in ("id", "name")} - {None}:
                names._placed.setdefault((row.title, str(project)), []).append(row)
        return names

    def is_here(self, row: SweepRow) -> bool:
        """Tell whether a sweep is of the project in which we stand."""
        return row.name in self._inside

    def _is_free(self, row: SweepRow) -> bool:
        """Tell whether a sweep of ours is of no project, or of one without id that is not on this machine."""
        if row.name not in self._free:  # it looks at the disk, and is asked of each sweep for each name
            self._free[row.name] = self._has_no_place(row)
        return self._free[row.name]

    def _has_no_place(self, row: SweepRow) -> bool:
        if not row.mine or self.is_here(row):
            return False
        return not row.project.get("declared") and not any(map(is_there, row.project.get("folders", ())))

    def tiers(self) -> Iterator[list[SweepRow]]:
        """Yield groups of sweeps, in the order in which they are looked at; oldest first in each."""
        inside = [row for row in self.rows if self.is_here(row)]
        yield [row for row in inside if row.mine]
        yield [row for row in inside if not row.mine]
        others = [row for row in self.rows if not self.is_here(row)]
        yield [row for row in others if self._is_free(row)]
        yield [row for row in others if row.mine and not self._is_free(row)]
        yield [row for row in others if not row.mine]

    def nearest(self) -> list[SweepRow]:
        """Return the sweeps of this project, and ours of none; outside of every project all of ours."""
        if self.project is None:
            return [row for row in self.rows if row.mine]
        return [row for row in self.rows if self.is_here(row) or self._is_free(row)]

    def find(self, word: str) -> SweepRow:
        """Return the sweep that a name means.

        Raises
        ------
        NotFound
            None; a sweep of that name in another project is named.
        UsageError
            Several: the names that mean one each are listed.
        """
        found = self.meant(word)
        if not found:
            raise self._unknown(word)
        if len(found) > 1:
            raise UsageError(f"there are {len(found)} sweeps '{word}'", f"write one of: {self._words(found)}")
        return found[0]

    def newest(self) -> SweepRow | None:
        """Return the newest sweep: of this project, else of none, else of ours; None where there is none."""
        return next((rows[-1] for rows in self.tiers() if rows), None)

    def has(self, word: str) -> bool:
        """Tell whether a name means a sweep, or several."""
        return bool(self.meant(split_version(word)[0]))

    def meant(self, word: str) -> list[SweepRow]:
        """Return the sweeps that a name may mean."""
        if word not in self._known:
            self._known[word] = self._meant(word)
        return self._known[word]

    def _meant(self, word: str) -> list[SweepRow]:
        login, _, rest = word.rpartition(":")
        project, _, title = rest.rpartition("/")
        if project:
            rows = self._placed.get((title, project), [])
        else:
            rows = [row for row in self._titled.get(title, ()) if row.title == title]
        if login:
            return [row for row in rows if row.login == login]
        if project:
            return [row for row in rows if row.mine] or rows
        return self._bare(title, rows)

    def _bare(self, title: str, rows: list[SweepRow]) -> list[SweepRow]:
        inside = [row for row in rows if self.is_here(row)]
        free = [row for row in rows if self._is_free(row)]
        full = [row for row in self._titled.get(title, ()) if row.name == title != row.title]
        found = [row for row in inside if row.mine] or inside or free or full
        if found or self.project is not None:
            return found
        return [row for row in rows if row.mine] or rows

    def word(self, row: SweepRow) -> str:
        """Return the shortest name that means this sweep and no other, from where we stand."""
        of, title = row.project, row.title
        words = [title, *(f"{of[key]}/{title}" for key in ("name", "id") if of.get(key))]
        words += [f"{row.login}:{one}" for one in words if row.login]
        return next((word for word in words if self._is_alone(word, row)), row.name)

    def _is_alone(self, word: str, row: SweepRow) -> bool:
        return [one.name for one in self.meant(word)] == [row.name]

    def title(self, project: Project, sweep: SweepFile) -> str:
        """Return what a sweep is called here that may not have run yet."""
        row = next((row for row in self.rows if row.name == sweep.name), None)
        if row is not None:
            return self.word(row)
        return sweep.shown if self.project in (None, project) else f"{project.name}/{sweep.shown}"

    def words(self) -> dict[str, str]:
        """Return by its name in the homes what each sweep is called here."""
        return {row.name: self.word(row) for row in self.rows}

    def _words(self, rows: Sequence[SweepRow]) -> str:
        return listed([self.word(row) for row in rows])

    def _unknown(self, word: str) -> NotFound:
        title = word.rpartition(":")[2].rpartition("/")[2]
        elsewhere = [row for row in self._titled.get(title, ()) if row.title == title]
        if elsewhere:
            where = f"the project {self.project.name}" if self.project else "here"
            return NotFound(f"no sweep named '{word}' in {where}", f"elsewhere there is: {self._words(elsewhere)}")
        return not_found("sweep", word, (self.word(row) for row in self.rows), "orch status --all")


def _is_of(row: SweepRow, project: Mapping[str, Any]) -> bool:
    """Tell whether a sweep is of a project; of one from a time without projects its file's place tells."""
    if row.project:
        return same_project(row.project, project)
    return lies_below(str(row.record.get("source") or ""), project["folders"][0])


def owner_of(record: Mapping[str, Any]) -> str:
    """Return the login of a colleague whose sweep it is; empty for our own."""
    owner = record.get("owner") or {}
    return "" if owner.get("mine", True) else str(owner.get("login") or "")
