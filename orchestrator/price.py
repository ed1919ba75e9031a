"""What a sweep will cost before it runs: hours by host, finish, bytes and files against what is free. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .placement import Placed
from .progress import duration
from .words import counted

_BYTES = 4  # of a weight in fp32, as checkpoints hold them
_ADAM = 3  # the weights and two moments: what `last` holds (D. Kingma, J. Ba, ICLR 2015)
TRAINING_FILES = 9  # of a training that has ended, its folder included (docs/contract.md)
COMMAND_FILES = 4  # of a command that hands nothing in, its folder included
MARGIN = 1 << 28  # bytes that stay free: logs, and what others write meanwhile


@dataclass(frozen=True)
class Price:
    """The cost of the jobs that are due.

    Attributes
    ----------
    seconds, gpu_seconds:
        By host: until its last job ends; sum of its jobs' times with a card.
    new_bytes, new_files:
        What stays on disk, by orch home.
    peak_bytes:
        What is needed at most while jobs run, by orch home.
    """

    seconds: Mapping[str, float]
    gpu_seconds: Mapping[str, float]
    new_bytes: Mapping[str, int]
    peak_bytes: Mapping[str, int]
    new_files: Mapping[str, int]


def checkpoint_bytes(train: Mapping[str, Any], classes: int) -> tuple[int, int]:
    """Return the sizes of `best.pt` and `last.pt` of the 2D U-Net, in bytes (within a few kB).

    Counted from the network's form (`trainer/unet.py`; O. Ronneberger et al., MICCAI 2015, with batch normalisation):
    two 3 x 3 convolutions without bias in each level; on the way up a transposed one and two more; a 1 x 1 head.
    """
    width, depth, outputs = int(train["width"]), int(train["depth"]), classes + 1 if classes > 1 else 1
    channels = [width << level for level in range(depth + 1)]
    weights = normed = 0
    for before, after in zip([1, *channels[:-1]], channels, strict=True):
        weights += 9 * before * after + 9 * after * after
        normed += 2 * after
    for now in channels[:-1]:
        weights += 4 * 2 * now * now + now + 9 * 2 * now * now + 9 * now * now
        normed += 2 * now
    weights += width * outputs + outputs + 2 * normed  # the normalisation has a weight and a bias for each channel
    state = weights + 2 * normed  # and keeps mean and variance
    return _BYTES * state, _BYTES * (_ADAM * weights + 2 * normed)


def price(
    placed: Placed,
    homes: Mapping[str, str],
    lanes: Mapping[str, int],
    gpus: int,
    checkpoints: tuple[int, int] | None,
) -> Price:
    """Work out the cost.

    Parameters
    ----------
    homes:
        Orch home (its id) by host.
    lanes:
        Jobs side by side, by host.
    gpus:
        Cards of one job.
    checkpoints:
        Bytes of `best` and of `last`, or None: a command, of which nobody knows.
    """
    counts: dict[str, int] = {}
    for host in placed.hosts.values():
        counts[host] = counts.get(host, 0) + 1
    best, last = checkpoints or (0, 0)
    new: dict[str, int] = {}
    peak: dict[str, int] = {}
    files: dict[str, int] = {}
    for host, number in counts.items():
        home = homes[host]
        new[home] = new.get(home, 0) + number * best
        peak[home] = peak.get(home, 0) + number * best + min(number, lanes[host]) * (last + best)
        files[home] = files.get(home, 0) + number * (TRAINING_FILES if checkpoints else COMMAND_FILES)
    spent = {host: number * placed.seconds[host] * gpus for host, number in counts.items()}
    return Price({host: placed.finish[host] for host in counts}, spent, new, peak, files)


def lacking(cost: Price, room: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """Return what will not fit, in words: `free_bytes` and `free_files` by orch home (None: nobody knows)."""
    found = []
    for home, needed in cost.peak_bytes.items():
        free = room.get(home, {}).get("free_bytes")
        if free is not None and needed and needed + MARGIN > free:
            found.append(f"the jobs need {size(needed)} on disk, {size(free)} are free")
        left = room.get(home, {}).get("free_files")
        if left is not None and cost.new_files[home] > left:
            found.append(f"the jobs write {counted(cost.new_files[home], 'file')}, {left} more may be made")
    return found


def describe(cost: Price, room: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """Return the cost in lines."""
    lines = []
    for host, seconds in cost.seconds.items():
        cards = f", {cost.gpu_seconds[host] / 3600:.1f} GPU-hours" if cost.gpu_seconds[host] else ""
        lines.append(f"{host}: done in about {duration(seconds)}{cards}")
    for home, number in cost.new_files.items():
        free = room.get(home, {}).get("free_bytes")
        kept = f"{size(cost.new_bytes[home])} of checkpoints, " if cost.new_bytes[home] else ""
        there = f"; {size(free)} free" if free is not None else ""
        lines.append(f"disk: {kept}{counted(number, 'file')}{there}")
    return lines


def size(count: float) -> str:
    """Return bytes for people: `13.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
