"""The way to a host: open the wire to its agent, in the orch home that the settings name.

One `Contact` is one connection; whatever is due for a host travels through it. So far the host is this machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from jobs.errors import Unreachable
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments

from .config import Settings

LOCAL = "local"


class Contact:
    """An open connection to the agent of one host.

    Parameters
    ----------
    settings:
        They name the orch home.

    Attributes
    ----------
    home_id:
        Identity of the orch home.
    host:
        The host's own name.

    Raises
    ------
    Unreachable
        The host does not answer, or this machine cannot run jobs (Windows).
    DiskError, ContractError
        The orch home cannot be written, or a newer orch wrote it.
    """

    def __init__(self, settings: Settings, create: bool = True) -> None:
        if os.name != "posix":
            raise Unreachable(
                "jobs run on Linux hosts, not on this machine", "log in to one (ssh HOST) and call orch there"
            )
        self.wire = Wire(ProcessPipe("this machine", boot_arguments(sys.executable)))
        try:
            hello = self.wire.call("open", home=str(settings.home), create=create)
        except BaseException:
            self.wire.close()
            raise
        self.home_id: str = hello["id"]
        self.host: str = hello["host"]
        self.looked = False  # the agent remembers what it has sent: only the first look says what the index knows
        self.records: dict[str, Any] = {}

    def __enter__(self) -> Contact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wire.close()

    def submit(
        self,
        record: Mapping[str, Any] | None,
        jobs: Iterable[Mapping[str, Any]],
        again: Iterable[str] = (),
        parallel: int | None = None,
    ) -> list[dict[str, Any]]:
        """Queue jobs in one exchange; return for each what the host did: `{"id", "action", "attempt"}`."""
        answer = self.wire.call("submit", record=record, jobs=list(jobs), again=list(again), parallel=parallel)
        return list(answer["jobs"])

    def stop(self, jobs: Iterable[tuple[str, str]], grace: float | None = None) -> list[dict[str, Any]]:
        """Stop jobs (sweep, id); return for each `{"sweep", "id", "action"}`."""
        return list(self.wire.call("stop", jobs=list(jobs), grace=grace, by=_user())["jobs"])

    def show(self, sweep: str, job: str) -> dict[str, Any]:
        """Return everything about one job: `{"attempts": [...], "queued": [...]}`."""
        return self.wire.call("show", sweep=sweep, job=job)

    def log(self, sweep: str, job: str, attempt: int | None, offset: int, follow: bool) -> Iterator[str]:
        """Yield the text of a job's log as it comes."""
        yield from self.wire.stream("log", sweep=sweep, job=job, number=attempt, offset=offset, follow=follow)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"
