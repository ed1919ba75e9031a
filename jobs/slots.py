"""CPU, GPU and job slots of this host: each is a lock file, held by the watcher and inherited by its job.

A slot is free when the last process of the job that leased it is gone, whatever became of keeper and watcher.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from . import limits
from .atomic import read_json, write_json
from .folder import HostFolder
from .lease import take


class Lease(NamedTuple):
    """Slots taken: their descriptors, and what the job may use, with the reason."""

    descriptors: List[int]
    device: Dict[str, Any]

    def close(self) -> None:
        """Give up this process's hold."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Slots:
    """The slots of one host."""

    def __init__(self, local: HostFolder) -> None:
        self._local = local
        self._cards: Optional[List[str]] = None
        self.refresh()

    def refresh(self) -> None:
        """Read the limits again (`set_limit`), and forget the list of GPUs."""
        cores = limits.cpus().value or 1
        self.jobs: int = limit_of(self._local) or cores  # jobs side by side
        self.cpus = max(cores, self.jobs)
        self._cards = None

    def lease(self, resources: Mapping[str, Any]) -> Optional[Lease]:
        """Take what a job needs, all or nothing; None while something is in use.

        More CPUs than the host has are served with all of them; GPUs are never fewer than asked.
        """
        cpus = min(max(1, resources.get("cpus", 1)), self.cpus)
        wanted = [("job", 1, _names(self.jobs)), ("cpu", cpus, _names(self.cpus))]
        if resources.get("gpus"):
            wanted.append(("gpu", resources["gpus"], self.gpus()))
        taken: Dict[str, List[str]] = {}
        descriptors: List[int] = []
        for kind, count, names in wanted:
            taken[kind] = self._take(kind, count, names, descriptors)
            if len(taken[kind]) < count:
                Lease(descriptors, {}).close()
                return None
        gpus = taken.get("gpu", [])
        why = "no other job of orch holds it" if gpus else "no GPU asked for"
        return Lease(descriptors, {"slot": int(taken["job"][0]), "cpus": cpus, "gpus": gpus, "why": why})

    def gpus(self) -> List[str]:
        """UUIDs of the cards that nvidia-smi names, asked once until `refresh`."""
        if self._cards is None:
            from .gpu import cards  # most queues ask for none: the keeper starts without it

            self._cards = [card.uuid for card in cards()]
        return self._cards

    def _take(self, kind: str, count: int, names: List[str], descriptors: List[int]) -> List[str]:
        taken: List[str] = []
        for name in names:
            descriptor = take(self._local.slot(kind, name)) if len(taken) < count else None
            if descriptor is not None:
                descriptors.append(descriptor)
                taken.append(name)
        return taken


def set_limit(local: HostFolder, jobs: int) -> None:
    """Remember how many jobs may run side by side on this host (0: as many as its cores)."""
    write_json(_limits_path(local), {"jobs": jobs}, sync=False)


def limit_of(local: HostFolder) -> Optional[int]:
    """Return how many jobs may run side by side, None where nobody has said it."""
    said = read_json(_limits_path(local))
    limit = said.get("jobs") if isinstance(said, dict) else None
    return limit if isinstance(limit, int) and limit > 0 else None


def _limits_path(local: HostFolder) -> str:
    return os.path.join(local.path, "limits.json")


def _names(count: int) -> List[str]:
    return [str(number) for number in range(count)]
