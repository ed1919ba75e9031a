"""One partition of a Slurm as a plan sees it: processor, size, kinds of cards, and the environment made for it.

The login node's own processor and cards say nothing of what its jobs will find.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from . import envs, slurm, slurmlook
from .folder import Home


def part(home: Home, asked: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what the jobs of a partition will find.

    Parameters
    ----------
    asked:
        What Slurm is asked for there: `partition` (None: its default), and `arch`, which is believed before Slurm.

    Returns
    -------
    dict
        `arch`, and `login_arch`, this machine's; `slurm`: cores and cards; `cards`: `{"name"}` of each kind that Slurm
        tells; `environment` and `environments` of that architecture, as `briefing.brief` has them.

    Raises
    ------
    OrchError
        Slurm does not answer.
    """
    size = slurm.capacity(asked.get("partition"))
    nodes = slurmlook.nodes(asked.get("partition"))
    here, arch = envs.architecture(), _architecture(asked, nodes)
    kinds = {kind for node in nodes for kind, _ in slurmlook.cards(node)}
    return {"arch": arch, "login_arch": here, "slurm": size, "cards": [{"name": kind} for kind in sorted(kinds)],
            **environments(home, arch)}  # fmt: skip


def architecture(asked: Mapping[str, Any]) -> str:
    """Return the processor of a partition: as the site file says, else as Slurm tells, else this machine's."""
    return _architecture(asked, slurmlook.nodes(asked.get("partition")))


def _architecture(asked: Mapping[str, Any], nodes: List[Dict[str, str]]) -> str:
    here = envs.architecture()
    machines = {envs.architecture(node["Arch"]) for node in nodes if node.get("Arch")}
    return str(asked.get("arch") or (here if here in machines or not machines else min(machines)))


def environments(home: Home, arch: str) -> Dict[str, Any]:
    """Return `environment`, the newest verified one of an architecture, or None, and `environments`: why the others."""
    found = envs.found(home, arch)
    return {
        "environment": next((env for env in found if env["state"] == envs.VERIFIED), None),
        "environments": [{key: env[key] for key in ("prefix", "state", "reason")} for env in found],
    }
