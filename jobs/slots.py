"""CPU, GPU and job slots of this host: each is a lock file, held by the watcher and inherited by its job.

A slot is free when the last process of the job that leased it is gone, whatever became of keeper and watcher.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import limits
from .atomic import read_json, write_json
from .folder import HostFolder
from .lease import take

if TYPE_CHECKING:
    from .cards import Cards, Taken


class Lease(NamedTuple):
    """Slots taken: their descriptors, and what the job may use, with the reason; `signs` are those of cards."""

    descriptors: List[int]
    device: Dict[str, Any]
    signs: Tuple[int, ...] = ()

    def close(self) -> None:
        """Give up this process's hold."""
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):  # Linux frees it even then (close(2)); the others must go too
                os.close(descriptor)

    def sign(self) -> None:
        """Say in the leases of cards that this process has their jobs."""
        if self.signs:
            from .cards import sign

            sign(self.signs)


class Slots:
    """The slots of one host."""

    def __init__(self, local: HostFolder) -> None:
        self._local = local
        self._cards: Optional[Cards] = None
        self.refresh()

    def refresh(self) -> None:
        """Read the limits again (`set_limit`), and forget what is known of the cards."""
        cores = limits.cpus().value or 1
        self.jobs: int = limit_of(self._local) or cores  # jobs side by side
        self.cpus = max(cores, self.jobs)
        self._cards = None

    def lease(self, resources: Mapping[str, Any]) -> Optional[Lease]:
        """Take what a job needs, all or nothing; None while something is in use by jobs of ours.

        More CPUs than the host has are served with all of them; GPUs are never fewer than asked.

        Raises
        ------
        InUse
            Other people are on the cards (`cards`).
        """
        held: List[int] = []
        device: Dict[str, Any] = {}
        try:
            device, signs = self._take_all(resources, held)
        finally:
            if not device:
                Lease(held, {}).close()
        return Lease(held, device, signs) if device else None

    def _take_all(self, resources: Mapping[str, Any], held: List[int]) -> Tuple[Dict[str, Any], Tuple[int, ...]]:
        """Add to what is held, kind by kind; an empty device when one is short."""
        cpus = min(max(1, resources.get("cpus", 1)), self.cpus)
        slot = self._take("job", 1, _names(self.jobs), held)
        if not slot or len(self._take("cpu", cpus, _names(self.cpus), held)) < cpus:
            return {}, ()
        device = {"slot": int(slot[0]), "cpus": cpus, "gpus": [], "why": "no GPU asked for"}
        if not resources.get("gpus"):
            return device, ()
        cards = self._take_cards(resources)
        if cards is None:
            return {}, ()
        held += cards.descriptors
        why = "nobody else uses it, and no other job of orch holds it"
        return {**device, "gpus": [card.uuid for card in cards.cards], "why": why}, tuple(cards.signs)

    def _take_cards(self, resources: Mapping[str, Any]) -> "Optional[Taken]":
        from .cards import Cards  # most queues ask for none: the keeper starts without it
        from .courtesy import need_of

        self._cards = self._cards or Cards(self._local)
        return self._cards.take(resources["gpus"], need_of(resources))

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
