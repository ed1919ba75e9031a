"""`orch attach`: watch a sweep that runs on its hosts, until it is over; Ctrl-C leaves the jobs running."""

from __future__ import annotations

from argparse import Namespace

from ..collect import fresh_index
from ..config import Settings
from ..monitor import Monitor
from ..progress import counts_text, reasons
from .output import Output
from .parser import Parser
from .picking import address

EXAMPLES = """
orch attach augmentations
orch attach
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("sweep", nargs="?", help="the sweep (default: the newest)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Show the progress; exit 1 when a job did not end well, or is held."""
    with fresh_index(settings, [args.sweep] if args.sweep else None) as (fleet, index):
        name = index.sweep(args.sweep).name if args.sweep else next((row.name for row in reversed(index.sweeps())), "")
        if not name:
            out.note("No sweep has run yet.")
            out.next("orch sweep augmentations")
            return 0
        record = index.sweep(name).record
        try:
            last = Monitor(fleet, index, name, record.get("metric"), record.get("steps")).follow(out)
        except KeyboardInterrupt:
            out.note(f"\nThe jobs go on. Come back with: orch attach {name}")
            raise
        word = next((address(index, row) for row in (*last.troubled, *last.held)), "")
    out.json({"sweep": name, "counts": dict(last.counts)})
    out.note(f"{name}: {counts_text(last.counts)}")
    for line in reasons(last.held):
        out.note(f"  {line}")
    out.next(f"orch why {word}" if word else f"orch report {name}")
    return 1 if word else 0
