"""Every error that `orch` tells a person, and the exit code that goes with it.

    OrchError                    exit 1   something failed
    +-- UsageError               exit 2   the request cannot be understood
    |   +-- SpecError                     ... because of a line in a file
    |   +-- NameTaken                     ... or of a sweep's name that is another's
    +-- NotFound                 exit 3   no such sweep, job, data set or host
    |   +-- NoHome                        ... or no orch home, where none was to be made
    |   +-- HomeMissing                   ... or not the orch home that is known to be there
    +-- AccessError              exit 4   authentication or host key
    +-- Unreachable              exit 5   the host does not answer
    +-- Findings                 exit 6   it ran well, and found something
    +-- DataError                exit 1   images or masks that cannot be used
    +-- ContractError            exit 1   a run folder that breaks the contract
    |   +-- HomeMismatch                  ... or another orch home than the one expected, or a copy
    +-- WireError                exit 1   the two ends of the wire do not understand each other
    +-- DiskError                exit 1   a disk is full, over quota or not writable

An error says what happened and why (`message`) and names the command or the edit that repairs it (`hint`).
"""

from __future__ import annotations

import errno
from typing import Any, Dict, Optional


class OrchError(Exception):
    """Base of all errors that are meant for a person.

    Parameters
    ----------
    message:
        What happened and why, in one sentence.
    hint:
        The command or the edit that repairs it.
    context:
        JSON values for programs (`--json`).
    """

    code = "FAILED"
    exit_code = 1
    said_by = ""  # the host whose words these are, where it is another machine

    def __init__(self, message: str, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def to_json(self) -> Dict[str, Any]:
        """Return the form used on the wire and by `--json`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "context": self.context}


class UsageError(OrchError):
    """The request cannot be understood."""

    code = "USAGE"
    exit_code = 2


class SpecError(UsageError):
    """A file (sweep, project, site) says something that cannot be understood; `message` names file and line."""

    code = "BAD_SPEC"


class NameTaken(UsageError):
    """A sweep of that name is another person's, or another project's."""

    code = "NAME_TAKEN"


class NotFound(OrchError):
    """Nothing has that name."""

    code = "NOT_FOUND"
    exit_code = 3


class NoHome(NotFound):
    """A host has no orch home: nothing of ours ever ran there."""

    code = "NO_HOME"


class HomeMissing(NotFound):
    """The orch home that is known to be at a path is not there: its disk is away, or it was moved."""

    code = "HOME_MISSING"


class AccessError(OrchError):
    """A host refuses us, or we refuse its key."""

    code = "ACCESS"
    exit_code = 4


class Unreachable(OrchError):
    """A host does not answer. Nothing is known about its jobs; none is counted dead."""

    code = "UNREACHABLE"
    exit_code = 5


class Findings(OrchError):
    """A check ran well and found something."""

    code = "FINDINGS"
    exit_code = 6


class DataError(OrchError):
    """Images or masks that cannot be used."""

    code = "BAD_DATA"


class ContractError(OrchError):
    """A run folder, or a file of the orch home, that breaks the contract."""

    code = "BAD_RUN_FOLDER"


class HomeMismatch(ContractError):
    """Another orch home stands at a path than the one expected, or a copy of one."""

    code = "HOME_MISMATCH"


class WireError(OrchError):
    """The two ends of the wire do not understand each other."""

    code = "WIRE"


class DiskError(OrchError):
    """A disk is full, over quota or not writable."""

    code = "DISK"


_OWN = frozenset({"self", "message", "hint"})  # parameters of an error that no context of a host's answer may be
_TREE = {
    cls.code: cls
    for cls in (
        OrchError,
        UsageError,
        SpecError,
        NameTaken,
        NotFound,
        NoHome,
        HomeMissing,
        AccessError,
        Unreachable,
        Findings,
        DataError,
        ContractError,
        HomeMismatch,
        WireError,
        DiskError,
    )
}


SAID = 2000  # characters of a host's words that are kept


def from_json(value: Dict[str, Any]) -> OrchError:
    """Build the error that `to_json` described; an unknown code becomes a plain `OrchError`."""
    cls, told = _TREE.get(str(value.get("code")), OrchError), value.get("context")
    context = {key: one for key, one in told.items() if key not in _OWN} if isinstance(told, dict) else {}
    return cls(str(value.get("message", "unknown error"))[:SAID], str(value.get("hint", ""))[:SAID], **context)


_ELSEWHERE = "choose another place: orch config home /path (for a host: `home: /path` beside it in the site file)"
_DISK = {
    errno.ENOSPC: ("the disk is full", "free some space, then run the same command again: nothing is lost"),
    errno.EDQUOT: ("your quota is used up", "free some space in your home, then run the same command again"),
    errno.ESTALE: ("its file server has lost track of it", "run the same command again: nothing is lost"),
    errno.EROFS: ("the file system is read-only", _ELSEWHERE),
    errno.EACCES: ("you may not write there", _ELSEWHERE),
    errno.EPERM: ("you may not write there", _ELSEWHERE),
}


def disk_error(error: OSError, path: Optional[str] = None) -> OrchError:
    """Translate an `OSError` of the file system: the one door for disk trouble."""
    where = path or error.filename or "?"
    text, hint = _DISK.get(error.errno or 0, (error.strerror or str(error), "look at the path; does it exist?"))
    return DiskError("cannot write {}: {}".format(where, text), hint, path=str(where), errno=error.errno)
