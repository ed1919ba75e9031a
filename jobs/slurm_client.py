"""The one door to Slurm's programs: a cleaned environment, a format of our own, limits, rows that are read strictly.

What steers these programs from outside (`SQUEUE_STATES`, `SBATCH_PARTITION`, `SLURM_CLUSTERS`, ...) is kept from them.
What they print is data: a row that is not what was asked for counts for nothing, whether a wrapper of the site has said
it, has cut it to the width of a column or has put it there from a cache.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from .errors import OrchError

LIMIT = 20.0  # seconds for one of Slurm's programs; a busy controller takes some
OUTPUT_MOST = 64 << 20  # bytes that one of them may print: a million jobs
FRESH = 2.0  # seconds for which one answer of squeue serves all who ask in this process
SILENCE = 10.0  # seconds for which a controller that did not answer is not asked again: each try takes as long

# squeue(1), JOB STATE CODES
TERMINAL = frozenset({"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
                      "PREEMPTED", "TIMEOUT"})  # fmt: skip
UNKNOWN_ID = "Invalid job id specified"  # the controller's own word for a job that it does not have

# What a shell says of how Slurm is found, and of its modules; the rest of what it says of Slurm steers.
FINDS = ("PATH", "LD_LIBRARY_PATH", "SLURM_CONF", "SLURM_CONF_SERVER", "MODULEPATH", "MODULESHOME", "LOADEDMODULES",
         "_LMFILES_", "CONDA_PREFIX")  # fmt: skip
_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_SOCKET"})
_STEERS = re.compile(
    r"(SLURMD?|SQUEUE|SBATCH|SALLOC|SRUN|SINFO|SACCT|SACCTMGR|SCANCEL|SCONTROL|SPRIO|SSHARE|SDIAG|SSTAT|SREPORT)_"
)
_SHAPES = re.compile(r"LC_|LANGUAGE$|COLUMNS$|LINES$|CLICOLOR")
_OURS = {"LC_ALL": "C", "NO_COLOR": "1", "TERM": "dumb", "SLURM_BITSTR_LEN": "0"}
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\r")
_ID = re.compile(r"[0-9]+(_[0-9]+)?\Z")
_STATE = re.compile(r"[A-Z_]{2,24}\Z")
_FORMAT = "%i|%T|%j|%U/%r"
_FIELD = re.compile(r"(\w+)=(\S*)")

Shell = Optional[Mapping[str, str]]


class Task(NamedTuple):
    """One job of Slurm: `12_3` is task 3 of array 12. `user` is None where it was not told."""

    id: str
    state: str
    name: str
    reason: str
    user: Optional[int] = None

    @property
    def alive(self) -> bool:
        """It waits, runs or is just leaving: all but a terminal state."""
        return self.state not in TERMINAL


class Listing(NamedTuple):
    """What squeue has of this user.

    Attributes
    ----------
    tasks:
        By id; also those that ended a short while ago.
    unclear:
        Names of jobs that are there, with an id that is none: cut to a width, or written with separators.
    noise:
        The first line that is no row, empty when each is.
    torn:
        A row was cut: others may be missing.
    """

    tasks: Dict[str, Task]
    unclear: FrozenSet[str] = frozenset()
    noise: str = ""
    torn: bool = False

    def task(self, task: str, name: str = "") -> Optional[Task]:
        """Return a task by its id, provided that its array has this name (empty: any)."""
        found = self.tasks.get(task)
        return found if found and (not name or found.name == name) else None

    def is_unclear(self, array: str, name: str) -> bool:
        """Tell whether jobs with an array's name are there, with ids that are not its own: they were cut."""
        alive = (task.id for task in self.tasks.values() if task.alive and task.name == name)
        return name in self.unclear or any(not one.startswith(array + "_") for one in alive)


_last: Dict[Tuple[str, ...], Tuple[float, Listing]] = {}
_silent: Dict[Tuple[str, ...], Tuple[float, OrchError]] = {}
_told: Dict[Tuple[str, ...], Tuple[float, Any]] = {}


def environment(shell: Shell = None, for_jobs: bool = False) -> Dict[str, str]:
    """Return what Slurm's programs are given: this process's variables without those that would steer them.

    Parameters
    ----------
    shell:
        Variables of the command that queued what is asked about (`queueing_shell.load`): they count before ours.
    for_jobs:
        Of sbatch, which hands its variables to the jobs: language and terminal stay as they are.
    """
    kept = {key: value for key, value in os.environ.items() if key in _KEPT or not _STEERS.match(key)}
    if shell is not None:
        kept = {**{key: value for key, value in kept.items() if key not in FINDS}, **shell}
    if for_jobs:
        return kept
    return {**{key: value for key, value in kept.items() if not _SHAPES.match(key)}, **_OURS}


def unsteered() -> List[str]:
    """Return the words before a command that is started elsewhere: without the variables that would steer Slurm."""
    names = sorted(key for key in os.environ if key not in _KEPT and _STEERS.match(key))
    return ["env", *(word for name in names for word in ("-u", name))] if names else []


def key_of(shell: Shell = None) -> Tuple[str, ...]:
    """Return what tells two Slurms apart as this process sees them: configuration, and the program that is found."""
    given = environment(shell)
    found = shutil.which("squeue", path=given.get("PATH"))
    return (given.get("SLURM_CONF", ""), given.get("SLURM_CONF_SERVER", ""), str(found))


def run(words: List[str], limit: float = LIMIT, shell: Shell = None) -> str:
    """Run one of Slurm's programs; return what it printed, without colours.

    Raises
    ------
    OrchError
        It is not there, does not answer in time, prints without end, or refuses; with its last words.
    """
    whose = "; PATH and SLURM_CONF are those of the command that queued the jobs" if shell is not None else ""
    hint = "orch doctor tells whether Slurm answers" + whose
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(shell),
            start_new_session=True,
        )
    except OSError as error:
        raise OrchError("{} cannot be started: {}{}".format(words[0], error.strerror, whose), hint) from error
    with child:
        try:
            out, said = _gather(child, time.monotonic() + limit)
            child.wait()
        except (subprocess.TimeoutExpired, OverflowError) as error:
            os.killpg(child.pid, signal.SIGKILL)  # a wrapper's own children too
            late = "does not answer within {:g} s".format(limit)
            why = "prints more than {} MB".format(OUTPUT_MOST >> 20) if isinstance(error, OverflowError) else late
            raise OrchError("{} {}".format(words[0], why), hint) from error
    if child.returncode:
        lines = _plain(said).strip().splitlines()
        text = lines[-1][:500] if lines else "it ended with {}".format(child.returncode)
        raise OrchError("{}: {}".format(words[0], text), hint)
    return _plain(out)


def _gather(child: "subprocess.Popen[bytes]", deadline: float) -> "List[bytes]":
    """Read both of a program's pipes to their ends.

    Raises
    ------
    TimeoutExpired
        The time is over.
    OverflowError
        It has printed too much.
    """
    pipes = [pipe for pipe in (child.stdout, child.stderr) if pipe]
    parts: Dict[Any, bytearray] = {pipe: bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as ready:
        for pipe in pipes:
            ready.register(pipe, selectors.EVENT_READ)
        while ready.get_map():
            came = ready.select(max(0.0, deadline - time.monotonic()))
            if not came:
                raise subprocess.TimeoutExpired(str(child.args), 0)
            for found, _ in came:
                block = os.read(found.fd, 1 << 16)
                parts[found.fileobj] += block
                if not block:
                    ready.unregister(found.fileobj)
                elif len(parts[found.fileobj]) > OUTPUT_MOST:
                    raise OverflowError
    return [bytes(part) for part in parts.values()]


def _plain(text: bytes) -> str:
    return _COLOURS.sub("", text.decode("utf-8", "replace"))


def listing(age: float = FRESH, shell: Shell = None) -> Listing:
    """Return what Slurm has of this user, in one call: what waits, runs, is just leaving, or ended a while ago.

    Parameters
    ----------
    age:
        Seconds that the answer may be old; 0 asks now.

    Raises
    ------
    OrchError
        Slurm does not answer: nothing is known.
    """
    key = key_of(shell)
    at, error = _silent.get(key, (float("-inf"), None))
    if error and time.monotonic() - at < SILENCE:
        raise error
    asked = time.monotonic()
    if key not in _last or asked - _last[key][0] >= age:
        try:
            _last[key] = (asked, _ask([], shell))
        except OrchError as error:
            _silent[key] = (time.monotonic(), error)
            raise
    return _last[key][1]


def forget_answers() -> None:
    """Ask anew whatever was asked in this process before."""
    for answers in (_last, _silent, _told):
        answers.clear()


def _ask(more: List[str], shell: Shell) -> Listing:
    return read(
        run(["squeue", "-h", "-a", "-r", "-t", "all", "-u", str(os.getuid()), *more, "-o", _FORMAT], shell=shell)
    )


def read(text: str) -> Listing:
    """Read squeue's answer; rows of other users do not count."""
    tasks: Dict[str, Task] = {}
    unclear, noise, torn = set(), "", False
    for line in filter(None, map(str.strip, text.splitlines())):
        row = _row(line)
        if row is None:
            noise = noise or line[:200]
            torn = torn or (line[0].isdigit() and "|" in line)
        elif row.user not in (None, os.getuid()):
            continue
        elif not _ID.match(row.id):
            unclear.add(row.name)
        elif row.id not in tasks or row.alive:  # twice: what lives counts
            tasks[row.id] = row
    return Listing(tasks, frozenset(unclear), noise, torn)


def _row(line: str) -> Optional[Task]:
    cells = [cell.strip() for cell in line.split("|", 3)]
    if len(cells) != 4 or not cells[0] or not _STATE.match(cells[1]) or not any(map(str.isdigit, cells[0])):
        return None
    user, slash, reason = cells[3].partition("/")
    told = slash and user.isdigit()
    return Task(cells[0], cells[1], cells[2], reason if told else cells[3], int(user) if told else None)


def named(name: str, single: bool = False, shell: Shell = None) -> Optional[str]:
    """Return the id of this user's array with this name, ended ones too as long as Slurm has them; None: none is found.

    Raises
    ------
    OrchError
        Slurm does not answer, or writes ids that are none of an array (`single`: of a job that is no array).
    """
    seen = _ask(["--name", name], shell)
    found = [task for task in seen.tasks.values() if task.name == name]
    if name in seen.unclear or any(single == ("_" in task.id) for task in found):
        raise OrchError("squeue writes the ids of {} in a way that cannot be read".format(name), "orch doctor")
    found = found or [task for task in _booked(["--name", name, "-S", "now-2days"], shell) if task.name == name]
    return found[0].id.partition("_")[0] if found else None


class Told(NamedTuple):
    """What others than squeue tell of an array.

    Attributes
    ----------
    tasks:
        By id, of this user and with the array's name.
    unknown:
        The controller says that it has no such job.
    whole:
        The controller has listed the array: a task that is not among these has left.
    """

    tasks: Dict[str, Task]
    unknown: bool = False
    whole: bool = False


def witnesses(array: str, name: str = "", shell: Shell = None) -> Told:
    """Ask the controller, then the books, for an array (`name` empty: any); an answer serves for a short while."""
    key = (*key_of(shell), array, name)
    at, told = _told.get(key, (float("-inf"), None))
    if time.monotonic() - at >= FRESH or at < _last.get(key[:3], (at, None))[0]:  # squeue has said something newer
        told = _witnesses(array, name, shell)
        _told[key] = (time.monotonic(), told)
    return Told(*told)


def _witnesses(array: str, name: str, shell: Shell) -> Told:
    unknown, found = False, []
    try:
        found = list(_controlled(run(["scontrol", "-o", "show", "job", array], shell=shell)))
    except OrchError as error:
        unknown = UNKNOWN_ID in error.message
    found = [task for task in found if task.user == os.getuid() and name in ("", task.name)]
    ended = [task for task in _booked(["-j", array], shell) if not task.alive]  # books run behind: only ends count
    tasks = {task.id: task for task in [*ended, *found] if name in ("", task.name)}
    return Told(tasks, unknown, bool(found))


def _booked(more: List[str], shell: Shell) -> List[Task]:
    """Jobs in Slurm's books, none where it keeps none."""
    words = ["sacct", "-n", "-X", "-P", "-u", str(os.getuid()), *more, "-o", "JobID,State,JobName,UID"]
    try:
        rows = [line.strip().split("|") for line in run(words, shell=shell).splitlines()]
    except OrchError:
        return []
    rows = [row for row in rows if len(row) == 4 and _ID.match(row[0]) and row[3] == str(os.getuid())]
    return [Task(row[0], row[1].split(" ")[0], row[2], "", os.getuid()) for row in rows]


def _controlled(text: str) -> Iterator[Task]:
    """Jobs as `scontrol -o show job` has them; tasks that wait stand in one line."""
    for line in text.splitlines():
        told = dict(_FIELD.findall(line))
        user = re.search(r"\((\d+)\)", told.get("UserId", ""))
        job, numbers = told.get("ArrayJobId") or told.get("JobId", ""), told.get("ArrayTaskId")
        if user and job.isdigit() and _STATE.match(told.get("JobState", "")):
            ids = ["{}_{}".format(job, number) for number in _numbers(numbers)] if numbers else [job]
            rest = (told["JobState"], told.get("JobName", ""), told.get("Reason", ""), int(user.group(1)))
            yield from (Task(one, *rest) for one in ids)


def _numbers(text: str) -> Iterator[int]:
    """Task numbers as Slurm writes them: `0-3,7,10-20:5%2`."""
    for part in text.partition("%")[0].split(","):
        match = re.match(r"(\d{1,7})(?:-(\d{1,7})(?::(\d{1,7}))?)?\Z", part)
        if match:
            first, last, step = match.groups()
            yield from range(int(first), int(last or first) + 1, int(step or 1) or 1)


def cluster(shell: Shell = None) -> str:
    """Return the name of the cluster whose controller answers, empty when none tells; known for a short while."""
    key = (*key_of(shell), "cluster")
    at, told = _told.get(key, (float("-inf"), ""))
    if time.monotonic() - at >= FRESH:
        try:
            told = cluster_in(run(["scontrol", "show", "config"], shell=shell))
        except OrchError:
            told = ""
        _told[key] = (time.monotonic(), told)
    return str(told)


def cluster_in(config: str) -> str:
    """Return the cluster's name out of `scontrol show config`."""
    found = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    return found.group(1) if found else ""


def cancel(tasks: List[str], name: str = "", signal: str = "", shell: Shell = None) -> bool:
    """End jobs, or send a signal to their watchers; False when Slurm does not take the order.

    Never another job than those of the array with this name, nor another user's: of a whole array, and of what runs,
    Slurm itself compares them; of single tasks that wait it cannot, and squeue must have listed them so.

    Parameters
    ----------
    name:
        Of their array; empty: not known.
    """
    if not tasks:
        return True
    only = ["--user={}".format(os.getuid()), *(["--name=" + name] if name else [])]
    try:
        if not signal and "_" in tasks[0]:
            seen, only = listing(shell=shell), []
            found = [(one, seen.task(one, name)) for one in tasks]
            tasks = [one for one, task in found if task and task.alive]
        if tasks:
            run(["scancel", *only, *(["--batch", "--signal=" + signal] if signal else []), *tasks], shell=shell)
    except OrchError:
        return False
    return True
