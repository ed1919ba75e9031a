"""The agent: the host's end of the wire. It answers verbs over one connection and leaves with it.

Every verb takes and returns JSON. A verb that returns an iterator sends its items as chunks, then the final answer.
The agent is single-threaded, so that it can fork a keeper; nobody who reads from it may stop reading (`wire.Wire`).
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import importlib
import io
import itertools
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, Generator, Iterable, Iterator, List, Optional, Tuple

from . import CONTRACT, __version__, attempt, host, kept, stop, sweep_records
from .atomic import read_json, stamp, write_json
from .documents import open_plain
from .errors import NotFound, OrchError, UsageError, WireError, disk_error
from .events import EventWriter, pieces
from .folder import RunFolder
from .frames import answer, requests
from .home_identity import check, confirm
from .homes import host_folder, mask, open_home
from .lease import holding
from .queue import Entry, Queue, waiting_everywhere
from .state import ENDED, RUNNING, Verdict, judge

if TYPE_CHECKING:
    from .collector import Collector

LOG_BLOCK = 1 << 16  # bytes of a log in one frame
LOG_MOST = 1 << 26  # bytes of a log that are sent: of a longer one the last
ALIVE_WAIT = 10.0  # seconds of silence of a followed log after which an empty block says that we live
FOLLOW_WAIT = 0.3  # seconds between looks at a log that is followed

Reply = Dict[str, Any]
Stream = Generator[Any, None, Reply]  # chunks, then the final answer


class Agent:
    """The verbs. `open` comes first."""

    def __init__(self, source: BinaryIO) -> None:
        self.source = source
        self.collector: Optional[Collector] = None
        self.failed = False  # a look broke off: what its collector thinks it has sent may not have arrived
        self.copying: Optional[int] = None  # descriptor of the lock of the data set that is being taken in

    def open(
        self,
        home: str,
        create: bool = True,
        courtesy: Optional[Dict[str, Any]] = None,
        trust: Optional[List[str]] = None,
        expected: str = "",
    ) -> Reply:
        """Open (or make) an orch home on this host; replay what was spooled, see to the queue.

        Parameters
        ----------
        courtesy:
            How this user shares the cards from now on (`courtesy.Wishes`); None: as before.
        trust:
            Users whose environments this user's jobs may use (`integrity`); None: as before.
        expected:
            Id of the home that whoever asks knows at this path.
        """
        self.home, identity = open_home(home, create, expected=expected)
        self.local = host_folder(self.home, identity["id"])
        confirm(self.home, identity, self.local)
        kept.keep(os.path.dirname(self.local.path))
        os.umask(mask(self.home.path))
        self.queue = Queue(self.home, host.name(), self.local.home_id)
        attempt.replay_spool(self.local, self.home)
        for path, said in ((self.local.wishes, courtesy), (self.local.trust, trust)):
            if said is not None and said != (read_json(path) or type(said)()):
                write_json(path, said, sync=False)
        if os.path.exists(self.home.dead(host.name())):
            from .moving import heed_declaration

            heed_declaration(self)
        keeper = self._rouse()
        about = {"version": __version__, "contract": CONTRACT, "python": sys.version.split()[0]}
        place = {"host": host.name(), "boot_id": host.boot_id(), "home": self.home.path, "id": identity["id"]}
        return {**about, **place, "keeper": keeper, "warning": self._warning()}

    def _warning(self) -> str:
        from .protocol import warning

        return warning(self.local)

    def _rouse(self) -> bool:
        """See to it that a keeper works when something waits, and that what ended attempts left to be done is done.

        An idle host has neither, and is spared the keeper's imports.
        """
        if not self.queue.mine() and not (os.path.isdir(self.local.locks) and os.listdir(self.local.locks)):
            return False
        from .daemon import ensure_running

        return ensure_running(self.home, self.local)

    def probe(self) -> Reply:
        """Say what this machine is."""
        from .probe import probe

        return probe()

    def verdict(self, folder: RunFolder) -> Verdict:
        """What this host can tell of an attempt."""
        return judge(attempt.evidence(folder, attempt.read_job(folder) or {}, self.local))

    def collect(
        self,
        known: Iterable[Any] = (),
        sweeps: Optional[List[str]] = None,
        journal: Optional[int] = 0,
        others: Iterable[str] = (),
        since: Optional[Dict[str, int]] = None,
        stamps: Optional[Dict[str, int]] = None,
    ) -> Stream:
        """Send what is new since `known` (rows of sweep, job, attempt, offset, final).

        Parameters
        ----------
        sweeps:
            At least these; None: all.
        journal:
            Byte offset from which the journal is sent; None: somebody else sends it.
        others:
            Own names of the machines of this home that are asked as well: each tells of what it has run itself.
        since, stamps:
            What the final answer said last time. With `since`, `known` need not name what is final.

        The first chunk is the list of the sweeps' records that have changed, each other one a list of reports: whoever
        reads may forget a chunk before the next. The final answer holds what stands in the journal after the byte
        offset `journal`; or it is `{"again": true}`, alone: ask anew, without `since`.
        """
        attempt.replay_spool(self.local, self.home)
        keeper = self._rouse()
        collector = self._collecting(known, others, since, self._unlisted())
        if collector is None:
            return {"again": True}
        self.collector, self.failed = None, True
        names = self.home.sweep_names() if sweeps is None or collector.since is not None else sweeps
        now = {name: stamp(self.home.sweep(name)) for name in names}
        changed = (name for name in names if now[name] != (stamps or {}).get(name, 0))
        yield [record for record in (sweep_records.read(self.home, name) for name in changed) if record]
        yield from collector.batches(sweeps)
        told: Reply = {"lines": [], "offset": None}
        if journal is not None:
            lines = next(pieces(self.home.journal, journal))  # of a long one the rest comes with the next look
            told = {"lines": lines.events, "offset": lines.offset}
        check(self.home, self.local.home_id)  # what was not found proves nothing when the home went away meanwhile
        place = {"keeper": keeper, "host": host.name(), "t": time.time()}
        self.collector, self.failed = collector, False
        return {"journal": told, "since": collector.since, "stamps": now, **place}

    def _unlisted(self) -> bool:
        from .protocol import LISTED, spoken

        found = spoken(self.local)
        return found is not None and found.number < LISTED

    def _collecting(
        self, known: Iterable[Any], others: Iterable[str], since: Optional[Reply], unlisted: bool
    ) -> Optional[Collector]:
        """See to a collector; None when it cannot go on from what the index has followed."""
        if self.failed and since is not None:
            self.failed = False
            return None
        if self.collector is None:
            from .collector import Collector

            self.collector = Collector(self.home, self.local, known, since)
        self.collector.leave_to(others)
        self.collector.unlisted = unlisted
        if since is not None and not self.collector.follows():
            self.collector = None
        return self.collector

    def stop(self, jobs: List[Tuple[str, str]], grace: Optional[float] = None, by: str = "") -> Reply:
        """Stop jobs: those that wait are ended before they begin, those that run get a stop request and SIGTERM.

        Under the queue's lock, so that no attempt that has just failed is followed by another.
        """
        with holding(self.local.queue_lock):
            answers = self._stop(jobs, grace, by)
        self._rouse()
        return {"jobs": answers}

    def _stop(self, jobs: List[Tuple[str, str]], grace: Optional[float], by: str) -> List[Reply]:
        # In all queues of the home: what waits on a host that does not answer is ended as surely as what waits here.
        waiting = {entry.key[:2]: entry for _, entry in waiting_everywhere(self.home)}
        for sweep, job_id in jobs:
            if (sweep, job_id) not in waiting and not self.home.attempts(sweep, job_id):
                raise NotFound("no job {} in sweep {}".format(job_id, sweep), "orch status {}".format(sweep))
        # Those that wait go first: a slot that a stopped job leaves would begin one of them.
        entries = [waiting[sweep, job_id] for sweep, job_id in jobs if (sweep, job_id) in waiting]
        won = attempt.cancel_all([(self.queue.run_folder(entry.key), entry.job) for entry in entries], self.local)
        ended = {entry.key[:2] for entry, own in zip(entries, won) if own}
        self._drop(entry for entry in entries if entry.key[:2] in ended)
        answers = []
        for sweep, job_id in jobs:
            before = (sweep, job_id) in ended
            action = "stopped before it began" if before else self._stop_running(sweep, job_id, grace, by)
            answers.append({"sweep": sweep, "id": job_id, "action": action})
        return answers

    def _drop(self, entries: Iterable[Entry]) -> None:
        """Take what waited for Slurm out of its queue too."""
        keys = [entry.key for entry in entries if "slurm" in (entry.job.get("placement") or {})]
        if keys:
            from .handing import drop

            drop(self.home, host.name(), keys)

    def _stop_running(self, sweep: str, job_id: str, grace: Optional[float], by: str) -> str:
        last = self.home.attempts(sweep, job_id)[-1]
        verdict = self.verdict(last)
        if verdict.state != RUNNING:
            return "had ended" if verdict.state in ENDED else verdict.reason
        stranger = host.stranger(last.path)
        if stranger and host.user():  # root may signal anybody
            return "is {}'s: only they can stop it".format(stranger)
        first = stop.ask(last, by, grace)
        place = attempt.place_of(attempt.read_job(last), self.local)
        return "asked to stop" if stop.wake(last, place, first) else "had ended"

    def log(self, sweep: str, job: str, number: Optional[int] = None, offset: int = 0, follow: bool = False) -> Stream:
        """Send a log's bytes from an offset (as text); with `follow` from its begin on until the attempt has ended."""
        folder = yield from self._begun(sweep, job, number, follow)
        if folder is None:
            return {"offset": offset, "attempt": None}
        told = time.monotonic()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a block may end within a letter
        left_out = max(0, _size(folder.log) - offset - LOG_MOST)
        if left_out:
            offset += left_out
            yield "orch: {} bytes before this are not shown; orch fetch brings the whole log\n".format(left_out)
        while True:
            ended = self.verdict(folder).state != RUNNING
            if _size(folder.log) < offset:
                offset = _size(folder.log)
                yield "\norch: the log was cut to its limit; orch logs without -f shows all that was kept\n"
            for block in _blocks(folder.log, offset):
                offset, told = offset + len(block), time.monotonic()
                yield decoder.decode(block)
            if ended or not follow or self.client_left():
                return {"offset": offset - len(decoder.getstate()[0]), "attempt": folder.attempt}
            if time.monotonic() - told > ALIVE_WAIT:
                told = time.monotonic()
                yield ""
            time.sleep(FOLLOW_WAIT)

    def _begun(
        self, sweep: str, job: str, number: Optional[int], follow: bool
    ) -> Generator[str, None, Optional[RunFolder]]:
        """The attempt that is meant; one that waits is waited for with `follow`. None: the client left meanwhile."""
        told = time.monotonic()
        while True:
            attempts = self.home.attempts(sweep, job)
            folders = [folder for folder in attempts if number in (None, folder.attempt)]
            if folders:
                return folders[-1]
            if not follow or not any(entry.key[:2] == (sweep, job) for entry in self.queue.waiting()):
                if self.home.attempts(sweep, job) == attempts:  # else it began between the two looks
                    raise NotFound("job {} has no attempt {} with a log".format(job, number or ""), "orch show " + job)
                continue
            if self.client_left():
                return None
            if time.monotonic() - told > ALIVE_WAIT:
                told = time.monotonic()
                yield ""
            time.sleep(FOLLOW_WAIT)

    def client_left(self) -> bool:
        """Tell whether the other end has closed the connection (or asks again before it has our answer)."""
        return bool(select.select([self.source], [], [], 0)[0])

    def note(self, sweep: str, job: Optional[str], kind: str, text: str) -> Reply:
        """Add a note or a tag to the journal of the orch home."""
        with holding(self.local.queue_lock):
            journal = EventWriter(self.home.journal)
            journal.write(kind, sweep=sweep, job=job, text=text)
            journal.sync()
            journal.close()
        return {}


def _blocks(path: str, offset: int) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=open_plain) as handle:
            handle.seek(offset)
            yield from iter(lambda: handle.read(LOG_BLOCK), b"")
    except FileNotFoundError:
        return


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


TRUTHS = ("truths", "survived")
SERVERS = ("vscode_look", "vscode_reset", "vscode_shelves", "vscode_purge")
HOMES = ("new_home", "adopt_home")
LOCAL = ("vscode_local", "vscode_make_local", "vscode_undo_local")

# Verbs by name. An empty text: a method of `Agent`. Else the module of `jobs` with `def <verb>(agent, ...)`, which is
# imported when it is asked for, so that a contact which does not need it does not wait for it.
VERBS: Dict[str, str] = {
    **dict.fromkeys(("open", "probe", "collect", "stop", "log", "note"), ""),
    "submit": "submitting",
    "show": "inspection",
    **dict.fromkeys(("withdraw", "declare_dead"), "moving"),
    **dict.fromkeys(("brief", "take_code", "take_patch"), "briefing"),
    **dict.fromkeys(("register_data", "make_split"), "registering"),
    **dict.fromkeys(("offer_copy", "take_piece", "seal_file", "keep_copy"), "intake"),
    **dict.fromkeys(("give_data", "give_file"), "outgoing"),
    **dict.fromkeys(("verify_data", "weigh_data", "forget_data"), "holdings"),
    **dict.fromkeys(("environments", "survey", "install_conda", "remove_conda", "provision"), "provision"),
    **dict.fromkeys(("verify_environment", "weigh_environment", "remove_environment"), "provision"),
    "cards_of_jobs": "slurmtry",
    **dict.fromkeys(TRUTHS, "truths"),
    **dict.fromkeys(SERVERS, "servers"),
    "ask_program": "asking",
    **dict.fromkeys(("release", "courtesies"), "releasing"),
    **dict.fromkeys(("files_of", "send", "missing"), "sending"),
    **dict.fromkeys(LOCAL, "vscode_local"),
    **dict.fromkeys(HOMES, "home_choice"),
    **dict.fromkeys(("gc_look", "gc_park", "gc_parked", "gc_empty", "gc_restore"), "gc"),
    **dict.fromkeys(("handover_proofs", "handover_look", "handover"), "handover"),
}
EARLY = ("environments", "survey", "ask_program", "cards_of_jobs")  # what is asked before a home is made
HOMELESS = ("open", "probe", *TRUTHS, *SERVERS, *LOCAL, *HOMES, *EARLY)  # need no open home


def _verb(agent: Agent, name: str) -> Callable[..., Any]:
    if name not in VERBS:
        text = "this agent (orch {}) has no verb {}".format(__version__, name)
        raise UsageError(text, "use the same orch on both ends")
    if name not in HOMELESS and not hasattr(agent, "queue"):
        raise UsageError("this agent has no orch home yet", "ask it to open one first")
    if name not in HOMELESS:
        check(agent.home, agent.local.home_id)
    if not VERBS[name]:
        return getattr(agent, name)  # type: ignore[no-any-return]
    module = importlib.import_module("." + VERBS[name], __package__)
    return functools.partial(getattr(module, name), agent)


def serve(source: BinaryIO, sink: BinaryIO, ahead: bytes = b"") -> None:
    """Answer what was asked ahead, then requests until the other end closes the connection."""
    os.umask(0o077)
    agent = Agent(source)
    sink.write(b"\n")  # an empty line: we are a Python that will do
    sink.flush()
    with contextlib.suppress(WireError, ValueError):  # it is no orch that asks: nobody would understand an answer
        for request in itertools.chain(requests(io.BytesIO(ahead)), requests(source)):
            for frame in _answer(agent, request):
                sink.write(answer(int(request.get("id", 0)), frame))
                sink.flush()
                del frame  # else it is kept while the next one is made


def _answer(agent: Agent, request: Dict[str, Any]) -> Iterator[Reply]:
    """Frames for one request: chunks, then `ok` or `error`."""
    try:
        answer = _verb(agent, request["verb"])(**request["args"])
        if hasattr(answer, "send"):
            answer = yield from _chunks(answer)
        yield {"ok": answer}
    except OrchError as error:
        yield {"error": error.to_json()}
    except OSError as error:
        yield {"error": disk_error(error).to_json()}
    except Exception as error:
        import traceback

        about = OrchError("the agent failed: {!r}".format(error), "this is a fault of orch: please report it")
        about.context["traceback"] = traceback.format_exc()
        yield {"error": about.to_json()}


def _chunks(items: Stream) -> Generator[Reply, None, Reply]:
    """Turn a verb's iterator into chunk frames; its return value is the final answer."""
    while True:
        try:
            yield {"chunk": next(items)}
        except StopIteration as stop:
            return dict(stop.value)
