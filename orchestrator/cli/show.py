"""`orch show`: all that is recorded of a job."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from ..collect import fresh_index
from ..config import Settings
from ..naming import Names
from ..progress import duration
from ..store import JobRow
from .output import Output
from .parser import Parser
from .picking import add_job_arguments, pick_one

EXAMPLES = """
orch show rotate/3
orch show rotate/3 --json
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    add_job_arguments(parser, several=False)


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Print identity, parameters, attempts with their files, and the result."""
    with fresh_index(settings) as (fleet, index):
        row = pick_one(index, Names.of(index, settings), args.job, args.sweep)
        shown = fleet.of(row.host).show(row.sweep, row.id)
        scores = index.scores(row.sweep).get(row.id, {})
    out.json({"sweep": row.sweep, "id": row.id, "label": row.label, "state": row.state, "scores": scores, **shown})
    out.result("\n".join(_lines(row, shown, scores)))
    return 0


def _lines(row: JobRow, shown: Mapping[str, Any], scores: Mapping[str, float | None]) -> Iterator[str]:
    yield f"{row.label}  {row.state}  ({row.reason})"
    yield f"  sweep       {row.sweep}"
    yield f"  job         {row.id}"
    specs = [item["spec"] for item in shown["attempts"]] + list(shown["queued"])
    if specs:
        yield from _spec(specs[-1])
    for item in shown["attempts"]:
        yield from _attempt(item)
    if scores:
        yield "  result"
        yield from (f"    {name:<24}{_number(value)}" for name, value in scores.items())


def _spec(spec: Mapping[str, Any]) -> Iterator[str]:
    cell = spec["cell"]
    for key in ("program", "data", "split", "fold", "seed"):
        if cell.get(key) is not None:
            yield f"  {key:<12}{cell[key]}"
    for group, values in cell["parameters"].items():
        yield f"  {group}"
        pairs = values.items() if isinstance(values, dict) else enumerate(values, 1)
        yield from (f"    {key!s:<16}{value}" for key, value in pairs)
    yield f"  program     {' '.join(spec['argv'])}"


def _attempt(item: Mapping[str, Any]) -> Iterator[str]:
    spec, verdict, ended = item["spec"], item["verdict"], item["exit"] or {}
    span = f"  {duration(ended['ended'] - ended['started'])}" if ended.get("began") else ""
    yield f"  attempt {spec.get('attempt')}   {verdict['state']}  {verdict['reason']}{span}"
    yield f"    {item['path']}"
    yield "    " + ", ".join(f"{name} ({_bytes(size)})" for name, size in sorted(item["files"].items()))


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size} {unit}"
        size //= 1000
    return f"{size} GB"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6g}"
