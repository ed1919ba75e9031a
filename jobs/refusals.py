"""What sbatch says when it does not take an array: whether waiting mends it, what it means, and the repair. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

FINAL = "final"  # no waiting mends it: a person must look
FULL = "full"  # as much is in Slurm as it admits: the rest waits with us
LARGE = "large"  # one array may not have so many jobs
UNSURE = "unsure"  # perhaps Slurm took it all the same: it is looked for, then asked again


class Refusal(NamedTuple):
    """What follows, what it means in words (empty: only Slurm's own words are known), and the command that repairs it.

    `said` is what sbatch printed.
    """

    kind: str
    words: str
    hint: str
    said: str

    def __str__(self) -> str:
        return "{} (Slurm: {})".format(self.words, self.said) if self.words else self.said


_KEY = "slurm: {{{}: ...}} of this host in the site file"
_LIMITS = "sacctmgr show assoc user=$USER and sacctmgr show qos tell your limits"

# The first row that fits wins; from Slurm's src/common/slurm_errno.c and the reasons that sbatch prints before.
_ROWS = (
    (
        r"MaxSubmit|submit limit reached|temporarily unable to accept job",
        FULL,
        "as many jobs are in Slurm as it admits at once",
        "nothing to mend: the rest is handed in as others end",
    ),
    (r"MaxArraySize|job array spec|array index", LARGE, "it has more jobs than one array may have", "nothing to mend"),
    (
        r"invalid account",
        FINAL,
        "this account may not be used there",
        "correct " + _KEY.format("account") + "; sacctmgr show assoc user=$USER lists yours",
    ),
    (
        r"invalid qos",
        FINAL,
        "this QOS does not exist, or is not yours",
        "correct " + _KEY.format("qos") + "; sacctmgr show assoc user=$USER format=account,qos lists yours",
    ),
    (
        r"invalid partition|partition name",
        FINAL,
        "this partition does not exist, or is not yours",
        "correct " + _KEY.format("partition") + "; sinfo -s lists them",
    ),
    (
        r"invalid feature",
        FINAL,
        "no node has this feature",
        "correct " + _KEY.format("constraint") + "; sinfo -o '%P %f' lists them",
    ),
    (
        r"node configuration is not available|memory specification|more processors requested|node count",
        FINAL,
        "no node of the partition has that many cores, cards or that much memory",
        "ask for less (resources: in the sweep file), or another partition; sinfo -o '%P %c %m %G' tells what it has",
    ),
    (
        r"generic resource|\bgres\b",
        FINAL,
        "the partition has no such cards",
        "ask for another partition; sinfo -o '%P %G' tells which has cards",
    ),
    (
        r"time limit|MaxWall",
        FINAL,
        "it asks for more time than is admitted",
        "make time_limit smaller, or slurm: {time: ...} of this host in the site file; sinfo -o '%P %l' tells the most",
    ),
    (r"MaxTRES|MaxCpu|MaxGRES|MaxNode|MinTRES", FINAL, "it asks for more than one job of yours may have", _LIMITS),
    (r"accounting/QOS policy", FULL, "a limit of your account or QOS is reached", _LIMITS),
    (r"submitit is not installed|unrecognized option|invalid --", FINAL, "", ""),
)


def read(said: str, hint: str = "") -> Refusal:
    """Return what follows from what sbatch said.

    Parameters
    ----------
    hint:
        The repair where no better one is known.
    """
    for pattern, kind, words, repair in _ROWS:
        if re.search(pattern, said, re.IGNORECASE):
            return Refusal(kind, words, repair or hint, said)
    return Refusal(UNSURE, "", hint, said)
