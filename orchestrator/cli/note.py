"""`orch note`: a note or a tag for a job or a sweep, kept in the orch home's journal."""

from __future__ import annotations

from argparse import Namespace

from jobs.errors import UsageError

from ..collect import fresh_index, refresh
from ..config import Settings
from ..naming import Names
from .output import Output
from .parser import Parser
from .picking import add_sweep_option, pick_one

EXAMPLES = """
orch note rotate/3 "the ducts of this patient are dilated"
orch note augmentations "first run on the new scanner's data"
orch note rotate/3 --tag paper
orch note rotate/3
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("about", metavar="JOB", help="a job (label, id) or a sweep's name")
    parser.add_argument("text", nargs="?", help="the note; without it, all notes and tags are shown")
    parser.add_argument("--tag", metavar="WORD", help="a tag instead of a note")
    add_sweep_option(parser)


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Add the note or the tag, then show what there is."""
    if args.text and args.tag:
        raise UsageError("give a note or a tag, not both", "call orch note twice")
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        whole = names.has(args.about) and args.sweep in (None, args.about)
        row = None if whole else pick_one(index, names, args.about, args.sweep)
        sweep, job = (row.sweep, row.id) if row else (names.find(args.about).name, "")
        if args.text or args.tag:
            kind = "tag" if args.tag else "note"
            contact = fleet.of(row.host) if row else fleet.first
            contact.wire.call("note", sweep=sweep, job=job, kind=kind, text=args.tag or args.text)
            refresh(fleet, index)
        lines = [line for line in index.journal(sweep) if line.job == job]
    out.json([{"kind": line.kind, "t": line.t, "text": line.text} for line in lines])
    if lines:
        out.table(["kind", "text"], [[line.kind, line.text] for line in lines])
    else:
        out.note(f"No notes on {args.about} yet.")
    return 0
