"""`orch why`: a job's state in words, each with its evidence, and what to do about it."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.policy import RETRY, RETRY_SMALLER
from jobs.state import FAILED, HOLES, INTERRUPTED, QUEUED, RUNNING, STOPPED, UNREACHABLE

from ..collect import fresh_index
from ..config import Settings
from ..naming import Names
from ..price import size
from ..progress import duration
from ..store import PLANNED, Index, JobRow
from ..story import story
from ..sweep import TRAINER
from ..words import counted
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, address, pick_one

EXAMPLES = """
orch why rotate/3
orch why rotate/3 --sweep augmentations --json
"""

_NEXT = {
    QUEUED: "orch status --watch",
    RUNNING: "orch logs {label} -f",
    FAILED: "orch logs {label}, then orch retry {label}",
    STOPPED: "orch retry {label}",
    INTERRUPTED: "orch retry {label}",
    UNREACHABLE: "orch status --refresh, once the host answers",
    PLANNED: "orch sweep {sweep}",
}


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=False)


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Explain one job."""
    with fresh_index(settings) as (fleet, index):
        names = Names.of(index, settings)
        row = pick_one(index, names, args.job, args.sweep)
        shown = fleet.of(row.host).show(row.sweep, row.id)
        ahead, word = _ahead(index, row), address(index, names, row)
        fences = {line.attempt: line.text for line in index.journal(row.sweep, row.id) if line.kind == "fence"}
        sweep = names.word(index.sweep(row.sweep))
    told = list(_tell(row, shown, ahead, fences))
    line = story(shown["attempts"], shown["queued"], shown["held"] or shown["waits"])
    head = {"sweep": row.sweep, "id": row.id, "label": row.label, "state": row.state}
    out.json({**head, "story": line, "told": told, **shown})
    told = [line, *told] if line else told
    out.result("\n".join([f"{row.label} ({sweep}, {row.id}) is {row.state}", *(f"  {line}" for line in told)]))
    if shown["held"]:
        out.next("orch release " + shown["held"].rpartition("(orch release ")[2].rstrip(")"))
    elif row.state in _NEXT:
        out.next(_NEXT[row.state].format(label=word, sweep=sweep))
    return 0


def _ahead(index: Index, row: JobRow) -> int:
    """How many jobs of the same sweep wait before this one."""
    waiting = [other.id for other in index.jobs(row.sweep) if other.state == QUEUED]
    return waiting.index(row.id) if row.id in waiting else 0


def _tell(row: JobRow, shown: Mapping[str, Any], ahead: int, fences: Mapping[int, str]) -> Iterator[str]:
    if row.position is None:
        yield "the sweep file no longer asks for this job: it is kept, but not counted"
    if row.state == PLANNED:
        yield "it was never queued"
    if shown["held"]:
        yield shown["held"]
    elif shown["waits"]:
        yield shown["waits"]
    elif row.state == QUEUED:
        yield f"it waits for a free slot; {counted(ahead, 'job')} of this sweep before it"
    for item in shown["attempts"]:
        yield from _attempt(item)
        if fence := fences.get(item["spec"].get("attempt")):
            yield f"  its result does not count: {fence}"
    if row.state in HOLES:
        yield "it is a hole: the same sweep again, or a retry, starts a new attempt"
    spec = (shown["attempts"][-1]["spec"] if shown["attempts"] else None) or next(iter(shown["queued"]), None)
    if spec:
        yield from _origin(spec)


def _attempt(item: Mapping[str, Any]) -> Iterator[str]:
    verdict, exit_record, spec = item["verdict"], item["exit"], item["spec"]
    claim = spec.get("claim", {})
    begun = time.strftime("%d %b %H:%M:%S", time.localtime(claim.get("at", 0)))
    given = claim.get("device", {}).get("slurm")
    place = f"{given['node']}, Slurm's job {given['job']}," if given else claim.get("host")
    line = f"attempt {spec.get('attempt')} on {place} at {begun}: {verdict['state']} ({verdict['reason']})"
    if exit_record and exit_record.get("began", True):
        line += (
            f", after {duration(exit_record['ended'] - exit_record['started'])}, exit status {exit_record['status']}"
        )
    yield line
    yield from _failure(exit_record or {})
    if left_out := (exit_record or {}).get("log_left_out"):
        yield f"  its log lacks {size(left_out)} in the middle: it was over its limit (resources: log_mb)"
    if verdict["warning"]:
        yield f"  warning:  {verdict['warning']}"
    micro = spec.get("tuning", {}).get("micro_batch")
    if micro:
        seen = "; batch normalisation saw no more than these" if spec["cell"]["program"] == TRAINER else ""
        yield f"  it computed {micro} samples at once (micro-batch){seen}"
    if spec.get("resume"):
        yield "  it went on from the last checkpoint of the attempt before"


def _failure(exit_record: Mapping[str, Any]) -> Iterator[str]:
    """Evidence, and what a person can do, or what was done without one."""
    failure, decision = exit_record.get("failure"), exit_record.get("decision")
    if not failure:
        return
    yield f"  evidence: {failure['evidence']}"
    if not decision or decision["action"] not in (RETRY, RETRY_SMALLER):
        yield f"  repair:   {failure['hint']}"
    if decision:
        yield f"  then:     {decision['action'].replace('_', ' ')}: {decision['reason']}"


def _origin(spec: Mapping[str, Any]) -> Iterator[str]:
    """What made this job itself, and on what it ran."""
    cell, provenance = spec["cell"], spec.get("provenance", {})
    parts = [f"{key} {cell[key]}" for key in ("data", "split", "fold", "seed") if cell.get(key) is not None]
    yield f"its identity: program {cell['program']}, " + (", ".join(parts) or "its words and grid values")
    git = provenance.get("git") or {}
    state = " with uncommitted changes" if git.get("dirty") else ""
    commit = f" (git {git['commit'][:7]}{state})" if git.get("commit") else ""
    yield f"its code: {provenance.get('code') or 'not pinned'}{commit}"
    placement = spec.get("placement", {})
    yield f"its place: {placement.get('host')}, because {placement.get('reason')}"
