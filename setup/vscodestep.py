"""VS Code as a step of a preparation: fit, or parked and brought back by renames (`setup.vscode`)."""

from __future__ import annotations

from jobs.wire import Wire

from . import vscode
from .steps import Removal, State, Step, Tell

_WHY = "VS Code cannot connect when its server is of the other processor; settings, history, list of extensions stay"


def step(wire: Wire, force: bool = False) -> Step:
    """Return the step.

    Parameters
    ----------
    force:
        Also when a server seems to be alive.
    """

    def check() -> State:
        found = vscode.check(wire)
        return State(found.moves == 0, found.text, "" if force or not found.moves else found.refusal)

    def do(tell: Tell) -> str:
        tell("vscode", "parks and brings back")
        done = vscode.reset(wire, force=force)
        return "renamed" if done["changed"] else "nothing to do"

    def weigh() -> Removal | None:
        return (
            Removal("bring back VS Code's server that was parked last")
            if wire.call("vscode_shelves")["shelves"]
            else None
        )

    def undo(tell: Tell) -> str:
        tell("vscode", "brings back")
        return "VS Code's server brought back" if vscode.undo(wire)["changed"] else "VS Code: nothing was parked"

    return Step("vscode", _WHY, check, do, weigh, undo)
