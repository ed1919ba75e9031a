"""What the index answers: frozen values."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobs.folder import valid_name


class Known(NamedTuple):
    """How far the index has read an attempt: byte offset in its events, and whether nothing new will come.

    No offset: it is named, but all of it must be told again.
    """

    offset: int | None
    final: bool


class Curve(NamedTuple):
    """One metric of one attempt: int64 steps and float64 values (NaN: undefined), equally long."""

    steps: array[int]
    values: array[float]


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep.

    Attributes
    ----------
    name:
        Its name in the orch homes, which no other sweep has.
    created:
        When it was created, ISO 8601, UTC.
    record:
        Its record in the orch home (empty when lost). In a list of all sweeps without `cells`, `text` and `versions`.
    """

    name: str
    created: str | None
    record: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The name that its sweep file gives it: other projects may have a sweep of that name too."""
        title = self.record.get("title")  # a host's word: it becomes a folder's name
        return title if isinstance(title, str) and valid_name(title) else self.name

    @property
    def metric(self) -> str | None:
        """The value that people watch; None where the record, which is a host's word, names none."""
        found = self.record.get("metric")
        return found if isinstance(found, str) else None

    @property
    def project(self) -> Mapping[str, Any]:
        """`{"id", "declared", "name", "folders"}`; empty where none is known."""
        found = self.record.get("project")
        if not isinstance(found, Mapping) or not isinstance(found.get("folders"), list):
            return {}
        return found if valid_name(str(found.get("id"))) else {}

    @property
    def mine(self) -> bool:
        """Whether the home's file system says that it is ours."""
        return bool(self._owner.get("mine", True))

    @property
    def _owner(self) -> Mapping[str, Any]:
        found = self.record.get("owner")
        return found if isinstance(found, Mapping) else {}

    @property
    def login(self) -> str:
        """Whose it is; empty where that is not known."""
        return str(self._owner.get("login") or "")


class JobRow(NamedTuple):
    """A job as `orch status` shows it.

    Attributes
    ----------
    sweep, id, label, names, position:
        Which cell of which sweep; `position` is None when the sweep file no longer asks for it.
    state:
        `done` when an attempt counts, else the state of the newest attempt; `planned` when there is none.
    attempts, counted:
        Number of the newest attempt, number of the one that counts (0: none).
    reason, warning, host, known_state:
        Of the newest attempt; `known_state` is the last one other than `unreachable`.
    event_t:
        Time of the newest event, s since 1970.
    newest:
        Newest step and its values, as JSON: `step` and `values` parse it when asked, which 1,000 rows seldom are.
    """

    sweep: str
    id: str
    label: str
    names: Mapping[str, Any]
    position: int | None
    state: str
    attempts: int
    counted: int
    reason: str
    warning: str
    host: str
    known_state: str
    event_t: float | None
    newest: str | None

    @property
    def step(self) -> int | None:
        """Newest step."""
        return json.loads(self.newest)["step"] if self.newest else None

    @property
    def values(self) -> dict[str, Any]:
        """Values of the newest step."""
        return json.loads(self.newest)["values"] if self.newest else {}


class Span(NamedTuple):
    """How long a job took that is done: seconds in all, and of its newest step where it told (None: it did not)."""

    sweep: str
    host: str
    program: str
    seconds: float
    step_seconds: float | None


class Fault(NamedTuple):
    """A failure that is its host's, not the job's: which host, the kind of failure, and the line that shows it."""

    host: str
    kind: str
    evidence: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """Everything recorded of one attempt; `spec`, `exit` and `result` are the files' objects (None when missing)."""

    job: str
    label: str
    names: Mapping[str, Any]
    number: int
    counts: bool
    fenced: bool
    host: str
    state: str
    reason: str
    warning: str
    spec: Mapping[str, Any] | None
    exit: Mapping[str, Any] | None
    result: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class CaseRow:
    """Scores of one (case, class) of one attempt; `group` is the patient. Pseudonyms only.

    `dice` and `slice_dice` are 0..1 or None (undefined); `numbers` holds all other numbers of the row.
    """

    job: str
    attempt: int
    case: str
    group: str
    cls: str
    status: str
    dice: float | None
    slice_dice: float | None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event other than metrics: `start`, `note`, `failure`, ..."""

    job: str
    attempt: int
    seq: int
    t: float | None
    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A note, a tag or a fence, as a person wrote it; `attempt` is 0 when it is about the whole job."""

    seq: int
    t: float
    sweep: str
    job: str
    kind: str
    text: str
    attempt: int
