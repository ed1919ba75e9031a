"""Slurm's own programs: what it has in its queue, why a job waits, how one ended, and the signals that it delivers.

`squeue` is believed before `sacct`: a job that it lists is never lost. One call tells of all jobs of this user.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .errors import OrchError

LIMIT = 20.0  # seconds for one of Slurm's programs; a busy controller takes some
FRESH = 2.0  # seconds for which one answer of squeue serves all who ask in this process
SILENCE = 10.0  # seconds for which a controller that did not answer is not asked again: each try takes as long

CANCELLED, NODE_FAIL = "CANCELLED", "NODE_FAIL"
_GOING = ("PENDING", "RUNNING", "COMPLETING")

# Slurm's reasons in words; any other is shown as it is (squeue(1), JOB REASON CODES).
_REASONS = {
    "None": "Slurm has not looked at it yet",
    "Priority": "jobs of higher priority go first",
    "Resources": "it is next, and waits until its cores, cards and memory are free",
    "JobArrayTaskLimit": "as many of its array run as shall run side by side",
    "BeginTime": "it may not begin yet: Slurm holds back what it has put back into its queue",
    "ReqNodeNotAvail": "a node that it needs is down, drained or reserved",
    "PartitionDown": "its partition is down",
    "PartitionTimeLimit": "it asks for more time than its partition allows",
    "PartitionNodeLimit": "it asks for more than any node of its partition has",
    "JobHeldUser": "it is held in Slurm: scontrol release lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "Dependency": "another job must end first",
}
_YEAR = 525_600  # minutes
_LIMITS = re.compile(r"(Assoc|QOS|MaxJob|MaxCpu|MaxGRES|MaxTRES)")


class Task(NamedTuple):
    """One job of Slurm's queue: `12_3` is task 3 of array 12."""

    id: str
    state: str
    name: str
    reason: str


_last: Tuple[float, Dict[str, Task]] = (float("-inf"), {})
_silent: Tuple[float, Optional[OrchError]] = (float("-inf"), None)


def queue(age: float = FRESH) -> Dict[str, Task]:
    """Return what Slurm has of this user, by id: what waits, runs or is just leaving.

    Parameters
    ----------
    age:
        Seconds that the answer may be old; 0 asks now.

    Raises
    ------
    OrchError
        Slurm does not answer: nothing is known.
    """
    global _last, _silent
    if _silent[1] and time.monotonic() - _silent[0] < SILENCE:
        raise _silent[1]
    asked = time.monotonic()
    if asked - _last[0] >= age:
        try:
            _last = (asked, {task.id: task for task in _tasks(["squeue", "-h", "-r", "-u", str(os.getuid())])})
        except OrchError as error:
            _silent = (time.monotonic(), error)
            raise
    return _last[1]


def _tasks(words: List[str]) -> List[Task]:
    rows = (line.split("|", 3) for line in run([*words, "-o", "%i|%T|%j|%r"]).splitlines())
    return [Task(*(cell.strip() for cell in row)) for row in rows if len(row) == 4]


def run(words: List[str], limit: float = LIMIT) -> str:
    """Run one of Slurm's programs; return what it printed.

    Raises
    ------
    OrchError
        It is not there, does not answer in time, or refuses; with its last words.
    """
    hint = "orch doctor tells whether Slurm answers"
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit, check=False
        )
    except OSError as error:
        raise OrchError("{} cannot be started: {}".format(words[0], error.strerror), hint) from error
    except subprocess.TimeoutExpired as error:
        raise OrchError("{} does not answer within {:g} s".format(words[0], limit), hint) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        text = said[-1] if said else "it ended with {}".format(done.returncode)
        raise OrchError("{}: {}".format(words[0], text), hint)
    return done.stdout.decode("utf-8", "replace")


def named(name: str) -> Optional[str]:
    """Return the id of the array with this name, ended ones too as long as Slurm remembers them; None: there is none.

    Raises
    ------
    OrchError
        Slurm does not answer.
    """
    found = _tasks(["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "--name", name])
    if found:
        return found[0].id.partition("_")[0]
    try:
        told = run(["sacct", "-n", "-X", "-P", "-S", "now-2days", "--name", name, "-o", "JobID"])
    except OrchError:  # no accounting: squeue's word must do
        return None
    return told.split("_", 1)[0].split("\n", 1)[0].strip() or None


def endings(array: str) -> Dict[str, str]:
    """Return the states of all jobs of an array by id, ended ones too, as far as Slurm or its books remember them."""
    for words in (
        ["squeue", "-h", "-r", "-t", "all", "-j", array, "-o", "%i|%T"],
        ["sacct", "-n", "-X", "-P", "-j", array, "-o", "JobID,State"],
    ):
        try:
            rows = [line.split("|") for line in run(words).splitlines()]
        except OrchError:  # squeue refuses ids that it has forgotten; sacct needs accounting
            continue
        if rows:
            return {row[0].strip(): row[1].split(" ")[0] for row in rows if len(row) == 2}
    return {}


def look(task: str) -> Tuple[str, str]:
    """Return the state of an attempt's lock as Slurm tells it: `held`, `free` or `unknown`, and the proof in words."""
    try:
        if task in queue() or task in queue(0.0):  # it may have begun after the answer that we remember
            return "held", ""
    except OrchError as error:
        return "unknown", error.message
    how = endings(task).get(task, "")
    how = "" if how in _GOING else how  # books that are behind: squeue has it no more
    return "free", "Slurm no longer has job {}{}".format(task, ": " + how if how else "")


def ousted(task: str) -> str:
    """Return why the job that we are was asked to leave: `CANCELLED` by a person, else the reason in words.

    Slurm writes it where its batch step complains; squeue only says that the job is leaving.
    """
    with open("/proc/self/fd/2", encoding="utf-8", errors="replace") as handle:
        said = re.compile(r"JOB {} ON \S+ CANCELLED AT \S+( DUE TO [^*]*)? \*\*\*".format(os.environ["SLURM_JOB_ID"]))
        found = said.findall(handle.read())
    if found:
        return found[-1].replace("DUE TO", "").strip().lower() or CANCELLED
    state = endings(task).get(task, "")
    return "its time limit is near" if state == "RUNNING" else state


def cancel(tasks: List[str], signal: str = "") -> bool:
    """End jobs, or send a signal to their watchers; False when Slurm does not take the order."""
    if not tasks:
        return True
    try:
        run(["scancel", *(["--batch", "--signal=" + signal] if signal else []), *tasks])
    except OrchError:
        return False
    return True


def task_of(job: Any) -> str:
    """Return the id of Slurm's job in which an attempt runs, empty when it was not started by Slurm."""
    return str(_given(job).get("job") or "")


def login_of(job: Any) -> str:
    """Return the host in whose queue an attempt stood that Slurm started, else an empty text."""
    return str(_given(job).get("login") or "")


def asked(job: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """Return what Slurm is asked for besides a job's resources; None when Slurm is not to start it."""
    found = (job.get("placement") or {}).get("slurm")
    return found if isinstance(found, dict) else None


def avoiding(after: Dict[str, Any], failed: Any) -> Dict[str, Any]:
    """Return a next attempt's words with the node excluded on which the attempt before it failed, if Slurm chose it."""
    node, given = str(_given(failed).get("node") or ""), asked(after)
    if not node or given is None:
        return after
    nodes = ",".join(filter(None, (given.get("exclude"), node)))
    placement = {**after["placement"], "slurm": {**given, "exclude": nodes}}
    return {**after, "placement": placement, "retry": {**after["retry"], "not_on": node}}


def _given(job: Any) -> Mapping[str, Any]:
    for key in ("claim", "device", "slurm"):
        job = job.get(key) if isinstance(job, dict) else None
    return job if isinstance(job, dict) else {}


def words(reason: str) -> str:
    """Return Slurm's reason for a job that waits in words, with its own name for it."""
    plain = reason.split(",")[0].strip("()")
    known = _REASONS.get(plain) or ("a limit of your account or QOS is reached" if _LIMITS.match(plain) else "")
    return "{} (Slurm: {})".format(known, reason) if known else "Slurm: {}".format(reason)


def array_limit() -> int:
    """Return how many jobs one array may have (`MaxArraySize`); a careful number when Slurm does not tell."""
    try:
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", run(["scontrol", "show", "config"]), re.MULTILINE)
    except OrchError:
        found = None
    return max(1, int(found.group(1)) - 1) if found else 100


def capacity(partition: Optional[str] = None) -> "Tuple[int, int]":
    """Return cores and cards of a partition (None: of all), each node counted once; what is down counts too.

    Raises
    ------
    OrchError
        Slurm does not answer.
    """
    told = run(["sinfo", "-h", "-N", "-o", "%N|%c|%G", *(["-p", partition] if partition else [])])
    nodes = {row[0]: row for row in (line.split("|") for line in told.splitlines()) if len(row) == 3}
    cards = sum(int(count) for row in nodes.values() for count in re.findall(r"gpu:(?:[^:,(]+:)?(\d+)", row[2]))
    return sum(int(row[1].rstrip("+")) for row in nodes.values()), cards


def longest(partition: Optional[str] = None) -> Optional[int]:
    """Return the minutes that a job may take in a partition (None: the default one); None when Slurm does not say.

    Slurm's words are `infinite`, or `[days-]hours:minutes:seconds` without leading zeros (sinfo(1), `%l`).
    """
    try:
        told = run(["sinfo", "-h", "-o", "%R|%P|%l", *(["-p", partition] if partition else [])])
    except OrchError:
        return None
    rows = [line.split("|") for line in told.splitlines() if line.count("|") == 2]
    found = next((row[2] for row in rows if partition or row[1].endswith("*")), "")
    if found == "infinite":
        return _YEAR
    match = re.match(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d\d\Z", found)
    if not match:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes
