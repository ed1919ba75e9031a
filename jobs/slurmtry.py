"""What needs a card where the login node has none: run as a job of Slurm with one card, by srun."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping

from . import envs, gpu, slurm_options, slurmparts
from .errors import OrchError, UsageError
from .slurm_client import run, unsteered

if TYPE_CHECKING:
    from .agent import Agent

MINUTES = 15  # time limit of such a job; a short one is begun earlier
LOOK_WAIT = 120  # seconds until a card must have come free for a look at it
TRY_WAIT = 1800  # the same for the test of an environment: it has been made by then
_KEYS = ("partition", "account", "qos", "constraint", "exclude")


@contextlib.contextmanager
def with_card(asked: Mapping[str, Any], wait: int) -> Iterator[List[str]]:
    """Give the words to put before a command that shall run with one card; whatever becomes of it, no job is left.

    Parameters
    ----------
    asked:
        What the site file asks of Slurm on this host.
    wait:
        Seconds after which srun gives up while no card is free.
    """
    name = "orch-setup.{}".format(os.urandom(8).hex())
    own = {"job-name": name, "ntasks": 1, "immediate": wait}
    minutes = min(MINUTES, asked.get("time") or MINUTES)
    given = {**{key: asked.get(key) for key in _KEYS}, "time": minutes, **slurm_options.merged({"gpus": 1}, asked)}
    try:
        yield [*unsteered(), "srun", *slurm_options.words({**given, **own})]
    finally:
        with contextlib.suppress(OrchError):  # of an srun that was killed something may be left
            run(["scancel", "--user={}".format(os.getuid()), "--name=" + name])


def cards_of_jobs(agent: Agent, asked: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the cards that jobs find, as one job with one card sees them: `gpus` and `reason`, as `probe` has them.

    Raises
    ------
    UsageError
        The nodes have another processor than we.
    OrchError
        Slurm does not answer, refuses the job, or has no card free in time.
    """
    arch, here = slurmparts.architecture(asked), envs.architecture()
    if arch != here:
        text = "the nodes of {} are {}, and this login node, which would make their environment, is {}"
        hint = "name a Python for them in the site file: python: {{{}: /path/to/bin/python}}".format(arch)
        raise UsageError(text.format(asked.get("partition") or "the partition", arch, here), hint)
    with with_card(asked, LOOK_WAIT) as words:
        seen = gpu.look(LOOK_WAIT + gpu.TIMEOUT, words)
    if not seen.cards:
        text = "the login node has no GPU, and a job of Slurm saw none: {}".format(seen.reason)
        raise OrchError(text, "correct `slurm:` in the site file, or try again when a card is free")
    return {"gpus": [card.to_json() for card in seen.cards], "reason": "seen by a job of Slurm"}
