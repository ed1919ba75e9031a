"""Which job runs on which host: whole blocks first, so that a fair comparison exists early. Pure.

A block is what a comparison needs together (one fold and seed with all strategies). It goes to hosts of one kind, that
compute alike; among kinds to the one that would finish it first, within a kind to the lane that is free first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs import gpu
from jobs.atomic import canonical
from jobs.spec import JobSpec, Resources

from .plan import Capacity
from .progress import duration

UNKNOWN = 60.0  # seconds that a job counts where no host has run any like it


class Offer(NamedTuple):
    """What a host offers to a sweep.

    Attributes
    ----------
    host, kind:
        Its name; what hosts that compute alike have in common.
    lanes:
        Jobs that run there side by side.
    seconds:
        Seconds that one job takes there, or None where nobody knows.
    ahead:
        Jobs that run or wait there already.
    """

    host: str
    kind: str
    lanes: int
    seconds: float | None = None
    ahead: int = 0


class Block(NamedTuple):
    """Jobs (ids) that a comparison needs together, and what they have in common (`fold 1`), or an empty text."""

    name: str
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Placed:
    """The outcome.

    Attributes
    ----------
    hosts:
        Host by job id.
    reasons:
        Why, by job id.
    finish:
        Seconds until each host's last job ends.
    first:
        Name of the first block, and the seconds until it has ended.
    seconds, known:
        Seconds of one job by host, as they were counted; the hosts where that is known.
    """

    hosts: Mapping[str, str]
    reasons: Mapping[str, str]
    finish: Mapping[str, float]
    first: tuple[str, float] = ("", 0.0)
    seconds: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


NOTHING = Placed({}, {}, {})


class _Lanes:
    """When each lane of each host is free."""

    def __init__(self, offers: Sequence[Offer], seconds: Mapping[str, float]) -> None:
        self._order = {offer.host: number for number, offer in enumerate(offers)}
        self.seconds = seconds
        self.free: dict[str, list[tuple[float, int, str]]] = {}
        for offer in offers:
            wait = offer.ahead * seconds[offer.host] / max(1, offer.lanes)
            row = (wait, self._order[offer.host], offer.host)
            self.free.setdefault(offer.kind, []).extend([row] * offer.lanes)
        for lanes in self.free.values():
            heapq.heapify(lanes)

    def try_block(self, kind: str, jobs: int) -> tuple[float, list[tuple[float, int, str]], list[str]]:
        """Return when the block would end on hosts of a kind, the lanes after that, and each job's host."""
        lanes, hosts, end = list(self.free[kind]), [], 0.0
        for _ in range(jobs):
            begin, number, host = min(lanes, key=lambda lane: (lane[0] + self.seconds[lane[2]], lane[1]))
            lanes.remove((begin, number, host))
            lanes.append((begin + self.seconds[host], number, host))
            hosts.append(host)
            end = max(end, begin + self.seconds[host])
        return end, lanes, hosts


def place(blocks: Iterable[Block], offers: Sequence[Offer]) -> Placed:
    """Place jobs on hosts.

    Parameters
    ----------
    offers:
        In the order in which hosts are preferred where they are equal; at least one, each with at least one lane.
    """
    known = [offer.seconds for offer in offers if offer.seconds]
    usual = sum(known) / len(known) if known else UNKNOWN
    seconds = {offer.host: offer.seconds or usual for offer in offers}
    lanes = _Lanes(offers, seconds)
    hosts: dict[str, str] = {}
    reasons: dict[str, str] = {}
    finish: dict[str, float] = {}
    first = ("", 0.0)
    for block in blocks:
        end, kind = min((lanes.try_block(kind, len(block.jobs))[0], number) for number, kind in enumerate(lanes.free))
        chosen = list(lanes.free)[kind]
        end, lanes.free[chosen], taken = lanes.try_block(chosen, len(block.jobs))
        hosts.update(zip(block.jobs, taken, strict=True))
        reasons.update(dict.fromkeys(block.jobs, _why(block, chosen, end, bool(known), len(offers))))
        first = first if first[0] or not block.name else (block.name, end)
    used = set(hosts.values())
    for free in lanes.free.values():
        for end, _, host in free:
            finish[host] = max(end, finish.get(host, 0.0)) if host in used else 0.0
    return Placed(hosts, reasons, finish, first, seconds, frozenset(offer.host for offer in offers if offer.seconds))


def _why(block: Block, kind: str, end: float, known: bool, offers: int) -> str:
    if offers == 1:
        return "the only host that was asked for"
    where = f"hosts of one kind ({kind})" if kind else "the host"
    when = f" in about {duration(end)}" if known else " (no history: all hosts counted as equal)"
    return f"{block.name or 'it'} ends first on {where}{when}"


def blocks_of(specs: Sequence[JobSpec]) -> list[Block]:
    """Return the blocks of a sweep's jobs, in their order: one for each fold and seed, else one for each job."""
    if not specs or "fold" not in specs[0].names:
        return [Block("", (spec.id,)) for spec in specs]
    keys = [key for key in ("fold", "seed") if key in specs[0].names]
    several = len({canonical(spec.names.get("seed")) for spec in specs}) > 1
    found: dict[str, list[str]] = {}
    for spec in specs:
        shown = [f"{key} {spec.names[key]}" for key in keys if key != "seed" or several]
        found.setdefault(", ".join(shown), []).append(spec.id)
    return [Block(name, tuple(jobs)) for name, jobs in found.items()]


def lanes(needs: Resources, capacity: Capacity) -> int:
    """Return how many jobs run side by side on a host; 0: none ever can."""
    side_by_side = max(1, capacity.cpus // max(1, needs.cpus))
    kind, kinds = needs.gpu_type, capacity.kinds
    if needs.gpus and kind and kinds is not None and not gpu.has_kind(kind, kinds):
        return 0
    if needs.gpus:
        share = max(1, (capacity.card_mb or 0) // needs.gpu_memory_mb) if needs.gpu_memory_mb else 1
        side_by_side = min(side_by_side, capacity.gpus // needs.gpus * share)
    return min(side_by_side, capacity.parallel) if capacity.parallel else side_by_side


def describe(placed: Placed) -> list[str]:
    """Return the placement in words: jobs by host, when each is through, when the first comparison is there."""
    counts: dict[str, int] = {}
    for host in placed.hosts.values():
        counts[host] = counts.get(host, 0) + 1
    parts = [f"{host} {counts[host]}" for host in placed.seconds if host in counts]
    lines = [f"{' · '.join(parts)}   ({_pace(placed, counts)})"]
    if not placed.known:
        return lines
    slowest = max(placed.finish, key=lambda host: placed.finish[host], default="")
    if slowest:
        lines.append(f"about {duration(placed.finish[slowest])}, {slowest} last")
    if placed.first[0] and len(set(placed.hosts)) > 1:
        lines.append(f"first complete comparison ({placed.first[0]}) after about {duration(placed.first[1])}")
    return lines


def _pace(placed: Placed, counts: Mapping[str, int]) -> str:
    if not placed.known:
        return "no history yet: all hosts counted as equal" if len(counts) > 1 else "no history yet"
    took = (f"{host} {duration(placed.seconds[host])}" for host in placed.seconds if host in counts)
    unknown = [host for host in counts if host not in placed.known]
    guessed = f"; {', '.join(unknown)} guessed" if unknown else ""
    return f"time of one job, from your history: {', '.join(took)}{guessed}"
