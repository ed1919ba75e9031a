"""What can be shown to a colleague: who was on the cards, when our jobs waited or stepped aside, when they came back.

One JSON line each, host-local, for all orch homes of a user. A full disk stops nobody: then a line is lost.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List

from .documents import open_plain
from .folder import HostFolder

WAITS, BEGINS, ASKED, LEFT = "waits", "begins", "asked to leave", "left"
LIMIT = 1 << 20  # bytes after which the book is put aside as `.old`, and a new one begun


def note(local: HostFolder, what: str, **more: Any) -> None:
    """Add a line."""
    line = {"t": round(time.time(), 3), "what": what, **more}
    path = local.courtesies
    try:
        if os.path.exists(path) and os.path.getsize(path) > LIMIT:
            os.replace(path, path + ".old")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(descriptor, json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    except OSError:
        pass
    finally:
        os.close(descriptor)


def read(local: HostFolder, since: float = 0.0) -> List[Dict[str, Any]]:
    """Return the lines from a time on (seconds since 1970), oldest first; a damaged one is left out."""
    found: List[Dict[str, Any]] = []
    for path in (local.courtesies + ".old", local.courtesies):
        try:
            with open(path, encoding="utf-8", errors="replace", opener=open_plain) as handle:
                found += [said for said in map(_line, handle) if said and said["t"] >= since]
        except OSError:
            continue
    return found


def _line(text: str) -> Dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("t"), (int, float)) else {}
