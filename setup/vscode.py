"""VS Code on a home that several hosts share: what `orch setup` plans, does, undoes and deletes, and what it prints.

The work is done on the host (`jobs.parking`); here it is put into words and asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jobs.wire import Wire

from .rows import gigabytes
from .steps import Removal, State, Step, Tell

DAY = 86400.0  # seconds
NEWER_THAN = "0.114.3"  # versions of the Remote-SSH extension up to this one ignore parts of the setting
LOCAL_PLACE = "/var/tmp/{user}"  # on every host a disk of its own


class Reset(NamedTuple):
    """What a reset would do on one host.

    Attributes
    ----------
    moves:
        Number of renames; 0: it fits.
    text:
        What would happen and why, for people.
    refusal:
        Why it cannot be done now, or an empty text.
    """

    moves: int
    text: str
    refusal: str


def check(wire: Wire, machine: str | None = None) -> Reset:
    """Ask a host what a reset would do; nothing is changed.

    Parameters
    ----------
    machine:
        The processor that shall fit; by default the host's own.
    """
    looks = wire.call("vscode_look", machine=machine, sizes=True)["folders"]
    due = [look for look in looks if look["moves"] or look["unfinished"]]
    texts = [_planned(look) for look in due]
    refusals = [_refusal(look) for look in due]
    count = sum(len(look["moves"]) or 1 for look in due)
    return Reset(count, "; ".join(texts) or "nothing to do: the server fits, or there is none", "".join(refusals))


def _planned(look: Mapping[str, Any]) -> str:
    parked = sorted({shelf for _, shelf, park, _ in look["moves"] if park})
    back = any(not park for _, _, park, _ in look["moves"])
    parts = ["finish what was interrupted"] if look["unfinished"] else []
    if parked:
        named = ", ".join(f"{look['folder']}.{shelf}" for shelf in parked)
        parts.append(f"park {gigabytes(look['bytes'])} for {', '.join(parked)} as {named}")
    if back:
        parts.append(f"bring back what was parked of {look['machine']}")
    count = len(look["extensions"])
    return f"{', '.join(parts)}; keep settings, history and the list of {count} extensions"


def _refusal(look: Mapping[str, Any]) -> str:
    if look["alive"]:
        return f"a server is alive: process {look['alive'][0]['pid']} ({look['alive'][0]['program']})"
    if look["recent"]:
        return "a server may be alive on another host: {path} was written {seconds:.0f} s ago".format(**look["recent"])
    return ""


def reset(wire: Wire, machine: str | None = None, force: bool = False) -> dict[str, Any]:
    """Park and bring back on a host; see `jobs.parking.reset`.

    Returns
    -------
    dict
        `changed`, `extensions` that were put aside, `machines` whose pieces were parked, and `folders` (the details).
    """
    folders = wire.call("vscode_reset", machine=machine, force=force)["folders"]
    changed = any(folder["parked"] or folder["brought_back"] or folder["finished"] for folder in folders)
    extensions = sorted({name for folder in folders for name in folder["extensions"]})
    return {"changed": changed, "extensions": extensions, "folders": folders}


def undo(wire: Wire) -> dict[str, Any]:
    """Bring back the set that was parked last, and park what stands in its place."""
    shelves = wire.call("vscode_shelves")["shelves"]
    if not shelves:
        return {"changed": False, "extensions": [], "folders": []}
    latest = max(shelves, key=lambda shelf: float(shelf["parked"]))
    return reset(wire, machine=str(latest["machine"]))


def step(wire: Wire, machine: str | None = None, force: bool = False) -> Step:
    """Return the step of `orch setup`.

    Parameters
    ----------
    wire:
        To the host; open for as long as the step is used.
    machine, force:
        See `jobs.parking.plan`. A forced reset is due once, whatever stands there.
    """
    done_by_force: list[bool] = []

    def look() -> State:
        planned = check(wire, machine)
        if force and not done_by_force:
            return State(False, f"put the whole server aside, whatever it is for ({planned.text})", "")
        return State(planned.moves == 0, planned.text, planned.refusal)

    def do(tell: Tell) -> str:
        told = reset(wire, machine, force)
        done_by_force.append(True)
        if told["extensions"]:
            tell("vscode", f"put aside with the server: {', '.join(told['extensions'])}")
            tell("vscode", f"for the laptop's settings.json, so that they come back by themselves: {_inline(told)}")
        return "settings and history are where they were"

    def weigh() -> Removal | None:
        shelves = wire.call("vscode_shelves")["shelves"]
        return Removal("bring back what was parked last, and park what stands in its place") if shelves else None

    def undone(tell: Tell) -> str:
        return "brought back" if undo(wire)["changed"] else "nothing was parked"

    reason = "one home for two kinds of processor: the server of one stops the other"
    return Step("vscode", reason, look, do, weigh, undone)


def _inline(told: Mapping[str, Any]) -> str:
    return " ".join(extensions_block(told["extensions"]).split())


def purge(wire: Wire, days: float, agree: Callable[[Sequence[Mapping[str, Any]]], bool]) -> dict[str, Any]:
    """Delete what was parked more than some days ago, after a person has seen the list.

    Parameters
    ----------
    agree:
        Is given the rows (`machine`, `path`, `bytes`, `files`, `parked`, `extensions`); true deletes exactly these.

    Returns
    -------
    dict
        `bytes` and `paths` that were deleted.

    Raises
    ------
    OrchError
        What was listed has changed since.
    """
    rows = wire.call("vscode_shelves", older_than=days * DAY)["shelves"]
    if not rows or not agree(rows):
        return {"bytes": 0, "paths": []}
    return wire.call("vscode_purge", agreed=rows)


def listed(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows of `purge` for people, the sum last."""
    found = list(rows)
    lines = [f"{row['path']}  {gigabytes(row['bytes'])}, {row['files']:,} files, for {row['machine']}" for row in found]
    total = gigabytes(sum(row["bytes"] for row in found))
    return "\n".join([*lines, f"in all {total}; extensions in them can be installed again, settings are not touched"])


def install_path_block(aliases: Iterable[str], place: str) -> str:
    """Return the lines for the laptop's settings.json that give each host a server folder of its own.

    Parameters
    ----------
    aliases:
        Names with which VS Code connects; it knows no wildcards.
    place:
        Absolute folder, the same words for all hosts; on a shared home each alias gets a folder below it.
    """
    paths = {alias: f"{place.rstrip('/')}/{alias}" for alias in aliases}
    return _setting("remote.SSH.serverInstallPath", paths)


def extensions_block(extensions: Iterable[str]) -> str:
    """Return the lines for settings.json that install these extensions on every new host by themselves."""
    return _setting("remote.SSH.defaultExtensions", sorted(extensions, key=str.lower))


def _setting(key: str, value: Any) -> str:
    return json.dumps({key: value}, indent=2, ensure_ascii=False)[2:-2] + ","
