"""What `orch doctor` says of a Slurm: whether it answers, its partitions, and the limits of this user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .rows import FOUND, NOTE, OK, Row

_LIMITS = {
    "maxjobs": "{} jobs at once",
    "maxjobspu": "{} jobs at once",
    "maxsubmit": "{} jobs in Slurm",
    "maxsubmitpu": "{} jobs in Slurm",
    "maxwall": "{} for each job",
}


def slurm_rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """Yield rows for what `jobs.slurmlook.look` found."""
    if not found["sbatch"]:
        yield Row("slurm", OK, "none: jobs run under orch's own keeper")
        return
    if found["controller"]:
        yield Row("slurm", FOUND, f"the controller does not answer: {found['controller']}", "ask the administrator")
        return
    version = f"Slurm {found['version']}, " if found.get("version") else ""
    if found["accounting"]:
        text = f"{version}sacct does not answer: {found['accounting']}"
        repair = "how a job ended is known only while the controller remembers it; ask for slurmdbd"
        yield Row("slurm", FOUND, text, repair)
    else:
        yield Row("slurm", OK, f"{version}{found['sbatch']}: the controller and sacct answer")
    for partition in found.get("partitions", ()):
        yield _partition(partition)
    if "array" in found:
        yield Row("slurm limits", OK, "; ".join(_limits(found)))


def _partition(told: Mapping[str, Any]) -> Row:
    cards = ", ".join(f"{count} {kind}" for kind, count in told["gpus"].items())
    size = f"{told['nodes']} nodes, {told['cpus']} cores, {cards or 'no GPUs'}"
    machines = " and ".join(told["machines"]) or "processor unknown"
    text = f"{told['name']}: {machines}, {size}, at most {told['time']}{'' if told['up'] else '; it is down'}"
    if len(told["machines"]) > 1:
        repair = "name a processor for each host of the site file: slurm: {constraint: FEATURE}"
        return Row("slurm partition", NOTE, text, repair)
    return Row("slurm partition", OK if told["up"] else NOTE, text, "" if told["up"] else "sinfo -R tells why")


def _limits(found: Mapping[str, Any]) -> Iterator[str]:
    if found["array"]:
        yield f"arrays of at most {found['array'] - 1} jobs"
    if found["jobs"]:
        yield f"{found['jobs']} jobs of all people"
    for kind, key, rows in (("account", "account", found["associations"]), ("QOS", "name", found["qos"])):
        for row in rows:
            limits = [text.format(row[column]) for column, text in _LIMITS.items() if row.get(column)]
            yield f"{kind} {row[key]}: {', '.join(limits) or 'no limit'}"
