"""Which code snapshots and environments jobs name, and the word that they are about to be used.

Whoever queues jobs dates what they need first (`announce`), and then writes the batch. Whoever clears up looks at the
date again after the rename (`shelving.park`), and puts back what was dated meanwhile. Of the two one always sees the
other, on whichever hosts of a shared home they are: the dating either reaches the folder before it is renamed, or finds
it gone.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Set

from .errors import ContractError
from .folder import Home

_NEED = re.compile(r"(code/[0-9a-f]{16}|envs/[^/]+/[0-9a-f]{8,64}(?:-\d+)?)(?=/|\Z)")


def needs(home: Home, jobs: Iterable[Mapping[str, Any]]) -> Set[str]:
    """Return what jobs need of a home, as paths in it: `code/<hash>`, `envs/<arch>/<lock hash>`."""
    prefix = home.path.rstrip(os.sep) + os.sep
    words = {str(word) for job in jobs for word in (*(job.get("argv") or ()), job.get("cwd") or "")}
    found = (_NEED.match(word[len(prefix) :]) for word in words if word.startswith(prefix))
    return {match[1] for match in found if match}


def date(path: str) -> bool:
    """Say that a folder is used from now on; False when it is not there."""
    try:
        os.utime(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:  # a colleague's, on group storage: whoever clears up looks at the queues once more
        return os.path.isdir(path)
    return True


def announce(home: Home, jobs: Iterable[Mapping[str, Any]], record: Optional[Mapping[str, Any]] = None) -> List[str]:
    """Date what jobs that are about to be queued need, and what a sweep's record pins; return what they need (`needs`).

    Raises
    ------
    ContractError
        It is not there: it was parked or deleted since the jobs were planned.
    """
    pinned = str((record or {}).get("code") or "")
    if pinned:
        date(os.path.join(home.code, pinned))
    needed = sorted(needs(home, jobs))
    for need in needed:
        if not date(os.path.join(home.path, need)):
            text = "{} is not in {} any more: a job needs it".format(need, home.path)
            raise ContractError(text, "orch gc --parked lists what was parked; or run the same sweep again")
    return needed


class Mentions:
    """Finds names in the text of records: a snapshot that is mentioned anywhere is not taken away."""

    def __init__(self, names: Iterable[str]) -> None:
        self.found: Dict[str, str] = {}  # name -> who mentions it
        known = sorted({re.escape(name.encode()) for name in names}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(known)) if known else None

    def read(self, text: bytes, who: str) -> None:
        """Note which names a text holds; the first one who mentions a name is remembered."""
        for name in self._in(text):
            self.found.setdefault(name, who)

    def _in(self, text: bytes) -> Iterator[str]:
        return (name.decode() for name in set(self._pattern.findall(text))) if self._pattern else iter(())
