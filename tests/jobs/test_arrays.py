"""What is written down of a job array, on a real disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jobs import arrays, slurm
from jobs.folder import Home
from jobs.queue import Entry


def entries(count: int) -> list[Entry]:
    made = []
    for number in range(count):
        job = {"sweep": "s", "id": f"{number:016x}", "attempt": 1, "placement": {"slurm": {}}}
        made.append(Entry("batch", ("s", job["id"], 1), json.dumps(job).encode()))  # type: ignore[arg-type]
    return made


def test_an_array_is_there_whole_before_it_has_an_id_and_gone_when_it_is_over(orch_home: Home) -> None:
    made = arrays.publish(orch_home, "login", "abc", entries(3))
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
