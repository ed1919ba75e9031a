"""What `orch host courtesy` shows: who is on a host's cards, when our jobs waited for them, or stepped aside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs.guestbook import BEGINS, LEFT

from ..config import Settings
from ..dispatch import Contact
from ..progress import duration
from ..words import counted
from .output import Output


def show(host: str, days: float, settings: Settings, out: Output) -> int:
    """Ask the host; print the wishes, who is there now, and the guest book of the last days."""
    with Contact(settings, host=host) as contact:
        told = contact.wire.call("courtesy", days=days)
    out.json({"host": host, "days": days, **told})
    out.result(f"{host}: {_rules(told['wishes'])}")
    for card in told["cards"]:
        people = ", ".join(card["people"]) or "nobody but jobs of orch"
        out.result(f"  GPU {card['index']} ({card['name']}): {people}")
    if not told["cards"]:
        out.result(f"  no card: {told['reason']}")
    if not told["book"]:
        out.note(f"In the last {counted(round(days), 'day')} no job had to wait for anybody or to step aside.")
        return 0
    out.table(["when", "what", "job", "how long", "for whom"], [_line(line) for line in told["book"]])
    return 0


def _rules(wishes: Mapping[str, Any]) -> str:
    """The wishes in one line."""
    text = f"jobs use a card while others hold no more than {wishes['foreign_mb']} MB of it"
    text += f" and {wishes['free_mb']} MB are free" if wishes["free_mb"] else ""
    hours = ", ".join(wishes["quiet_hours"])
    return text + (f", never in the quiet hours {hours}" if hours else "")


def _line(line: Mapping[str, Any]) -> list[str | None]:
    when = time.strftime("%d %b %H:%M:%S", time.localtime(line["t"]))
    seconds = line.get("waited_s") if line["what"] == BEGINS else line.get("took_s") if line["what"] == LEFT else None
    return [when, line["what"], line.get("job"), None if seconds is None else duration(seconds), line.get("reason")]
