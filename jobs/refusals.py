"""What sbatch says when it does not take an array: whether waiting mends it, what it means, and the repair. Pure.

Behind every limit of an association or a QOS stands one general sentence, which speaks of size, time and number alike.
It says nothing: the reason that sbatch prints before it does.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Tuple

FINAL = "final"  # no waiting mends it: a person must look
FULL = "full"  # as much is in Slurm as it admits: the rest waits with us
LARGE = "large"  # one array may not have so many jobs
LATER = "later"  # it took nothing, and will when something else has passed
UNSURE = "unsure"  # perhaps Slurm took it all the same: it is looked for, then asked again
UNKNOWN = "unknown"  # words that nobody here knows: looked for, asked again a few times, then held for a person


class Refusal(NamedTuple):
    """What follows, what it means in words (empty: only Slurm's own words are known), and the command that repairs it.

    `said` is what sbatch printed; `reason` is Slurm's own word for a limit (`QOSMaxGRESPerUser`), where it gave one.
    """

    kind: str
    words: str
    hint: str
    said: str
    reason: str = ""

    def __str__(self) -> str:
        return "{} (Slurm: {})".format(self.words, self.said) if self.words else self.said


_KEY = "slurm: {{{}: ...}} of this host in the site file"
_LIMITS = "sacctmgr show assoc user=$USER and sacctmgr show qos tell your limits"
_HANDED = "nothing to mend: the rest is handed in as others end"
_MANY = "as many jobs are in Slurm as it admits at once"
_NOTHING = "nothing to mend: it is asked again"
_LESS = "ask for less (resources: in the sweep file), or another partition; sinfo -o '%P %c %m %G' tells what it has"
_TIME = "make time_limit smaller, or slurm: {time: ...} of this host in the site file; sinfo -o '%P %l' tells the most"
_OPTIONS = "correct slurm: {options: ...} of this host in the site file"

_GENERAL = re.compile(r"Job violates accounting(/QOS)? policy( \([^)]*\))?", re.IGNORECASE)
_LIMIT = re.compile(r"\b((?:QOS|Assoc|Part|MaxSubmit|Association)[A-Z]\w+|MaxSubmit\w*)\b")
_Row = Tuple[str, str, str, str]  # words of Slurm, kind, our words, repair

# Slurm's reasons behind the general sentence, by their parts; the first that fits wins (src/slurmctld/job_reason.c).
_REASONS: "Tuple[_Row, ...]" = (
    (r"Submit", FULL, _MANY, _HANDED),
    (r"Minutes|Billing|RunMins|CPUMins|Threshold|GrpWall", FINAL,
     "the computing budget of your account or QOS does not cover it", _LIMITS),
    (r"Wall|TimeLimit|DurationPerJob|Time$", FINAL, "it asks for more time than is admitted", _TIME),
    (r"^QOSMin|Min(Cpu|GRES|Mem|Node)", FINAL, "it asks for less than this QOS wants", _LIMITS),
    (r"GRES|Gres|License", FINAL, "it asks for more cards than your account or QOS may have", _LIMITS),
    (r"Mem", FINAL, "it asks for more memory than your account or QOS may have", _LIMITS),
    (r"Cpu|CPU", FINAL, "it asks for more cores than your account or QOS may have", _LIMITS),
    (r"Node", FINAL, "it asks for more nodes than your account or QOS may have", _LIMITS),
    (r"NotAllowed|Account", FINAL, "this account may not be used with this QOS or partition",
     "correct " + _KEY.format("account")),
    (r"TRES|Energy|BB|PerJob|PerNode", FINAL, "it asks for more than one job of yours may have", _LIMITS),
    (r"Jobs?(Limit|Per|$)|MaxJobs|GrpJobs", FULL, _MANY, _HANDED),
)  # fmt: skip

# Other words, from src/common/slurm_errno.c, from sbatch itself and from plugins that look at a job before.
_ROWS: "Tuple[_Row, ...]" = (
    (r"Unable to contact|timed out|Zero Bytes|does not answer within|Connection (refused|reset)|connect failure|"
     r"(send|receive|shutdown) failure|Transport endpoint|missing socket|message length|Broken pipe|cannot be read",
     UNSURE, "", ""),
    (r"temporarily unable to accept job|MaxJobCount|Resource temporarily unavailable", FULL,
     _MANY, _HANDED),
    (r"MaxSubmit|submit limit reached", FULL, _MANY, _HANDED),
    (r"MaxArraySize|job array spec|array index", LARGE, "it has more jobs than one array may have", "nothing to mend"),
    (r"Rate limit exceeded|try again|retry momentarily|standby mode|submissions disabled|presently disabled|"
     r"I/O error writing|No space left|Licenses currently unavailable|not usable now|not available now|"
     r"inactive or drain|Partition in DOWN state|maintenance|configuration source|configuration file|fetch config|"
     r"[Mm]unge|authentication error|Interrupted system call|cannot be started", LATER, "", _NOTHING),
    (r"Access/permission denied", FINAL, "jobs of yours are not taken there", _LIMITS),
    (r"group not permitted to use this partition|nodes not in this partition", FINAL,
     "this partition is not yours to use", "correct " + _KEY.format("partition") + "; sinfo -s lists them"),
    (r"reservation", FINAL, "this reservation is not there, not yours, or over",
     _OPTIONS + "; scontrol show reservation"),
    (r"invalid account|account/partition combination", FINAL, "this account may not be used there",
     "correct " + _KEY.format("account") + "; sacctmgr show assoc user=$USER lists yours"),
    (r"invalid qos|QOS usage threshold", FINAL, "this QOS does not exist, or is not yours",
     "correct " + _KEY.format("qos") + "; sacctmgr show assoc user=$USER format=account,qos lists yours"),
    (r"invalid partition|partition name|No partition specified|Multiple partition", FINAL,
     "this partition does not exist, or is not yours", "correct " + _KEY.format("partition") + "; sinfo -s lists them"),
    (r"invalid (preferred )?feature|Active features|--batch option", FINAL, "no node has this feature",
     "correct " + _KEY.format("constraint") + "; sinfo -o '%P %f' lists them"),
    (r"wckey", FINAL, "this wckey is not valid", _OPTIONS),
    (r"license specification", FINAL, "this license is not known", _OPTIONS + "; scontrol show licenses"),
    (r"invalid node name|nodelist", FINAL, "a node that is named does not exist",
     "correct " + _KEY.format("exclude") + ", or its options; sinfo -N lists them"),
    (r"Generic resource|\bgres\b|Trackable RESource|\bTRES\b", FINAL, "the partition has no such cards",
     "ask for another partition or kind (gpu_type); sinfo -o '%P %G' tells which has cards"),
    (r"node configuration is not available|partition configuration|memory specification|Memory required by task|"
     r"more processors requested|node count|CPU count|core count|Task count|Job size", FINAL,
     "no node of the partition has that many cores, cards or that much memory", _LESS),
    (r"time limit is invalid", FINAL, "it asks for more time than is admitted, or names none", _TIME),
    (r"(time limit|--time)[^;]*(missing|required|not provided|specif)|"
     r"(missing|specify|provide|give|set)[^;]*(time limit|--time|walltime)", FINAL,
     "it wants to be told how long a job takes",
     "write " + _KEY.format("time") + " (minutes), or time_limit in the sweep; sinfo -o '%P %l' tells the most"),
    (r"(invalid|exceed|above|longer|too (long|large|high)|greater|more than|maximum|max)[^;]*(time|wall)|"
     r"(time|wall)[^;]*(invalid|exceed|above|longer|too (long|large|high)|greater|more than)|MaxWall", FINAL,
     "it asks for more time than is admitted", _TIME),
    (r"mutually exclusive|unrecognized option|invalid --|invalid option|ambiguous option|Invalid numeric value|"
     r"Invalid .*specification|not compatible|Burst Buffer|dependency|Pathname|Only batch jobs|not supported on this",
     FINAL, "sbatch does not take its options", _OPTIONS + ", or resources: in the sweep file"),
    (r"submitit is not installed|of the site file", FINAL, "", ""),
    (r"\bfatal:", FINAL, "", ""),
)  # fmt: skip


def read(said: str, hint: str = "") -> Refusal:
    """Return what follows from what sbatch said.

    Parameters
    ----------
    hint:
        The repair where no better one is known.
    """
    rest, general = _GENERAL.subn("", said)
    found = _LIMIT.search(rest)
    reason = found.group(1) if found else ""
    for pattern, kind, words, repair in _REASONS if reason else ():
        if re.search(pattern, reason):
            return Refusal(kind, words, repair, said, reason)
    if general or reason:
        return Refusal(FULL, "a limit of your account or QOS is reached", _LIMITS, said, reason)
    for pattern, kind, words, repair in _ROWS:
        if re.search(pattern, said, re.IGNORECASE):
            return Refusal(kind, words, repair or hint, said)
    return Refusal(UNKNOWN, "", hint, said)
