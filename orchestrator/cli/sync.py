"""`orch sync`: bring what is new on the hosts into the index of this machine."""

from __future__ import annotations

import time
from argparse import Namespace

from ..collect import every_host, own_index, refresh
from ..config import Settings
from ..fleet import Fleet
from ..naming import Names
from ..progress import counts_text, measure
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch sync
orch sync --json
"""


def add_arguments(parser: Parser) -> None:
    """Declare nothing: all hosts are asked."""


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Ask all hosts side by side; a silent one is told of, and what it runs is not counted dead."""
    began = time.monotonic()
    with own_index(settings) as index, Fleet.open(settings, every_host(settings), create=False) as fleet:
        refresh(fleet, index)
        words = Names.of(index, settings).words()
        counts = {name: dict(measure(jobs, None, {}).counts) for name, jobs in index.jobs_of(words).items()}
    said = dict.fromkeys(fleet.contacts, "asked") | {name: error.message for name, error in fleet.silent.items()}
    out.json({"hosts": said, "sweeps": counts})
    for name, states in counts.items():
        out.result(f"{words[name]}  {counts_text(states)}")
    for name, error in fleet.silent.items():
        out.warning(f"{name} does not answer: {error.message}")
    out.warnings(fleet.warnings)
    if not counts:
        out.note("no sweep has run yet")
        out.next("orch sweep augmentations")
    out.note(f"{counted(len(fleet.contacts), 'host')} asked in {time.monotonic() - began:.1f} s")
    return 0
