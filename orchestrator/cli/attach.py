"""`orch attach`: watch a sweep that runs on its hosts, until it is over; Ctrl-C leaves the jobs running."""

from __future__ import annotations

from argparse import Namespace

from ..collect import fresh_index
from ..config import Settings
from ..monitor import Monitor
from ..naming import Names
from ..progress import counts_text, reasons
from ..store import SweepRow
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
        names = Names.of(index, settings)
        sweep = names.find(args.sweep) if args.sweep else names.newest()
        if sweep is None:
            out.note("No sweep has run yet.")
            out.next("orch sweep augmentations")
            return 0
        name, shown = sweep.name, names.word(sweep)
        try:
            last = Monitor(fleet, index, name, *_watched(sweep), shown=shown).follow(out)
        except KeyboardInterrupt:
            out.note(f"\nThe jobs go on. Come back with: orch attach {shown}")
            raise
        word = next((address(index, names, row) for row in (*last.troubled, *last.held)), "")
    out.json({"sweep": name, "counts": dict(last.counts)})
    out.note(f"{shown}: {counts_text(last.counts)}")
    for line in reasons(last.held):
        out.note(f"  {line}")
    out.next(f"orch why {word}" if word else f"orch report {shown}")
    return 1 if word else 0


def _watched(sweep: SweepRow) -> tuple[str | None, int | None]:
    return sweep.metric, sweep.record.get("steps")
