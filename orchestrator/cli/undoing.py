"""What `orch setup` takes away: undo of its steps, and VS Code servers that were parked; after a list and a yes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.errors import OrchError

from ..words import counted
from .asking import agreed
from .output import Output
from .steplines import StepLines

if TYPE_CHECKING:
    from setup.steps import Step
    from setup.visits import Visit


def undo(visit: Visit, steps: Sequence[Step], args: Namespace, out: Output) -> dict[str, Any]:
    """Take away what the steps made, after a list with bytes and a yes."""
    from setup import steps as setup_steps

    found = setup_steps.removals(steps)
    for step, removal in found:
        size = f"  ({removal.bytes / 1e9:.2f} GB)" if removal.bytes else ""
        out.note(f"  {step.name:<13} {removal.text}{size}")
    listed = [{"step": step.name, **item._asdict()} for step, item in found]
    told: dict[str, Any] = {"host": visit.name, "undone": [], "would_undo": listed}
    if not found:
        out.result(f"{visit.name}: nothing to undo")
        return told
    if args.dry_run:
        return told
    if not agreed(f"Undo this on {visit.name}?", args.yes, out):
        raise OrchError("nothing was changed", f"orch setup --host {visit.name} --undo --yes goes on without asking")
    with StepLines(out, [visit.name]) as lines:
        done = setup_steps.undo(found, lines.of(visit.name))
    out.result("\n".join(f"{visit.name}: {text}" for text in done))
    return {**told, "undone": done}


def purge(visit: Visit, args: Namespace, out: Output) -> dict[str, Any]:
    """Delete what was parked of VS Code, after a list with bytes and a yes."""
    from setup import vscode

    seen: list[dict[str, Any]] = []

    def agree(rows: Sequence[Mapping[str, Any]]) -> bool:
        seen.extend(map(dict, rows))
        out.note(vscode.listed(rows))
        return not args.dry_run and agreed(f"Delete these on {visit.name}?", args.yes, out)

    gone = vscode.purge(visit.wire, args.purge, agree)
    out.result(f"{visit.name}: {counted(len(gone['paths']), 'folder')} deleted, {gone['bytes']:,} bytes")
    return {"host": visit.name, "would_purge": seen, "purged": gone["paths"], "bytes": gone["bytes"]}
