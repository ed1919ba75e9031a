"""`Index`: the one object through which the index is read and written."""

from __future__ import annotations

import contextlib
import difflib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from jobs.errors import NotFound, UsageError, disk_error

from . import bulk, content, migrate, place, records, status
from .door import translated
from .lock import writer
from .rows import AttemptRow, CaseRow, Curve, EventRow, Fault, JobRow, JournalRow, Known, Span, SweepRow

T = TypeVar("T")

BUSY = 20_000  # ms that SQLite waits for another program's lock


class Index:
    """The index of one orch home, on this machine's disk; everything in it can be made again from the hosts.

    Reading never waits for a writer. A write holds the writer's lock for one batch; many programs may have the index
    open. One object belongs to one thread. Every method raises `OrchError` (damaged: hint `orch index rebuild`; locked)
    or `DiskError` (full, broken, not writable) when SQLite does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = self._connect()

    @classmethod
    def open(cls, path: Path, *, force: bool = False) -> Index:
        """Open an index; it is made, or brought to the newest version, when needed.

        Parameters
        ----------
        path:
            The file; its folder is made with mode 700, the file with mode 600.
        force:
            Also on a network file system.

        Raises
        ------
        OrchError
            A newer orch wrote it, it is another program's database, damaged, or locked.
        DiskError
            It lies on a network file system, or cannot be written.
        """
        path = path.absolute()
        if not force:
            place.refuse_network(path.parent)
        place.make_folder(path.parent)
        place.reserve(path)
        return cls(path)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # ------------------------------------------------------------------ writing

    def record_sweep(self, record: Mapping[str, Any]) -> None:
        """Take in a sweep record of the orch home."""
        self._write(lambda connection: records.record_sweep(connection, record))

    def ingest(self, reports: Iterable[Mapping[str, Any]]) -> int:
        """Take in the agents' reports in one transaction; return how many rows were written.

        A report seen twice changes nothing. Of several attempts of one job one counts: the first done one without a
        fence in the journal.

        Raises
        ------
        ContractError
            A report names no sweep, job, attempt or state; nothing of the batch is kept.
        """
        return self._write(lambda connection: bulk.ingest(connection, reports))

    def ingest_journal(self, lines: Iterable[Mapping[str, Any]], offset: int, home: str = "") -> int:
        """Take in the lines of a home's journal up to a byte offset; return how many are new.

        A line `{"kind": "fence", "sweep", "job", "attempt"}` keeps that attempt's result from counting.
        """
        return self._write(lambda connection: records.ingest_journal(connection, lines, offset, home))

    def silent(self, host: str, reason: str) -> int:
        """Let a host's attempts without a known end be unreachable, for a reason; return how many there are.

        The last known state stays beside it. They are what they are again with the host's next report.
        """
        return self._write(lambda connection: records.silence(connection, host, reason))

    def forget_attempts(self, gone: Iterable[tuple[str, str, str]]) -> None:
        """Forget the attempts of jobs (sweep, job id, host) whose folders are not there any more."""
        self._write(lambda connection: records.forget_attempts(connection, gone))

    def keep_hosts(self, hosts: Iterable[str]) -> int:
        """Forget all but what these hosts have run; everything else is to be told anew. Returns the attempts kept."""
        return self._write(lambda connection: records.keep_hosts(connection, hosts))

    def copy_to(self, path: Path) -> None:
        """Write a copy of the whole index, whatever of it stands in SQLite's log still."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._read(lambda connection: connection.backup(target))

    def met(self, home: str, machine: str, host: str) -> None:
        """Remember by which name of the site file a machine of an orch home is known."""
        sql = "INSERT INTO machine VALUES (?, ?, ?) ON CONFLICT (home, name) DO UPDATE SET host = excluded.host"
        self._write(lambda connection: connection.execute(sql, (home, machine, host)))

    def follow(self, name: str, told: Mapping[str, int]) -> None:
        """Remember how far something of a host was followed, by part, instead of what was remembered of it."""
        if told != self.followed(name):
            self._write(lambda connection: records.follow(connection, name, told))

    def seen(self, host: str, t: float) -> None:
        """Remember when a host last answered (s since 1970)."""
        sql = "INSERT INTO host_seen VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET t = max(t, excluded.t)"
        self._write(lambda connection: connection.execute(sql, (host, t)))

    # ------------------------------------------------------------------ quick reads

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads inside the block see the index as it is now, whatever others write meanwhile."""
        with translated(self.path), self._moment():
            yield

    def sweeps(self) -> list[SweepRow]:
        """Return all sweeps, oldest first; their records without what is long (`SweepRow`)."""
        return self._read(status.sweeps)

    def sweep(self, name: str) -> SweepRow:
        """Return one sweep, with its whole record.

        Raises
        ------
        NotFound
            The index knows none of that name; the message names the nearest.
        """
        found = self._read(lambda connection: status.sweep(connection, name))
        if found is None:
            raise not_found("sweep", name, (row.name for row in self.sweeps()), "orch status")
        return found

    def records_known(self) -> dict[str, tuple[str, str]]:
        """Return of each sweep's record when it was written, and its hash (`store.digest`)."""
        return self._read(records.written)

    def jobs(self, sweep: str | None = None) -> list[JobRow]:
        """Return the jobs of one sweep, or of all, in the order of their sweep."""
        return self._read(lambda connection: status.jobs(connection, None if sweep is None else [sweep]))

    def jobs_of(self, sweeps: Iterable[str]) -> dict[str, list[JobRow]]:
        """Return the jobs of each of several sweeps, in one query."""
        found: dict[str, list[JobRow]] = {sweep: [] for sweep in sweeps}
        for row in self._read(lambda connection: status.jobs(connection, found)):
            found[row.sweep].append(row)
        return found

    def job(self, sweep: str, text: str) -> JobRow:
        """Return the job of a sweep with that id, label, or beginning of its id.

        A label means the job that the sweep file asks for now; only where it asks for none an earlier one.

        Raises
        ------
        NotFound
            None fits.
        UsageError
            Several fit.
        """
        rows = self.jobs(sweep)
        labelled = [row for row in rows if row.label == text]
        found = [row for row in rows if row.id == text]
        found = found or [row for row in labelled if row.position is not None] or labelled
        found = found or [row for row in rows if text and row.id.startswith(text)]
        if not found:
            raise not_found("job", text, (row.label for row in rows), "orch status --jobs")
        if len(found) > 1:
            listed = ", ".join(f"{row.label} ({row.id})" for row in found[:5])
            raise UsageError(f"'{text}' fits {len(found)} jobs of {sweep}: {listed}", "give an id, or more of it")
        return found[0]

    def named(self, text: str) -> list[tuple[str, str, str, bool]]:
        """Return the jobs that a text may mean: sweep, id, label, and whether the sweep file still asks for it."""
        return self._read(lambda connection: status.named(connection, text))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return by sweep how many of the jobs that it asks for are in each state."""
        return self._read(status.counts)

    def offsets(self, unended: bool = False) -> dict[tuple[str, str, int], Known]:
        """Return how far every attempt (sweep, job, number) was read; with `unended` only those without a known end."""
        return self._read(lambda connection: status.offsets(connection, unended))

    def followed(self, name: str) -> dict[str, int]:
        """Return how far something of a host was followed, by part; empty when it never was."""
        return self._read(lambda connection: records.followed(connection, name))

    def journal_offset(self, home: str = "") -> int:
        """Return the byte offset up to which a home's journal was read."""
        sql, name = "SELECT offset FROM position WHERE name = ?", records.journal_name(home)
        row = self._read(lambda connection: connection.execute(sql, (name,)).fetchone())
        return int(row[0]) if row else 0

    def machines(self) -> dict[tuple[str, str], str]:
        """Return by which name of the site file each machine is known: (home id, own name) -> host."""
        rows = self._read(lambda connection: connection.execute("SELECT home, name, host FROM machine").fetchall())
        return {(home, name): host for home, name, host in rows}

    def hosts_seen(self) -> dict[str, float]:
        """Return when each host last answered (s since 1970)."""
        sql = "SELECT host, t FROM host_seen ORDER BY host"
        return self._read(lambda connection: dict(connection.execute(sql).fetchall()))

    def scores(self, sweep: str, key: str | None = None) -> dict[str, dict[str, float | None]]:
        """Return the numbers of the results that count: job id -> name -> value (None: undefined)."""
        return self._read(lambda connection: status.scores(connection, sweep, key))

    def scores_of(self, sweeps: Iterable[str], keys: Iterable[str]) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return some of these numbers of several sweeps, in one query: sweep -> job id -> name -> value."""
        return self._read(lambda connection: status.scores_of(connection, sweeps, keys))

    def spans(self) -> list[Span]:
        """Return how long the jobs took that are done, oldest first."""
        return self._read(status.spans)

    def faults(self, sweep: str) -> dict[str, Fault]:
        """Return the jobs whose newest attempt failed by its host's fault, with the fault."""
        return self._read(lambda connection: status.faults(connection, sweep))

    def cases(self, sweep: str) -> list[CaseRow]:
        """Return the case rows of the attempts that count."""
        return self._read(lambda connection: status.cases(connection, sweep))

    def metrics(self, sweep: str, job: str | None = None) -> dict[tuple[str, int], dict[str, Curve]]:
        """Return all metrics of a sweep or of one job: (job id, attempt) -> name -> curve."""
        return self._read(lambda connection: status.curves(connection, sweep, job))

    def content(self) -> dict[tuple[Any, ...], Any]:
        """Return what a rebuild must give back; `store.compare` says the differences of two in words."""
        return self._read(content.content)

    # ------------------------------------------------------------------ other reads, through SQLAlchemy

    def attempts(self, sweep: str | None = None, job: str | None = None) -> list[AttemptRow]:
        """Return the attempts of a sweep (default: of all) or of one job, with their files."""
        from . import queries

        return self._read(lambda connection: queries.attempts(connection, sweep, job))

    def events(self, sweep: str | None = None, job: str | None = None, kind: str | None = None) -> list[EventRow]:
        """Return events other than metrics; with `kind` only these."""
        from . import queries

        return self._read(lambda connection: queries.events(connection, sweep, job, kind))

    def journal(self, sweep: str | None = None, job: str | None = None) -> list[JournalRow]:
        """Return notes, tags and fences, oldest first."""
        from . import queries

        return self._read(lambda connection: queries.journal(connection, sweep, job))

    def worst(self, sweep: str, count: int = 10) -> list[CaseRow]:
        """Return the case rows with the lowest defined Dice among those that count, worst first."""
        from . import queries

        return self._read(lambda connection: queries.worst(connection, sweep, count))

    # ------------------------------------------------------------------ inside

    def _connect(self) -> sqlite3.Connection:
        with translated(self.path):
            connection = _open(self.path)
            try:
                migrate.refuse_foreign(connection, self.path)
                if migrate.version(connection) < migrate.VERSION:
                    with writer(_lock(self.path)):
                        connection.execute("PRAGMA journal_mode = WAL")
                        migrate.migrate(connection, migrate.steps())
                self._inode = _inode(self.path)
            except BaseException:
                connection.close()
                raise
            return connection

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.path), self._moment():
            return query(self._connection)

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self.path), writer(_lock(self.path)):
            self._follow()
            with _transaction(self._connection, "BEGIN IMMEDIATE"):
                return change(self._connection)

    def _follow(self) -> None:
        """Open the file anew when a rebuild has put another one in its place."""
        if _inode(self.path) != self._inode:
            self._connection.close()
            place.reserve(self.path)
            self._connection = _open(self.path)
            migrate.migrate(self._connection, migrate.steps())
            self._inode = _inode(self.path)

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """Let all queries inside see the same moment (a writer may pack rows between two of them)."""
        if self._connection.in_transaction:
            yield
            return
        with _transaction(self._connection, "BEGIN"):
            yield


def _checkpoint(path: Path) -> None:
    """Bring what stands in SQLite's log into the file itself; a damaged one stays as it is."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def discard(path: Path) -> Path:
    """Park an index (damaged, of a newer version, or to be made again) beside itself; return where it lies now.

    Programs that have it open go on with the new one at their next write.

    Raises
    ------
    DiskError
        It cannot be moved.
    """
    parked = path.with_name(path.name + ".old")
    with writer(_lock(path)):
        _checkpoint(path)
        try:
            for suffix in ("-wal", "-shm"):  # first: a new file must never meet the log of the old one
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            if path.exists():
                path.replace(parked)
        except OSError as error:
            raise disk_error(error, str(path)) from error
    return parked


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path.as_uri() + "?mode=rw", uri=True, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {BUSY}")
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the newest batch, never the file
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has already rolled back when the disk was full
            connection.execute("ROLLBACK")
        raise


def _lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def not_found(kind: str, name: str, known: Iterable[str], listing: str) -> NotFound:
    """Return the error that nothing has that name, with the nearest that there is and the command that lists them."""
    near = difflib.get_close_matches(name, list(known), 1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    return NotFound(f"no {kind} named '{name}' in the index.{guess}", f"{listing}   (lists what there is)")
