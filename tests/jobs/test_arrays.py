"""What is written down of a job array, on a real disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from local_host import make_home

from jobs import arrays, envs, slurm
from jobs.folder import Home, HostFolder
from jobs.queue import Entry


def entries(count: int) -> list[Entry]:
    made = []
    for number in range(count):
        job = {"sweep": "s", "id": f"{number:016x}", "attempt": 1, "placement": {"slurm": {}}}
        made.append(Entry("batch", ("s", job["id"], 1), json.dumps(job).encode()))  # type: ignore[arg-type]
    return made


def test_an_array_is_there_whole_before_it_has_an_id_and_gone_when_it_is_over(orch_home: Home) -> None:
    make_home(Path(orch_home.path), HostFolder("/place"))
    made = arrays.publish(orch_home, "login", "place", entries(3))
    assert arrays.arrays(orch_home, "login") == [made]
    assert made.job is None and made.tasks() == {}
    known = arrays.identify(made, "12")
    assert arrays.arrays(orch_home, "login") == [known]
    assert list(known.tasks().values()) == ["12_0", "12_1", "12_2"]
    assert Path(known.folder, "jobs.jsonl").read_bytes().splitlines() == [entry.line for entry in entries(3)]
    arrays.forget(known)
    assert arrays.arrays(orch_home, "login") == [] and arrays.arrays(orch_home, "elsewhere") == []


def test_half_an_array_counts_as_none(orch_home: Home) -> None:
    """Injected: a keeper killed while it filled the folder, once."""
    half = Path(arrays.folder_of(orch_home, "login"), ".0123")
    half.mkdir(parents=True)
    (half / "array.json").write_text("{}")
    assert arrays.arrays(orch_home, "login") == []


def test_the_package_runs_on_a_compute_node_out_of_one_file(orch_home: Home) -> None:
    path = arrays.ship(orch_home, "login")
    assert arrays.ship(orch_home, "login") == path
    code = "import sys; sys.path.insert(0, sys.argv[1]); import jobs.slurmtask; print(jobs.slurmtask.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{path}/jobs/slurmtask.py"


def test_only_a_placement_on_slurm_is_handed_over() -> None:
    assert slurm.asked({"placement": {"host": "a", "slurm": {"qos": "b"}}}) == {"qos": "b"}
    assert slurm.asked({"placement": {"host": "a"}}) is None and slurm.asked({}) is None


def test_a_python_of_another_processor_is_passed_over_by_the_login_node(orch_home: Home, tmp_path: Path) -> None:
    """Injected: a program of another processor in the place of the job's Python. The next one submits."""
    make_home(Path(orch_home.path), HostFolder("/place"))
    foreign, own = tmp_path / "foreign/python", tmp_path / "own"
    foreign.parent.mkdir()
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(64))
    own.write_text('#!/bin/sh\nread -r asked; echo "$asked" > "$0.asked"; echo \'{"job": "12"}\'\n')
    for path in (foreign, own):
        path.chmod(0o755)
    pythons = {envs.architecture(): str(own), "riscv64": str(foreign)}
    asked = {"python": str(foreign), "arch": "riscv64", "interpreter": str(foreign)}
    for given in (asked, {**asked, "python": pythons}):
        job = {"sweep": "s", "id": "0", "attempt": 1, "placement": {"slurm": given}, "resources": {}}
        job["argv"] = [str(own.with_name("python"))]
        own.with_name("python").unlink(missing_ok=True)
        own.with_name("python").symlink_to(own)
        entry = Entry("batch", ("s", "0", 1), json.dumps(job).encode())  # type: ignore[arg-type]
        array = arrays.publish(orch_home, "login", "place", [entry])
        assert arrays.submit(array, entry, 1, "package.zip") == "12"
    assert json.loads((tmp_path / "own.asked").read_text())["command"].startswith(f"exec {foreign} -I -S")
