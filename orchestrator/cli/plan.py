"""`orch plan`: what a sweep will cost, and whether it fits; starts nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import Findings

from .. import dispatching, planning, price
from ..collect import own_index
from ..config import Settings
from ..fleet import Fleet
from ..ownership import owned
from ..store import Index
from ..sweep import SweepFile
from ..words import counted
from .choosing import open_fleet
from .output import Output
from .parser import Parser
from .scanning import reader
from .sweep import is_due, planned

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
    with own_index(settings) as index, _fleet(args, settings, index, out) as (file, fleet):
        with reader(out, "reading volumes") as progress:
            about, places, prepared = planned(args, settings, file, fleet, index, [], progress, out)
        sweep = about.sweep
        rows = {row.id: row for row in index.jobs(sweep.name)}
        due = [spec for spec in prepared.plan.specs if is_due(rows.get(spec.id), False)]
        spread = dispatching.spread(index, places, prepared, due)
    cost, room = dispatching.cost(places, prepared, spread)
    lacks = price.lacking(cost, room)
    hosts = {host: {"seconds": cost.seconds[host], "gpu_seconds": cost.gpu_seconds[host]} for host in cost.seconds}
    disk = {
        home: {"bytes": cost.peak_bytes[home], "files": cost.new_files[home], **room[home]} for home in cost.new_files
    }
    told = {"sweep": sweep.name, "title": sweep.shown, "jobs": len(due)}
    left = [item._asdict() for item in prepared.left_out]
    out.json({**told, "hosts": hosts, "disk": disk, "lacks": lacks, "left_out": left})
    lines = [*planning.describe(prepared), f"  {counted(len(due), 'job')} to run"]
    out.result("\n".join([*lines, *(f"  {line}" for line in (*spread.lines, *price.describe(cost, room)))]))
    for lack in lacks:
        out.warning(lack)
    out.next(
        f"free some space, or take a part: orch plan {args.sweep} --folds 0" if lacks else f"orch sweep {args.sweep}"
    )
    return Findings.exit_code if lacks else 0


@contextmanager
def _fleet(args: Namespace, settings: Settings, index: Index, out: Output) -> Iterator[tuple[SweepFile, Fleet]]:
    file = planning.sweep_of(args, settings, index)
    with open_fleet(args, settings, owned(index, settings, file).sweep, index, out) as fleet:
        yield file, fleet
