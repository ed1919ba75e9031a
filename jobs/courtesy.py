"""How this user shares cards with other people: the site's wishes, quiet hours, and whether a card may be used. Pure.

Without any wish a card is used only while nobody else holds more than a little of its memory.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .gpu import Card

FOREIGN_MB = 500  # MiB of a card that others may hold while we use it: an idle context or a display, no computing
LOOK_S = 20.0  # seconds between looks for other people while a job runs
GRACE_S = 120.0  # seconds that a job has to write its checkpoint and leave
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(?:(\w{3})(?:-(\w{3}))? +)?([01]\d|2[0-3]):([0-5]\d) ?- ?(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")
_CHAIN = 8  # windows that may follow one another without a gap until the first look


class Wishes(NamedTuple):
    """The site's key `courtesy`, as the host keeps it.

    Attributes
    ----------
    foreign_mb:
        MiB that other people's processes may hold together on a card that we use.
    free_mb:
        MiB that must be free on a card before a job starts.
    prefer:
        Indexes of the cards to take first, in order.
    quiet_hours:
        When no job uses a card: `08:00-19:00`, `mon-fri 08:00-19:00`, in the host's own time.
    look_s, grace_s:
        Seconds between looks while a job runs; seconds that it has to leave.
    """

    foreign_mb: int = FOREIGN_MB
    free_mb: int = 0
    prefer: Tuple[int, ...] = ()
    quiet_hours: Tuple[str, ...] = ()
    look_s: float = LOOK_S
    grace_s: float = GRACE_S

    @classmethod
    def from_json(cls, value: Any) -> "Wishes":
        """Read what the host keeps; what cannot be understood there counts as not said."""
        said = value if isinstance(value, dict) else {}
        sound = {name: said[name] for name in cls._fields if name in said and fits(name, said[name])}
        fields: Any = {name: tuple(item) if isinstance(item, list) else item for name, item in sound.items()}
        return cls(**fields)


def fits(name: str, value: Any) -> bool:
    """Tell whether a value can be that of a wish."""
    if name == "quiet_hours":
        return isinstance(value, list) and all(isinstance(item, str) and window(item) for item in value)
    if name == "prefer":
        return isinstance(value, list) and all(isinstance(item, int) for item in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


class Window(NamedTuple):
    """Quiet hours: days on which they begin (0: Monday), minutes since midnight; an end before the start: tomorrow."""

    days: Tuple[int, ...]
    start: int
    end: int


def window(text: str) -> Optional[Window]:
    """Read quiet hours such as `22:00-06:30` or `sat-sun 00:00-24:00`; None when they are none."""
    found = _HOURS.fullmatch(text.strip().lower())
    if not found:
        return None
    first, last, hour, minute = found.group(1, 2, 3, 4)
    if any(day and day not in DAYS for day in (first, last)):
        return None
    begin = DAYS.index(first) if first else 0
    count = ((DAYS.index(last) - begin) % 7 if last else 0) if first else 6
    start, end = 60 * int(hour) + int(minute), 60 * int(found[5] or found[7]) + int(found[6] or found[8])
    return None if start == end else Window(tuple((begin + day) % 7 for day in range(count + 1)), start, end)


def quiet_until(hours: Iterable[str], now: datetime.datetime) -> Optional[datetime.datetime]:
    """Return when the quiet hours end in which `now` (local time) lies, or None outside of them."""
    windows = [found for found in map(window, hours) if found]
    end: Optional[datetime.datetime] = None
    for _ in range(_CHAIN):  # hours that begin where others end are one time
        later = max(filter(None, (_end(one, end or now) for one in windows)), default=None)
        if later is None:
            break
        end = later
    return end


def _end(one: Window, now: datetime.datetime) -> Optional[datetime.datetime]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in (midnight, midnight - datetime.timedelta(days=1)):
        begin = day + datetime.timedelta(minutes=one.start)
        end = day + datetime.timedelta(minutes=one.end, days=1 if one.end < one.start else 0)
        if day.weekday() in one.days and begin <= now < end:
            return end
    return None


class Neighbour(NamedTuple):
    """A process on a card that is none of our jobs; None where the system does not tell."""

    user: Optional[str]
    pid: int
    program: str
    memory_mb: Optional[int]
    since: Optional[float] = None  # seconds since 1970
    ours: bool = False  # of this user, outside of orch

    def words(self) -> str:
        """Return who it is: `bob (9.1 GB, python, pid 123)`."""
        memory = amount(self.memory_mb) if self.memory_mb is not None else "memory unknown"
        who = "you, outside of orch," if self.ours else self.user or "somebody whose name is hidden"
        return "{} ({}, {}, pid {})".format(who, memory, self.program, self.pid)


def amount(mb: int) -> str:
    """Return MiB in words: `700 MB`, `9.1 GB` (of 1024 MB)."""
    return "{:.1f} GB".format(mb / 1024) if mb >= 1024 else "{} MB".format(mb)


def clock(at: float, now: float) -> str:
    """Return a time in words, in this machine's own time: `14:02`, with the day when it is not today."""
    when, today = datetime.datetime.fromtimestamp(at), datetime.datetime.fromtimestamp(now).date()
    return when.strftime("%H:%M" if when.date() == today else "%d %b %H:%M")


def crowd(card: Card, neighbours: Sequence[Neighbour], limit_mb: int, now: float) -> str:
    """Say who holds more of a card than the limit, or nothing; memory that the driver does not tell counts as more."""
    known = [one.memory_mb for one in neighbours]
    if not neighbours or (None not in known and sum(filter(None, known)) <= limit_mb):
        return ""
    most = sorted(neighbours, key=lambda one: -1 if one.memory_mb is None else -one.memory_mb)
    text = "GPU {} is used by {}".format(card.index, ", ".join(one.words() for one in most[:3]))
    text += " and {} more".format(len(most) - 3) if len(most) > 3 else ""
    since = min((one.since for one in most if one.since), default=None)
    return text + (" since {}".format(clock(since, now)) if since else "")


def refusal(
    card: Card, neighbours: Sequence[Neighbour], hidden_mb: int, wishes: Wishes, need_mb: int, now: float
) -> str:
    """Say why a job must not start on a card, or nothing when it may.

    Parameters
    ----------
    hidden_mb:
        MiB in use on the card by nobody that `nvidia-smi` names.
    need_mb:
        MiB that the job says it needs; 0: it does not say.
    """
    crowded = crowd(card, neighbours, wishes.foreign_mb, now)
    if crowded:
        return crowded
    foreign = hidden_mb + sum(one.memory_mb or 0 for one in neighbours)
    if foreign > wishes.foreign_mb:
        text = "GPU {} has {} in use by processes that nvidia-smi does not name"
        return text.format(card.index, amount(foreign)) + (", or names with little" if neighbours else "")
    free = None
    if card.memory_total_mb is not None and card.memory_used_mb is not None:
        free = card.memory_total_mb - card.memory_used_mb
    need = max(need_mb, wishes.free_mb)
    if free is not None and free < need:
        return "GPU {} has {} free, {} are needed".format(card.index, amount(free), amount(need))
    return ""


def preferred(cards: Sequence[Card], prefer: Sequence[int]) -> List[Card]:
    """Return the cards in the order in which they are taken."""
    places = {index: place for place, index in enumerate(prefer)}
    return sorted(cards, key=lambda card: (places.get(card.index, len(places)), card.index))


def need_of(resources: Mapping[str, Any]) -> int:
    """Return the MiB of a card that a job asks for; 0: the card is its own."""
    value = resources.get("gpu_memory_mb")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
