"""What Slurm tells of a job: whether it is there, how it ended, why it waits; and what its partitions have.

A job that one answer lacks has not ended. It has on a witness: its own exit record, a terminal state in squeue, at the
controller or in the books; or when looks that were answered well have missed it over minutes (`absences`).
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from . import absences
from . import slurm_client as client
from .errors import OrchError
from .folder import HostFolder
from .slurm_client import Listing, Shell

SOON = 0.5  # seconds that squeue's answer may be old in which a job is missing: many may be
CANCELLED, NODE_FAIL = "CANCELLED", "NODE_FAIL"

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


class Handle(NamedTuple):
    """What names one of Slurm's jobs so that no other is meant.

    Attributes
    ----------
    task:
        Its id.
    name:
        Of its array, unique: what is told of another job under this id does not count. Empty: not known.
    cluster:
        Where it was taken in, where known: another one's silence says nothing of it.
    shell:
        Variables with which that Slurm is found (`queueing_shell.load`).
    """

    task: str
    name: str = ""
    cluster: str = ""
    shell: Shell = None


class Fate(NamedTuple):
    """What became of one of Slurm's jobs.

    Attributes
    ----------
    lock:
        `held` while it waits or runs, `free` once it is proved to have left, `unknown` while nothing is proved.
    state:
        Slurm's word for its end, where it has one.
    proof:
        In words.
    """

    lock: str
    state: str = ""
    proof: str = ""


def fate(job: Handle, local: HostFolder, begun: bool = True) -> Fate:
    """Return what became of a job: it is over on a witness of its end, or when several looks over minutes miss it.

    Parameters
    ----------
    local:
        Where looks are noted that did not find it.
    begun:
        False: its attempt has not. Then less is at stake, for it finds its folder taken should it begin after all, and
        two looks are enough in which the controller has listed all others of its array.

    Raises
    ------
    OrchError
        Slurm does not answer.
    """
    seen = client.listing(shell=job.shell)
    if seen.task(job.task, job.name) is None:
        seen = client.listing(SOON, job.shell)  # it may have begun after the answer that we remember
    row, told = seen.task(job.task, job.name), client.Told({})
    if row is None or not row.alive:  # squeue may be a wrapper that answers from a cache: the controller counts more
        told = client.witnesses(job.task.partition("_")[0], job.name, job.shell)
        row = told.tasks.get(job.task) or row
    if row is None:
        return _absent(job, local, seen, told, begun)
    if row.alive:
        absences.found(local, job.task)
        return Fate("held", row.state)
    return Fate("free", row.state, "Slurm no longer has job {}: {}".format(job.task, row.state))


def _absent(job: Handle, local: HostFolder, seen: Listing, told: client.Told, begun: bool) -> Fate:
    """Nobody tells of it. That counts where the controller says so itself, or has listed others of this user whole."""
    if job.name and seen.is_unclear(job.task.partition("_")[0], job.name):
        return Fate("unknown", "", "squeue prints the ids of its array in a way that cannot be read")
    here = client.cluster(job.shell) if job.cluster else ""
    if here != job.cluster:
        return Fate("unknown", "", "it is in the cluster {}, and {} answers".format(job.cluster, here or "none"))
    answered = told.unknown or told.whole or (any(other.alive for other in seen.tasks.values()) and not seen.torn)
    if answered and absences.missed(local, job.task, listed=told.whole and not begun):
        return Fate("free", "", "Slurm no longer has job {}: several looks missed it".format(job.task))
    return Fate("unknown", "", "squeue does not list job {}, and nothing tells how it ended".format(job.task))


def handle(job: Any, shell: Shell = None) -> Handle:
    """Return what names the job of Slurm in which an attempt runs."""
    given = _given(job)
    task, name, cluster = (str(given.get(key) or "") for key in ("job", "name", "cluster"))
    return Handle(task, name, cluster, shell)


def look(job: Handle, local: HostFolder) -> Tuple[str, str]:
    """Return the state of an attempt's lock as Slurm tells it: `held`, `free` or `unknown`, and the proof in words."""
    try:
        found = fate(job, local)
    except OrchError as error:
        return "unknown", error.message
    return found.lock, found.proof


def ousted(task: str) -> str:
    """Return why the job that we are was asked to leave: `CANCELLED` by a person, else the reason in words.

    Slurm writes it where its batch step complains; squeue only says that the job is leaving.
    """
    with open("/proc/self/fd/2", encoding="utf-8", errors="replace") as handle:
        said = re.compile(r"JOB {} ON \S+ CANCELLED AT \S+( DUE TO [^*]*)? \*\*\*".format(os.environ["SLURM_JOB_ID"]))
        found = said.findall(handle.read())
    if found:
        return found[-1].replace("DUE TO", "").strip().lower() or CANCELLED
    try:
        row = client.listing(0.0).task(task) or client.witnesses(task.partition("_")[0]).tasks.get(task)
    except OrchError:
        return ""
    return "its time limit is near" if row and row.state == "RUNNING" else row.state if row else ""


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


def config(shell: Shell = None) -> "Tuple[int, str]":
    """Return how many jobs one array may have (`MaxArraySize`; 0: no arrays) and the cluster's name.

    A careful number and an empty name where Slurm does not tell.
    """
    try:
        told = client.run(["scontrol", "show", "config"], shell=shell)
    except OrchError:
        return 100, ""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", told, re.MULTILINE)
    return max(0, int(found.group(1)) - 1) if found else 100, client.cluster_in(told)


def capacity(partition: Optional[str] = None) -> "Tuple[int, int]":
    """Return cores and cards of a partition (None: of all), each node counted once; what is down counts too.

    Raises
    ------
    OrchError
        Slurm does not answer.
    """
    told = client.run(["sinfo", "-h", "-N", "-o", "%N|%c|%G", *(["-p", partition] if partition else [])])
    rows = [line.strip().split("|") for line in told.splitlines()]
    nodes = {row[0]: row for row in rows if len(row) == 3 and re.match(r"\d+\+?\Z", row[1])}
    cards = sum(int(count) for row in nodes.values() for count in re.findall(r"gpu:(?:[^:,(]+:)?(\d+)", row[2]))
    return sum(int(row[1].rstrip("+")) for row in nodes.values()), cards


def longest(partition: Optional[str] = None, shell: Shell = None) -> Optional[int]:
    """Return the minutes that a job may take in a partition (None: the default one); None when Slurm does not say.

    Slurm's words are `infinite`, or `[days-]hours:minutes:seconds` without leading zeros (sinfo(1), `%l`).
    """
    words = ["sinfo", "-h", "-o", "%R|%P|%l", *(["-p", partition] if partition else [])]
    try:
        told = client.run(words, shell=shell)
    except OrchError:
        return None
    rows = [line.strip().split("|") for line in told.splitlines() if line.count("|") == 2]
    found = next((row[2] for row in rows if partition or row[1].endswith("*")), "")
    if found == "infinite":
        return _YEAR
    match = re.match(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d\d\Z", found)
    if not match:
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes
