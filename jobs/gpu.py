"""GPUs of this machine in the words of `nvidia-smi`, which is looked for in PATH each time it is asked."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

TIMEOUT = 20.0  # seconds; without the persistence daemon a driver needs several to wake
# The name is last: it alone may hold a comma. An unknown column fails the whole query: old drivers get the short one.
_COLUMNS = ("index", "uuid", "driver_version", "memory.total", "memory.used", "utilization.gpu", "compute_cap", "name")
_SHORT = ("index", "uuid", "driver_version", "memory.total", "memory.used", "name")
_APPS = "--query-compute-apps=gpu_uuid,pid,used_memory,process_name"


class Card(NamedTuple):
    """One GPU; None where the driver says `[N/A]` (never 0: a card of unknown memory is not an empty one).

    Attributes
    ----------
    memory_total_mb, memory_used_mb:
        MiB.
    utilization:
        Percent of the last sample period in which a kernel ran.
    capability:
        Compute capability, for example `8.6`.
    """

    index: int  # type: ignore[assignment]  # hides that of tuples, which no card needs
    uuid: str
    name: str
    driver: str
    memory_total_mb: Optional[int] = None
    memory_used_mb: Optional[int] = None
    utilization: Optional[int] = None
    capability: Optional[str] = None

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return self._asdict()


def smallest_mb(cards: "List[Card]") -> Optional[int]:
    """Return the memory of the smallest card in MiB, or None where a card does not say."""
    known = [card.memory_total_mb for card in cards if card.memory_total_mb is not None]
    return min(known) if known and len(known) == len(cards) else None


def common_kind(cards: "List[Card]") -> "Tuple[str, ...]":
    """Return the name of cards that are all alike; none where they differ: a job is given any of them."""
    names = {card.name for card in cards}
    return tuple(names) if len(names) == 1 else ()


def has_kind(kind: str, names: "Iterable[str]") -> bool:
    """Tell whether one of these cards is of a kind: Slurm's `h100` is the driver's `NVIDIA H100 80GB HBM3`."""
    return any(_letters(kind) in _letters(name) for name in names)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


class Look(NamedTuple):
    """What was seen, and why: how the cards were found, or why there are none."""

    cards: List[Card]
    reason: str


def cards() -> List[Card]:
    """Return the GPUs of this machine in the driver's order; none when it has none or the driver does not answer."""
    return look().cards


def look(timeout: float = TIMEOUT, through: Sequence[str] = ()) -> Look:
    """Ask `nvidia-smi` for the cards; never raises, never waits longer than twice `timeout` seconds.

    Parameters
    ----------
    through:
        Words of a command that runs it on another machine.
    """
    program = "nvidia-smi" if through else shutil.which("nvidia-smi")
    if program is None:
        return Look([], "no nvidia-smi in PATH")
    reason = ""
    for columns in (_COLUMNS, _SHORT):
        text, reason = _ask(program, "--query-gpu=" + ",".join(columns), timeout, through)
        if text is not None:
            found = [card for card in (_card(columns, line) for line in text.splitlines()) if card]
            return Look(found, "{} lists {}".format(program, len(found)) if found else "nvidia-smi lists no card")
        if "not a valid field" not in reason:
            break
    return Look([], reason)


class App(NamedTuple):
    """A process that computes on a card; its memory in MiB, None where the driver does not tell."""

    uuid: str
    pid: int
    program: str
    memory_mb: Optional[int]


def apps(timeout: float = TIMEOUT) -> Optional[List[App]]:
    """Ask `nvidia-smi` who computes on the cards; None when it does not say."""
    program = shutil.which("nvidia-smi")
    text = _ask(program, _APPS, timeout)[0] if program else None
    if text is None:
        return None
    rows = ([cell.strip() for cell in line.split(",", 3)] for line in text.splitlines())
    return [
        App(row[0], int(row[1]), os.path.basename(row[3]) or row[3], _whole(row[2]))
        for row in rows
        if len(row) == 4 and row[1].isdigit()
    ]


def _ask(program: str, query: str, timeout: float, through: Sequence[str] = ()) -> Tuple[Optional[str], str]:
    """Return (output, "") or (None, why not)."""
    command = [*through, program, query, "--format=csv,noheader,nounits"]
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return None, "{} cannot be started: {}".format(os.path.basename(command[0]), error.strerror)
    with contextlib.ExitStack() as cleanup:
        if child.stdout:
            cleanup.callback(child.stdout.close)
        try:
            text = child.communicate(timeout=timeout)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            return None, _give_up(child, timeout)
    if child.returncode:
        said = " ".join(text.split())[:200] or "nothing"
        return None, "{} ended with {} and said: {}".format(os.path.basename(command[0]), child.returncode, said)
    return text, ""


def _give_up(child: "subprocess.Popen[bytes]", timeout: float) -> str:
    """Kill it, and go on even when the kernel cannot: a process that hangs in a dead driver takes no signal."""
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1)
    return "nvidia-smi did not answer within {:g} s: the driver may hang".format(timeout)


def _card(columns: Tuple[str, ...], line: str) -> Optional[Card]:
    cells = [cell.strip() for cell in line.split(",", len(columns) - 1)]
    if len(cells) != len(columns) or not cells[0].isdigit():
        return None
    row = {name: cells[place] for place, name in enumerate(columns)}
    return Card(
        index=int(row["index"]),
        uuid=row["uuid"],
        name=row["name"],
        driver=row["driver_version"],
        memory_total_mb=_whole(row["memory.total"]),
        memory_used_mb=_whole(row["memory.used"]),
        utilization=_whole(row.get("utilization.gpu", "")),
        capability=row["compute_cap"] if re.match(r"\d+\.\d+$", row.get("compute_cap", "")) else None,
    )


def _whole(cell: str) -> Optional[int]:
    return int(cell) if cell.isdigit() else None
