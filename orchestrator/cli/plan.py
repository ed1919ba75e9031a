"""`orch plan`: what a sweep will cost, and whether it fits; starts nothing."""

from __future__ import annotations

from argparse import Namespace

from jobs.errors import Findings

from .. import dispatching, planning, price
from ..collect import own_index, refresh
from ..config import Settings
from ..places import places_of
from ..words import counted
from .choosing import open_fleet, ready
from .output import Output
from .parser import Parser
from .scanning import reader
from .sweep import is_due

EXAMPLES = """
orch plan augmentations --hosts grace,ada
orch plan augmentations --folds 0
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    planning.add_arguments(parser)
    parser.add_argument("--hosts", metavar="A,B", help="hosts of the site file, or auto: all that answer and are ready")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Print the plan with its price; exit 6 when it does not fit."""
    sweep = planning.sweep_of(args, settings)
    with own_index(settings) as index, open_fleet(args, settings, sweep, index, out) as fleet:
        refresh(fleet, index, [sweep.name])
        with reader(out, "reading volumes") as progress:
            places = ready(places_of(fleet, settings, sweep.name, progress), args, sweep, out)
            prepared = planning.prepare(args, settings, sweep, list(places.values()))
        rows = {row.id: row for row in index.jobs(sweep.name)}
        due = [spec for spec in prepared.plan.specs if is_due(rows.get(spec.id), False)]
        spread = dispatching.spread(index, places, prepared, due)
    cost, room = dispatching.cost(places, prepared, spread)
    lacks = price.lacking(cost, room)
    hosts = {host: {"seconds": cost.seconds[host], "gpu_seconds": cost.gpu_seconds[host]} for host in cost.seconds}
    disk = {
        home: {"bytes": cost.peak_bytes[home], "files": cost.new_files[home], **room[home]} for home in cost.new_files
    }
    left = [item._asdict() for item in prepared.left_out]
    out.json({"sweep": sweep.name, "jobs": len(due), "hosts": hosts, "disk": disk, "lacks": lacks, "left_out": left})
    lines = [*planning.describe(prepared), f"  {counted(len(due), 'job')} to run"]
    out.result("\n".join([*lines, *(f"  {line}" for line in (*spread.lines, *price.describe(cost, room)))]))
    for lack in lacks:
        out.warning(lack)
    out.next(
        f"free some space, or take a part: orch plan {args.sweep} --folds 0" if lacks else f"orch sweep {args.sweep}"
    )
    return Findings.exit_code if lacks else 0
