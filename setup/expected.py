"""What the site file expects of a host, beside what was measured there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.elf import canonical
from jobs.envs import architecture

from .patient import Patient
from .rows import FOUND, NOTE, OK, Row, value_of
from .site import Host


def differences(host: Host, patient: Patient) -> Iterator[Row]:
    """Yield a row for everything that the site file says and the host does not bear out; one `ok` row if there is none.

    Texts are compared without regard to case; an expected one need only stand in the measured one (`A10` in
    `NVIDIA A10`), but an architecture must be equal.
    """
    wrong = [row for row in _compare(host, patient) if row]
    if wrong:
        yield from wrong
    elif host.expect:
        yield Row("expected", OK, f"as the site file says: {', '.join(sorted(host.expect))}")


def _compare(host: Host, patient: Patient) -> Iterator[Row | None]:
    repair = f"correct hosts.{host.name} in the site file, or ask the administrator"
    measured = _measured(patient)
    for key, value in host.expect.items():
        found = measured.get(key)
        if found is not None and not _agrees(key, value, found):
            yield Row(f"expected {key}", FOUND, f"expected {value}, measured {found or 'none'}", repair)
    slurm = value_of(patient.truths, "slurm")
    if host.scheduler == "slurm" and slurm and not slurm["sbatch"]:
        yield Row("expected scheduler", FOUND, "expected slurm, measured none (no sbatch in PATH)", repair)
    yield _submitit(host, value_of(patient.truths, "submitit"))
    yield from _partitions(host, {one["name"]: one for one in (slurm or {}).get("partitions", ())})


def _partitions(host: Host, there: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    for order in host.orders if there else ():
        wanted = [name for name in (order["partition"] or "").split(",") if name]
        if not set(wanted) <= set(there):
            text = f"expected the partition {','.join(wanted)}, Slurm has {', '.join(there)}"
            yield Row("expected partition", FOUND, text, f"correct hosts.{host.name}.slurm.partition in the site file")
            continue
        machines = {machine for name in wanted for machine in there[name]["machines"]}
        if order["arch"] and machines and order["arch"] not in map(architecture, machines):
            text = f"expected {order['arch']} in {','.join(wanted)}, Slurm tells {' and '.join(sorted(machines))}"
            repair = (
                f"correct hosts.{host.name}.slurm in the site file, unless Slurm is wrong: what is written is taken"
            )
            yield Row("expected partition", NOTE, text, repair)


def _submitit(host: Host, found: Mapping[str, Any] | None) -> Row | None:
    """By it jobs are handed to Slurm. What the site file names its owner completes; our own environment has it."""
    if found is None or found["python"]:
        return None
    repair = f"{found['tried'][0]} -m pip install submitit" if host.python else f"orch setup --host {host.name}"
    return Row(
        "submitit", FOUND, f"no Python has it that could hand jobs to Slurm: {', '.join(found['tried'])}", repair
    )


def _measured(patient: Patient) -> dict[str, str]:
    facts = patient.facts
    if facts is None:
        return {}
    return {
        "architecture": facts.architecture,
        "os": facts.os,
        "kernel": facts.kernel,
        "glibc": facts.glibc or "",
        "python": facts.python,
        "hostname": facts.hostname,
        "gpu": ", ".join(card.name for card in facts.cards),
        "driver": facts.driver or "",
    }


def _agrees(key: str, expected: str, found: str) -> bool:
    if key == "architecture":
        return canonical(expected) == found
    return expected.lower() in found.lower()
