"""From the hosts into the index: by offset, never twice; and where the index of an orch home lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.documents import moment
from jobs.errors import ContractError, WireError
from jobs.folder import valid_name
from jobs.state import ENDED

from .config import Settings
from .dispatch import LOCAL, Contact
from .fleet import Fleet, Item, usable_here
from .inventory import load_site
from .known_homes import open_own
from .naming import Names
from .parts import host_of
from .store import Index, JobRow, digest

_NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ContractError)


@dataclass
class News:
    """What one look at a host brought.

    Attributes
    ----------
    spans:
        Seconds from start to end of each attempt that has ended, by job id.
    """

    spans: dict[str, float] = field(default_factory=dict)


def index_path(settings: Settings, home_id: str) -> Path:
    """Return where the index of an orch home lies on this machine."""
    return settings.state / home_id / "index.db"


def known_index(settings: Settings) -> Path | None:
    """Return the path of the index that was made last time, without asking any host; None when there is none."""
    _, identity = open_own(settings, create=False)
    path = index_path(settings, identity["id"])
    return path if path.exists() else None


@contextmanager
def fresh_index(
    settings: Settings, sweeps: list[str] | None = None, hosts: Sequence[str] | None = None
) -> Iterator[tuple[Fleet, Index]]:
    """Open the hosts and the index, brought up to date.

    Parameters
    ----------
    sweeps:
        Only these, as people name them; None looks at all.
    hosts:
        Names of the site file; None asks those on which the sweeps are, and all where that is not known.
    """
    with own_index(settings) as index:
        only = _meant(settings, index, sweeps)
        with Fleet.open(settings, hosts or asked(settings, index, only), create=False) as fleet:
            refresh(fleet, index, only)
            yield fleet, index


def _meant(settings: Settings, index: Index, words: list[str] | None) -> list[str] | None:
    """Return the sweeps that names mean; None, which is all, where one is not known yet."""
    if words is None:
        return None
    names = Names.of(index, settings)
    found = [names.meant(word) for word in words]
    return [row.name for rows in found for row in rows] if all(found) else None


@contextmanager
def own_index(settings: Settings) -> Iterator[Index]:
    """Open the index of this machine's orch home; both are made when missing."""
    _, identity = open_own(settings)
    with Index.open(index_path(settings, identity["id"])) as index:
        yield index


def asked(settings: Settings, index: Index, sweeps: Iterable[str] | None = None) -> list[str]:
    """Return the hosts to ask about sweeps: this machine, and those on which they are; all when that is not known."""
    everywhere = every_host(settings)
    records = {row.name: row.record for row in index.sweeps()}
    if sweeps is None or any("hosts" not in records.get(name, {}) for name in sweeps):
        return everywhere
    named = {LOCAL, *(host_of(str(place)) for name in sweeps for place in records[name]["hosts"])}
    return [name for name in everywhere if name in named] or everywhere


def every_host(settings: Settings) -> list[str]:
    """Return the names of all hosts: this machine, where jobs can run on it, and those of the site file."""
    site = [name for name, host in load_site(settings).hosts.items() if not host.is_local]
    return [*([LOCAL] if usable_here() or not site else []), *site]


def refresh(fleet: Fleet, index: Index, sweeps: list[str] | None = None) -> News:
    """Bring what is new on the hosts into the index; what a silent host has is unreachable from then on.

    Raises
    ------
    Unreachable
        No host answers; the index stays as it was.
    """
    taking = _Taking(fleet, index)
    taking.look(sweeps)
    for host, error in fleet.silent.items():
        index.silent(host, f"the host does not answer; the job is not counted dead ({error.message})")
    for host in set(index.machines().values()) - (fleet.known or set(index.machines().values())):
        index.silent(host, "the host is no longer in the site file; the job is not counted dead")
    if not fleet.contacts:
        raise fleet.silent[next(iter(fleet.silent))]
    return taking.news


def _first_of_homes(fleet: Fleet) -> dict[str, Contact]:
    """One contact for each orch home: the one that sends its journal."""
    return {contact.home_id: contact for contact in reversed(fleet.contacts.values())}


def _version(record: Mapping[str, Any]) -> tuple[str, str]:
    """When a sweep's record was written, and a hash of what it says."""
    return str(record.get("updated") or ""), digest(record)


class _Taking:
    """Takes in what hosts stream, piece by piece."""

    def __init__(self, fleet: Fleet, index: Index) -> None:
        self.fleet, self.index, self.news = fleet, index, News()
        self._begun: set[str] = set()
        self._machines = index.machines()
        for contact in fleet.contacts.values():
            key = (contact.home_id, contact.host)
            if contact.name != LOCAL and self._machines.get(key) != contact.name:
                index.met(*key, contact.name)
                self._machines[key] = contact.name

    def look(self, sweeps: list[str] | None) -> None:
        """Ask all hosts; one that cannot go on from what the index has followed is asked again, and told all."""
        ask = self._question(sweeps)
        again = False
        for item in self.fleet.stream(ask):
            if item.end and item.end.get("again"):
                self.index.follow(_lists(item.contact), {})
                item.contact.looked, again = False, True
            else:
                self._take(item)
        if again:
            self.look(sweeps)

    def _question(self, sweeps: list[str] | None) -> Callable[[Contact], Iterator[Any]]:
        """What each host is asked. All is read here: hosts are asked in threads, the index belongs to this one."""
        fleet, index, told = self.fleet, self.index, {}
        rows: dict[bool, list[Any]] = {}  # for hosts whose lists are followed (True), and for others
        homes = {contact.name: home for home, contact in _first_of_homes(fleet).items()}
        for contact in fleet.contacts.values():
            since = index.followed(_lists(contact)) or None
            if not contact.looked and (since is not None) not in rows:
                rows[since is not None] = [(*key, *seen) for key, seen in index.offsets(since is not None).items()]
            told[contact.name] = {
                "sweeps": sweeps,
                "journal": index.journal_offset(contact.home_id) if contact.name in homes else None,
                "others": fleet.beside(contact),
                "since": since,
                "stamps": index.followed(_records(contact)),
                "known": [] if contact.looked else rows[since is not None],
            }
            contact.looked = True  # the agent remembers what it has sent

        return lambda contact: contact.wire.stream("collect", **told[contact.name])

    def _take(self, item: Item) -> None:
        """Take in one piece; a host that tells what is no report at all counts as silent, and hides no other."""
        contact, error = item.contact, item.error
        if not error:
            try:
                self._take_in(item, contact)
            except _NONSENSE as nonsense:
                text = f"{contact.name} tells what is no report of orch: {nonsense!r}"[:300]
                error = WireError(text, f"is the orch there the same as here? orch doctor {contact.name}")
        if error:
            if len(self.fleet.contacts) == 1 and not self.fleet.silent:
                raise error
            self.fleet.lose(contact, error)

    def _take_in(self, item: Item, contact: Contact) -> None:
        """The sweeps' records come first, then reports, then the journal."""
        if item.end is not None:
            journal = item.end["journal"]
            if journal["offset"] is not None:
                self.index.ingest_journal(journal["lines"], journal["offset"], contact.home_id)
            self.index.follow(_lists(contact), item.end["since"] or {})
            self.index.follow(_records(contact), {**self.index.followed(_records(contact)), **item.end["stamps"]})
            self.index.seen(contact.shown, item.end["t"])
        elif contact.name not in self._begun:
            self._begun.add(contact.name)
            self._recorded(item.chunk)
        else:  # chunk by chunk: a connection that is cut keeps what came, and memory stays small
            self.index.ingest([self._named(report, contact) for report in item.chunk])
            self.news.spans.update(_spans(item.chunk))

    def _named(self, report: dict[str, Any], contact: Contact) -> dict[str, Any]:
        """Name the host as the site file does."""
        machine = report["host"]
        if contact.name == LOCAL and machine == contact.host:
            return report
        return {**report, "host": self._machines.get((contact.home_id, machine), machine)}

    def _recorded(self, records: list[dict[str, Any]]) -> None:
        """Take in the sweeps' records; where homes differ, the one that was written last says what a sweep is."""
        if records and not self.fleet.records:
            self.fleet.records = self.index.records_known()
        for record in filter(_is_record, records):
            known, found = self.fleet.records.get(record["name"]), _version(record)
            if known is None or (known != found and known[0] <= found[0]):
                self.index.record_sweep(record)
                self.fleet.records[record["name"]] = found


def _is_record(record: Any) -> bool:
    """Tell whether a sweep's record has what tables and folders are made of; one that was edited by hand may not."""
    if not isinstance(record, dict) or not valid_name(str(record.get("name"))):
        return False
    cells = record.get("cells") or []
    return isinstance(cells, list) and all(
        isinstance(cell, dict)
        and valid_name(str(cell.get("id")))
        and isinstance(cell.get("label"), str)
        and isinstance(cell.get("names") or {}, dict)
        for cell in cells
    )


def _lists(contact: Contact) -> str:
    """What is followed of the lists of begun attempts, told by one host."""
    return f"begun {contact.home_id} {contact.host}"


def _records(contact: Contact) -> str:
    """What is followed of the sweeps' records in one home."""
    return f"sweeps {contact.home_id}"


def forget_missing(fleet: Fleet, index: Index, rows: Iterable[JobRow]) -> list[JobRow]:
    """Ask the hosts which folders of jobs that ended are gone; forget what they held, and return those jobs.

    The index only repeats what folders say: without its folder a job has not run.
    """
    by_host: dict[str, list[JobRow]] = {}
    for row in rows:
        if row.attempts and row.state in ENDED:
            by_host.setdefault(row.host, []).append(row)
    found: list[JobRow] = []
    for contact in fleet.contacts.values():
        if asked := {(row.sweep, row.id): row for row in by_host.get(contact.shown, ())}:
            answer = contact.wire.call("missing", jobs=list(asked))["jobs"]
            found += [asked[sweep, job] for sweep, job in answer if (sweep, job) in asked]
    if found:
        index.forget_attempts([(row.sweep, row.id, row.host) for row in found])
    return found


def watched_scores(index: Index, metrics: Mapping[str, str | None]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return what the results that count say of the value that people watch: sweep -> job id -> name -> value.

    Parameters
    ----------
    metrics:
        Of each sweep the metric that is watched: `val_<metric>` where a result has it, else the metric itself.
    """
    watched = {sweep: metric for sweep, metric in metrics.items() if metric}
    keys = {key for metric in watched.values() for key in (metric, f"val_{metric}")}
    found = index.scores_of(watched, keys) if watched else {}
    return {
        sweep: _of(scores, f"val_{watched[sweep]}") or _of(scores, watched[sweep]) for sweep, scores in found.items()
    }


def _of(scores: Mapping[str, Mapping[str, float | None]], key: str) -> dict[str, dict[str, float | None]]:
    return {job: {key: values[key]} for job, values in scores.items() if key in values}


def _spans(reports: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for report in reports:
        record = report.get("exit")
        if isinstance(record, dict) and record.get("began", True):
            ended, started = moment(record.get("ended")), moment(record.get("started"))
            if ended is not None and started is not None:
                yield report["job"], ended - started
