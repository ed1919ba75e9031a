"""Verbs with which `orch doctor` and `orch setup` look at VS Code's server folders and make them fit this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional

from . import parking, vscode
from .errors import UsageError

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]


def vscode_look(agent: Agent, machine: Optional[str] = None, sizes: bool = False) -> Reply:
    """Return the state of each VS Code server folder, what a reset would move, and how large that is.

    Parameters
    ----------
    machine:
        The processor that shall fit; by default this machine's.
    sizes:
        Weigh what would move and what is parked: reads every name, slow on a network home.
    """
    found = []
    for folder in vscode.folders():
        moves = parking.plan(folder, machine)
        told = {**vscode.look(folder, machine), "moves": [list(move) for move in moves]}
        if sizes:
            told["bytes"] = parking.weigh(folder, [move.name for move in moves if move.park])
            told["shelves"] = parking.sizes(folder)
        found.append(told)
    return {"folders": found}


def vscode_reset(agent: Agent, machine: Optional[str] = None, force: bool = False) -> Reply:
    """Make every VS Code server folder fit a processor: see `parking.reset`."""
    return {"folders": [{"folder": path, **parking.reset(path, machine, force)} for path in vscode.folders()]}


def vscode_shelves(agent: Agent, older_than: float = 0.0) -> Reply:
    """List what is parked, with bytes: see `parking.sizes`."""
    return {
        "shelves": [{"folder": path, **row} for path in vscode.folders() for row in parking.sizes(path, older_than)]
    }


def vscode_purge(agent: Agent, agreed: List[Reply]) -> Reply:
    """Delete parked shelves that `vscode_shelves` listed and a person agreed to; see `parking.purge`."""
    known = vscode.folders()
    done = []
    for folder in sorted({str(row["folder"]) for row in agreed}):
        if folder not in known:
            raise UsageError("{} is no VS Code server folder of yours".format(folder), "list them again")
        done.append(parking.purge(folder, [row for row in agreed if row["folder"] == folder]))
    return {"bytes": sum(one["bytes"] for one in done), "paths": [path for one in done for path in one["paths"]]}
