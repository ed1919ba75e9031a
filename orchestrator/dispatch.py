"""Contact with a host: the wire to its agent, opened in the orch home that the site file or the settings name.

One `Contact` is one connection; whatever is due for a host travels through it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from jobs.errors import WireError
from jobs.folder import valid_name

from . import known_homes
from .config import Settings
from .inventory import chosen, connect

LOCAL = "local"
_IDENTITY = re.compile(r"[0-9a-f]{16}")  # of an orch home: its index lies in a folder of this name
REMOTE_HOME = "~/.orch"  # orch home on another machine, unless the site file names one
Question = tuple[str, dict[str, Any]]  # a verb of the agent, and its arguments
Ahead = Callable[["Contact"], Question]


class Contact:
    """An open connection to the agent of one host.

    Parameters
    ----------
    settings:
        They name the site file, and the orch home on this machine.
    create:
        Make the orch home when it is missing.
    host:
        A name of the site file; None is this machine.
    ahead:
        Gives what will be asked next: it goes along with the opening.

    Attributes
    ----------
    name:
        The host's name in the site file.
    home_id:
        Identity of the orch home.
    host, boot_id:
        The host's own name, and its boot.
    home:
        Path of the orch home there.
    orders:
        What Slurm is asked for there, once for each architecture (`setup.site.Host.orders`); empty: no scheduler.

    Raises
    ------
    NotFound
        The site file has no such host, or nobody knows its address.
    AccessError
        The host refuses us, or shows a key that is unknown or not the known one.
    Unreachable
        The host does not answer, or this machine cannot run jobs (Windows).
    DiskError, ContractError
        The orch home cannot be written, or a newer orch wrote it.
    """

    def __init__(
        self, settings: Settings, create: bool = True, host: str | None = None, ahead: Ahead | None = None
    ) -> None:
        (member,) = chosen(settings, [host or LOCAL], every=False)
        self.name = member.name
        self.orders = member.orders
        wishes = dict(member.courtesy or {})  # a wish that was taken out of the site file holds no longer
        path = member.home or REMOTE_HOME
        said = {"courtesy": wishes, "trust": list(member.trust)}
        known = known_homes.expected(settings, self.name, path)
        opening = {"home": path, "create": create, "expected": known, **said}
        self.wire = connect(member, ("open", opening))
        question = ahead(self) if ahead else None
        self._ahead = (question, self.wire.post(question[0], **question[1])) if question else None
        try:
            hello = _identity(member.name, self.wire.answer(self.wire.first))
        except BaseException:
            self.wire.close()
            raise
        self.home_id: str = hello["id"]
        known_homes.remember(settings, self.name, path, self.home_id)
        self.host: str = hello["host"]
        self.boot_id: str = hello["boot_id"]
        self.home: str = hello["home"]
        self.warning = str(hello.get("warning") or "")[:400]  # a keeper of another version works there
        self.looked = False  # the agent remembers what it has sent: only the first look says what the index knows

    def __enter__(self) -> Contact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wire.close()

    def ask(self, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the agent; what was asked ahead, when the contact was opened, is there already."""
        if self._ahead and self._ahead[0] == (verb, arguments):
            number, self._ahead = self._ahead[1], None
            return self.wire.answer(number)
        return self.wire.call(verb, **arguments)

    def brief(self, sweep: str | None) -> Question:
        """Return the question what the host has, and knows of a sweep (None: of nobody's)."""
        return "brief", {"sweep": sweep, "slurm": list(self.orders)}

    @property
    def shown(self) -> str:
        """The name that tables show: of this machine its own, of others that of the site file."""
        return self.host if self.name == LOCAL else self.name

    def post_submit(
        self,
        record: Mapping[str, Any] | None,
        jobs: Iterable[Mapping[str, Any]],
        again: Iterable[str] = (),
        parallel: int | None = None,
        floors: Mapping[str, int] | None = None,
        by_person: bool = True,
    ) -> int:
        """Send jobs to be queued, in one exchange; its number is for `submitted`, and a look can go right behind it.

        Parameters
        ----------
        floors:
            By job id, the highest attempt number known of it in any orch home.
        by_person:
            A person asks: held sweeps go on.
        """
        more = {"again": list(again), "parallel": parallel, "floors": dict(floors or {}), "by_person": by_person}
        return self.wire.post("submit", record=record, jobs=(self._placed(job) for job in jobs), **more)

    def submitted(self, number: int) -> list[dict[str, Any]]:
        """Wait for that answer; return for each job what the host did: `{"id", "action", "attempt"}`."""
        return list(self.wire.answer(number)["jobs"])

    def _placed(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say on a host with Slurm that Slurm is to start the job, and what it is asked for besides.

        The site file's word of today counts; a job that was made for an architecture stays with it.
        """
        placement = dict(job["placement"])
        made = placement.pop("slurm", None) or {}
        if not self.orders:
            return {**job, "placement": placement}
        order = next((one for one in self.orders if one["arch"] in (None, made.get("arch"))), None)
        kept = {key: made.get(key) for key in ("arch", "interpreter")} if order else {}
        return {**job, "placement": {**placement, "slurm": {**(order or self.orders[0]), **kept}}}

    def withdraw(self, jobs: Iterable[tuple[str, str]], why: str) -> list[dict[str, Any]]:
        """Take back jobs (sweep, id) that wait on any host of the home; `{"sweep", "id", "action", "attempt"}`."""
        return list(self.wire.call("withdraw", jobs=list(jobs), why=why)["jobs"])

    def stop(self, jobs: Iterable[tuple[str, str]], grace: float | None = None) -> list[dict[str, Any]]:
        """Stop jobs (sweep, id); return for each `{"sweep", "id", "action"}`."""
        return list(self.wire.call("stop", jobs=list(jobs), grace=grace, by=user())["jobs"])

    def release(self, sweeps: Iterable[str], gpus: bool) -> dict[str, Any]:
        """Let go what waits on purpose; return `{"sweeps", "gpus", "jobs"}`."""
        return self.wire.call("release", sweeps=list(sweeps), gpus=gpus)

    def show(self, sweep: str, job: str) -> dict[str, Any]:
        """Return everything about one job: `{"attempts": [...], "queued": [...]}`."""
        return self.wire.call("show", sweep=sweep, job=job)

    def log(self, sweep: str, job: str, attempt: int | None, offset: int, follow: bool) -> Iterator[str]:
        """Yield the text of a job's log as it comes."""
        yield from self.wire.stream("log", sweep=sweep, job=job, number=attempt, offset=offset, follow=follow)


def _identity(name: str, hello: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return who a host says it is: names that become folders here are names, and nothing else.

    Raises
    ------
    WireError
        It is something else.
    """
    sound = _IDENTITY.fullmatch(str(hello.get("id"))) and valid_name(str(hello.get("host")))
    if not sound or not all(isinstance(hello.get(key), str) for key in ("boot_id", "home")):
        raise WireError(f"{name} does not say who it is, as orch does", "is it orch that answers there? look at it")
    return hello


def user() -> str:
    """Return who asks."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"
