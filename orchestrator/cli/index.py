"""`orch index`: the index is only an index; make it again from the run folders, or compare it with them."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from jobs.errors import Findings, OrchError, Unreachable
from jobs.state import QUEUED, RUNNING

from ..collect import every_host, fresh_index, index_path, refresh
from ..config import Settings
from ..fleet import Fleet
from ..known_homes import open_own
from ..store import Index, compare, discard
from ..words import counted
from .output import Output
from .parser import Parser

EXAMPLES = """
orch index check
orch index rebuild
"""


def add_arguments(parser: Parser) -> None:
    """Declare the verbs."""
    parser.add_verb("rebuild", "Make the index again from the run folders; the old one is parked", "orch index rebuild")
    parser.add_verb("check", "Compare the index with the run folders; exit 6 when they differ", "orch index check")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Rebuild or check."""
    _, identity = open_own(settings)
    path = index_path(settings, identity["id"])
    with Fleet.open(settings, every_host(settings), create=False) as fleet:
        for host, error in fleet.silent.items():
            out.warning(f"{host} does not answer: {error.message}")
        if args.verb == "rebuild":
            return _rebuild(fleet, path, out)
        with tempfile.TemporaryDirectory() as folder, Index.open(Path(folder) / "index.db", force=True) as anew:
            refresh(fleet, anew)
            return _check(settings, anew, out)


def _rebuild(fleet: Fleet, path: Path, out: Output) -> int:
    """Make the index again; what silent hosts have run stays as the old one has it, for nobody else can tell."""
    began, silent = time.monotonic(), dict(fleet.silent)
    if not fleet.contacts:
        raise silent[next(iter(silent))]
    kept = _kept(path, out) if silent and path.exists() else None
    parked = discard(path) if path.exists() else None
    if kept:
        kept.replace(path)
    with Index.open(path) as index:
        rows = index.keep_hosts(silent) if kept else 0
        refresh(fleet, index)
        seen = index.hosts_seen()
        for host in silent:
            index.silent(host, f"as of {_moment(seen.get(host))}: it did not answer when the index was made again")
        jobs = len(index.jobs())
    if parked and set(fleet.silent) - set(silent):  # it fell silent meanwhile, when its rows were gone already
        parked.replace(path)
        names = ", ".join(sorted(set(fleet.silent) - set(silent)))
        raise Unreachable(f"{names} fell silent; the index is as before", "run the same command again")
    out.json({"index": str(path), "jobs": jobs, "parked": str(parked) if parked else None, "silent": sorted(silent)})
    out.result(f"index made again: {counted(jobs, 'job')}, {time.monotonic() - began:.1f} s")
    if kept:
        times = ", ".join(f"{host} as of {_moment(seen.get(host))}" for host in sorted(silent))
        out.note(f"{counted(rows, 'attempt')} of silent hosts are as the old index had them: {times}")
    if parked:
        out.note(f"the old one lies at {parked}")
    return Unreachable.exit_code if silent else 0


def _kept(path: Path, out: Output) -> Path | None:
    """A copy of the index beside it; None where it cannot be read."""
    copy = path.with_name(path.name + ".kept")
    copy.unlink(missing_ok=True)
    try:
        with Index.open(path) as index:
            index.copy_to(copy)
    except OrchError as error:
        out.warning(f"what silent hosts have run is missing until they answer: {error.message}")
        return None
    return copy


def _moment(seen: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seen)) if seen else "an unknown time"


def _check(settings: Settings, anew: Index, out: Output) -> int:
    """Compare what the index had, brought up to date, with an index made from nothing."""
    with fresh_index(settings) as (_, index):
        rows = index.jobs()
        moving = {row.id for row in (*rows, *anew.jobs()) if row.state in (RUNNING, QUEUED)}
        found = compare(_settled(index, moving), _settled(anew, moving))
    found += [f"{row.sweep}: job {row.label}: {row.warning}" for row in anew.jobs() if row.warning]
    out.json({"jobs": len(rows), "differences": found})
    if not found:
        out.result(f"index and run folders agree: {len(rows)} jobs, {len(moving)} of them still moving and left out")
        return 0
    out.result("\n".join(found))
    out.note(f"{len(found)} findings. The run folders are the truth: orch index rebuild believes them.")
    return Findings.exit_code


def _settled(index: Index, moving: set[str]) -> dict[tuple[Any, ...], Any]:
    return {key: value for key, value in index.content().items() if not moving & {*map(str, key)}}
