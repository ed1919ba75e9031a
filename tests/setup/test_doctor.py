"""What the doctor makes of measured truths: every kind of trouble has a row with evidence and repair."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from jobs.errors import AccessError
from jobs.gpu import Card
from jobs.truths import truths
from setup.doctor import examine, silent
from setup.gpudriver import cuda_of
from setup.patient import Patient
from setup.rows import FOUND, NOTE, OK, UNKNOWN, Row
from setup.site import Host

A10 = Card(0, "GPU-1", "NVIDIA A10", "545.23.08", 23028, 100, 3, "8.6").to_json()
GIB = 1 << 30
SLURM: dict[str, Any] = {
    "sbatch": "/b",
    "version": "22.05.8",
    "partitions": [
        {
            "name": "gpu",
            "up": True,
            "time": "2:00:00",
            "nodes": 3,
            "cpus": 12,
            "machines": ["x86_64", "aarch64"],
            "gpus": {"h100": 3},
        }
    ],
    "array": 13,
    "jobs": None,
    "associations": [{"account": "lab", "qos": "short", "maxjobs": "", "maxsubmit": "", "maxwall": ""}],
    "qos": [{"name": "short", "maxjobspu": "", "maxsubmitpu": "4", "maxwall": "1:00:00"}],
}


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What this machine tells, after the wire, made equal on all machines where the tests depend on it."""
    told: dict[str, Any] = json.loads(json.dumps(truths(None, plant=False)))  # type: ignore[arg-type]  # no agent needed
    value = told["truths"]
    value["machine"]["value"].update(gpus=[], machine="x86_64", glibc="2.36")
    value["machine"]["value"]["reasons"]["gpus"] = "no nvidia-smi in PATH"
    value["home_disk"]["value"].update(free_bytes=500 * GIB, free_files=10**7, read_only=False, kind="ext4")
    value["home_write"]["value"].update(error=None, reserved=True, seconds=0.1, files=16, bytes=4 << 20)
    value["shell"]["value"].update(seconds=0.05, printed=0, status=0, error=None)
    value.update(conda={"value": {"installations": [], "envs": []}}, envs={"value": []}, quota={"value": None})
    value.update(vscode={"value": []}, slurm={"value": {"sbatch": None, "controller": None, "accounting": None}})
    value.update(survivor={"value": {"state": "survived"}}, home_clock={"value": 0.0})
    return told


def rows(measured: dict[str, Any], ahead: float | None = 0.0, **changes: Any) -> dict[str, Row]:
    """Rows by check (the last of one name) with some truths changed: `home_write={"error": ...}` updates its value."""
    told = copy.deepcopy(measured)
    for name, change in changes.items():
        if isinstance(change, str):
            told["truths"][name] = {"error": change}
        elif isinstance(change, dict):
            told["truths"][name]["value"].update(change)
        else:
            told["truths"][name]["value"] = change
    now = None if ahead is None else told["clock"] - ahead
    return {row.check: row for row in examine(Patient.of("grace", told, now))}


def test_a_healthy_host_has_no_findings(measured: dict[str, Any]) -> None:
    found = rows(measured)
    assert [row for row in found.values() if row.state in (FOUND, UNKNOWN)] == []
    assert "x86_64" in found["machine"].evidence and "glibc 2.36" in found["machine"].evidence
    assert found["detached jobs"].state == OK and found["gpu"].evidence == "none (no nvidia-smi in PATH)"


LOOK = {
    "folder": "~/.vscode-server",
    "machine": "aarch64",
    "state": "foreign",
    "pieces": [["code-1", "x86_64"]],
    "extensions": ["a.b"],
    "alive": [],
    "recent": None,
    "parked": [],
    "unfinished": False,
}
CONDA = {"kind": "miniforge", "version": "24.1", "prefix": "/c", "machine": "aarch64", "runs": False, "defaults": False}


SILENT_DRIVER = {"cpus": "", "memory_mb": "", "gpus": "it did not answer"}


@pytest.mark.parametrize(
    ("check", "state", "words", "changes"),
    [
        (
            "gpu",
            FOUND,
            "did not answer",
            {"machine": {"reasons": SILENT_DRIVER}},
        ),
        ("home disk", FOUND, "only 2.0 GB free", {"home_disk": {"free_bytes": 2_000_000_000}}),
        ("home disk", FOUND, "room for 900 files", {"home_disk": {"free_files": 900}}),
        ("home disk", FOUND, "read-only", {"home_disk": {"read_only": True}}),
        ("home disk", UNKNOWN, "no answer within 20 s", {"home_disk": "no answer within 20 s"}),
        ("home writing", FOUND, "quota exceeded", {"home_write": {"error": "Disk quota exceeded", "errno": "EDQUOT"}}),
        ("home writing", FOUND, "refused", {"home_write": {"reserved": False}}),
        ("home writing", NOTE, "in 7.50 s", {"home_write": {"seconds": 7.5}}),
        ("local locks", FOUND, "No locks", {"local_locks": {"flock": "No locks available"}}),
        ("local locks", FOUND, "second holder", {"local_locks": {"excludes": False}}),
        ("home locks", NOTE, "no answer", {"home_locks": "no answer within 20 s"}),
        ("home locks", NOTE, "lockf: No locks", {"home_locks": {"lockf": "No locks available"}}),
        ("local disk", FOUND, "nfs4", {"local_disk": {"kind": "nfs4", "on_network": True}}),
        ("clock", FOUND, "-90.0 s against this machine", {"ahead": -90.0}),
        ("clock", FOUND, "+40.0 s against the home", {"home_clock": -40.0}),
        ("detached jobs", FOUND, "was killed", {"survivor": {"state": "killed"}}),
        ("detached jobs", UNKNOWN, "planted", {"survivor": {"state": "waits"}}),
        ("shell", NOTE, "print 12 bytes, and end with 1", {"shell": {"printed": 12, "status": 1}}),
        ("shell", FOUND, "3000 ms", {"shell": {"seconds": 3.0}}),
        ("shell", FOUND, "more than 10 s", {"shell": {"error": "its start-up files take more than 10 s"}}),
        ("slurm", FOUND, "sacct does not answer: no", {"slurm": {"sbatch": "/b", "accounting": "no"}}),
        ("slurm", FOUND, "controller does not answer", {"slurm": {"sbatch": "/b", "controller": "down"}}),
        ("slurm", OK, "Slurm 22.05.8, /b: the controller and sacct answer", {"slurm": SLURM}),
        (
            "slurm partition",
            NOTE,
            "gpu: x86_64 and aarch64, 3 nodes, 12 cores, 3 h100, at most 2:00:00",
            {"slurm": SLURM},
        ),
        ("slurm limits", OK, "12 jobs; account lab: no limit; QOS short: 4 jobs in Slurm, 1:00:00", {"slurm": SLURM}),
        ("vs code", FOUND, "programs for x86_64, this host is aarch64", {"vscode": [LOOK]}),
        ("vs code", FOUND, "interrupted", {"vscode": [{**LOOK, "unfinished": True}]}),
        ("vs code", NOTE, "half-made", {"vscode": [{**LOOK, "state": "unknown"}]}),
        ("vs code", OK, "1 extensions", {"vscode": [{**LOOK, "state": "fits"}]}),
        ("conda", NOTE, "/c is for aarch64", {"conda": {"installations": [CONDA]}}),
        ("conda", OK, "miniforge 24.1 at /c", {"conda": {"installations": [{**CONDA, "runs": True}]}}),
        ("conda channel", NOTE, "defaults", {"conda": {"installations": [{**CONDA, "runs": True, "defaults": True}]}}),
        ("conda envs", NOTE, "1 of 1", {"conda": {"envs": [{"prefix": "/e", "machine": "aarch64", "runs": False}]}}),
        (
            "environment",
            FOUND,
            "half made",
            {"envs": [{"lock": "3f9c", "torch": None, "state": "half made", "reason": "it was never finished"}]},
        ),
        (
            "quota",
            FOUND,
            "195.0 GB used of 200.0 GB",
            {"quota": [{"path": "h", "used_bytes": 195e9, "limit_bytes": 200e9, "used_files": 5, "limit_files": None}]},
        ),
    ],
)
def test_each_trouble_has_its_row(
    measured: dict[str, Any], check: str, state: str, words: str, changes: dict[str, Any]
) -> None:
    row = rows(measured, **changes)[check]
    assert (row.state, words in row.evidence) == (state, True), row
    assert row.repair or state == OK


def test_a_card_with_company(measured: dict[str, Any]) -> None:
    user = {"user": "mdupont", "program": "standard", "memory_mb": 21402, "foreign": True}
    found = rows(measured, machine={"gpus": [A10]}, load=[user])
    assert found["gpu"].evidence == "0: NVIDIA A10 · capability 8.6 · 22 GB · driver 545.23.08 (CUDA 12.3)"
    assert found["gpu load"].evidence == "others compute here: mdupont (standard, 20.9 GB)"
    assert found["torch wheel"].state == OK and "cu126" in found["torch wheel"].evidence
    assert "GPU 0: 3 % busy" in rows(measured, machine={"gpus": [A10]}, load=[])["gpu load"].evidence


def test_an_old_driver_is_a_finding(measured: dict[str, Any]) -> None:
    row = rows(measured, machine={"gpus": [{**A10, "driver": "470.82"}]})["torch wheel"]
    assert row.state == FOUND and row.repair


def test_a_host_whose_machine_cannot_be_measured(measured: dict[str, Any]) -> None:
    assert rows(measured, machine="no answer within 20 s")["machine"].state == UNKNOWN


def test_a_silent_host_is_a_row() -> None:
    row = silent(AccessError("the host key of grace is not known", "ssh-keyscan grace"))
    assert (row.check, row.state, row.repair) == ("reachable", FOUND, "ssh-keyscan grace")


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [
        ("545.23.08", "12.3"),
        ("550.54.15", "12.4"),
        ("580.65.06", "13.0"),
        ("595.1", "13.0+"),
        ("390.1", None),
        ("?", None),
    ],
)
def test_a_driver_tells_its_cuda(driver: str, cuda: str | None) -> None:
    assert cuda_of(driver) == cuda


def test_what_the_site_file_expects_stands_beside_what_was_measured(measured: dict[str, Any]) -> None:
    told = copy.deepcopy(measured)
    told["truths"]["machine"]["value"]["gpus"] = [A10]
    patient = Patient.of("grace", told)
    expect = {"architecture": "arm64", "gpu": "GH200", "driver": "545", "unheard": "x"}
    found = {row.check: row for row in examine(patient, Host("grace", "g", expect=expect, scheduler="slurm"))}
    assert found["expected architecture"].evidence == "expected arm64, measured x86_64"
    assert found["expected gpu"].evidence == "expected GH200, measured NVIDIA A10"
    patient.truths["slurm"] = {"value": {**SLURM, "controller": None, "accounting": None}}
    site = Host("grace", "g", scheduler="slurm", slurm={"partition": "gpo"})
    (row,) = [row for row in examine(patient, site) if row.check == "expected partition"]
    assert row.evidence == "expected the partition gpo, Slurm has gpu"
    assert found["expected scheduler"].state == FOUND and "expected driver" not in found
    fine = examine(patient, Host("nodal", "n", expect={"architecture": "amd64", "gpu": "a10"}))[-1]
    assert (fine.check, fine.state) == ("expected", OK)
