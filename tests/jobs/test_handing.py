"""Handing entries to Slurm and looking after them: programs in PATH play a Slurm that keeps its jobs in files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ground import until
from local_host import make_home
from standins.slurm import Cluster

from jobs import absences, arrays, handing, host, slurm_client
from jobs.folder import Home, HostFolder
from jobs.handing import Handing
from jobs.holds import Holds
from jobs.queue import Entry


@pytest.fixture
def cluster(tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """That Slurm in PATH; nothing is remembered of another one, and one look that misses a job proves that it left."""
    slurm_client.forget_answers()
    for name, value in (("LOOKS", 1), ("LISTED", 1), ("SPAN", 0.0), ("APART", 0.0)):
        monkeypatch.setattr(absences, name, value)
    monkeypatch.setattr(slurm_client, "SILENCE", 0.0)
    return Cluster(tmp_path / "cluster", program)


@pytest.fixture
def keeper(orch_home: Home, tmp_path: Path, cluster: Cluster) -> Handing:
    """The keeper's part, with twelve entries that wait."""
    local = HostFolder(str(tmp_path / "place"))
    make_home(Path(orch_home.path), local)
    Path(local.path).mkdir()
    found = Handing(orch_home, local, "login", lambda text: None)
    for number in range(12):
        about = {"sweep": "s", "id": f"{number:016x}", "attempt": 1, "placement": {"slurm": {}}}
        job = {**about, "resources": {"cpus": 1}, "argv": [sys.executable]}
        found.add(Entry("batch", ("s", f"{number:016x}", 1), json.dumps(job).encode()))
    return found


def begin(keeper: Handing, count: int) -> None:
    """The first jobs that wait begin: their run folders are there."""
    for key in list(keeper.waiting)[:count]:
        Path(keeper.home.attempt(*key).path).mkdir(parents=True)


def test_as_many_as_are_admitted_then_as_many_as_leave(keeper: Handing, cluster: Cluster) -> None:
    cluster.set("limit", "5")
    keeper.tend()
    assert cluster.sizes == [12, 6, 3, 3, 1, 1, 1] and len(cluster.tasks) == 5
    assert "admits at once" in handing.refusal(keeper.local)
    keeper.tend()
    assert cluster.sizes == [], "it is full: nobody asks"
    begin(keeper, 2)
    cluster.leave(*cluster.tasks[:2])
    assert len(keeper.tend().served) == 2
    assert cluster.sizes == [2] and len(cluster.tasks) == 5
    cluster.set("limit", "1000")
    keeper.refused_until = 0.0
    keeper.tend()
    assert cluster.sizes == [1, 2, 2], "one is tried, then twice as many"
    keeper.tend()
    assert cluster.sizes == [] and len(keeper.waiting) == 10


def test_an_array_that_is_too_large_is_halved_for_good(keeper: Handing, cluster: Cluster) -> None:
    cluster.set("refuse", "sbatch: error: Batch job submission failed: Invalid job array specification")
    keeper.tend()
    assert cluster.sizes == [12, 6, 3, 1, 0] and keeper.most == 1 and keeper.single
    assert not keeper.arrays, "what was refused is forgotten"
    assert "neither an array of one job nor a single one" in Holds(keeper.local).sweeps["s"].reason


def test_what_is_refused_for_good_is_asked_once_and_held(keeper: Handing, cluster: Cluster) -> None:
    cluster.set("refuse", "sbatch: error: Batch job submission failed: Invalid qos specification")
    assert len(keeper.tend().back) == 12 and not keeper.busy
    assert cluster.sizes == [12]
    assert "this QOS does not exist" in Holds(keeper.local).sweeps["s"].reason


def test_an_array_that_was_accepted_without_an_answer_is_found_by_its_name(keeper: Handing, cluster: Cluster) -> None:
    """Injected: sbatch that fails after it was accepted, once."""
    cluster.set("silent", "")
    keeper.tend()
    assert cluster.sizes == [12] and [array.job for array in keeper.arrays] == ["101"]


def test_an_array_of_which_nothing_turns_up_is_asked_for_again(
    keeper: Handing, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: sbatch that cannot reach the controller, once. Not before its time is over, then once."""
    cluster.set("refuse", "sbatch: error: Unable to contact slurm controller")
    keeper.tend()
    (cluster.base / "refuse").unlink()
    keeper.refused_until = 0.0
    keeper.tend()
    assert cluster.sizes == [12] and [array.job for array in keeper.arrays] == [None]
    monkeypatch.setattr(handing, "UNSURE", 0.0)
    keeper.tend()
    keeper.tend()
    assert cluster.sizes == [12] and len(cluster.tasks) == 12


def test_what_nobody_understands_is_held_with_slurms_words_after_a_few_tries(
    keeper: Handing, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: sbatch that always fails with words that nobody knows. Asked twice, looked for each time, then held."""
    monkeypatch.setattr(handing, "PUZZLED", 0.0)
    monkeypatch.setattr(handing, "AGAIN", 0.0)
    cluster.set("refuse", "sbatch: error: your project has expired\nsbatch: error: Batch job submission failed: Oh")
    back = [entry for _ in range(8) for entry in keeper.tend().back]
    assert cluster.sizes == [12, 12] and len(back) == 12
    reason = Holds(keeper.local).sweeps["s"].reason
    assert "orch does not know why: sbatch: your project has expired; Batch job submission failed: Oh" in reason


def test_a_limit_without_a_name_is_held_when_nothing_of_ours_is_in_slurm(
    keeper: Handing, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: sbatch that always says the general sentence. Jobs of ours are no reason: a person must look."""
    monkeypatch.setattr(handing, "AGAIN", 0.0)
    cluster.set("refuse", "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job limit)")
    for _ in range(handing.STALLS):
        assert not Holds(keeper.local).sweeps
        keeper.tend()
    assert (
        "orch does not know why: sbatch: Batch job submission failed: Job violates"
        in Holds(keeper.local).sweeps["s"].reason
    )


def test_where_arrays_are_disabled_jobs_are_submitted_one_by_one(
    keeper: Handing, cluster: Cluster, program: Callable[[str, str], Path]
) -> None:
    """A MaxArraySize of 0. Twelve single jobs, each found again by its own id and looked after like a task."""
    program("scontrol", "#!/bin/sh\necho 'MaxArraySize = 0'\n")
    keeper.tend()
    assert cluster.sizes == [0] * 12 and all(task.isdigit() for task in cluster.tasks)
    assert [array.tasks() for array in keeper.arrays] == [
        array.tasks() for array in arrays.arrays(keeper.home, "login")
    ]
    cluster.leave(cluster.tasks[0], how="FAILED")
    keeper.tend()
    assert cluster.sizes == [0] and len(keeper.waiting) == 12


@pytest.mark.parametrize(
    "answer",
    [
        "Welcome, job 7 is yours\nSubmitted batch job 101",
        "\033[1mSubmitted batch job 101\033[0m",
        "Submitted batch job 1,01",
        "job 7",
        "Submitted batch job 7\nSubmitted batch job 101",
    ],
)
def test_the_id_is_taken_from_sbatchs_own_line_or_found_by_name(
    keeper: Handing, cluster: Cluster, program: Callable[[str, str], Path], answer: str
) -> None:
    """Injected: sbatch's answer with a greeting, colours, separators, two ids, none. Never another number is taken."""
    path = program("sbatch", (Path(cluster.base).parent / "bin" / "sbatch").read_text())
    path.write_text(path.read_text().replace('print(f"Submitted batch job {job}")', f"print({answer!r})"))
    keeper.tend()
    assert [array.job for array in keeper.arrays] == ["101"] and cluster.sizes == [12]


def test_sbatch_that_never_answers_is_ended_with_all_its_processes(
    keeper: Handing, cluster: Cluster, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: sbatch that sleeps and retries for ever (MaxJobCount), once. It cannot submit later."""
    monkeypatch.setattr(arrays, "SBATCH_LIMIT", 2.0)
    program("sbatch", f"#!/bin/sh\necho $$ > {cluster.base}/pid\nexec sleep 600\n")
    keeper.tend()
    pid = int((cluster.base / "pid").read_text())
    until(lambda: not host.is_alive(pid, None), what="sbatch is ended")
    assert "sbatch does not answer within 2 s" in handing.refusal(keeper.local)
    assert [array.job for array in keeper.arrays] == [None], "it is looked for"


def test_what_leaves_without_having_begun_is_told_by_how_it_ended(keeper: Handing, cluster: Cluster) -> None:
    """One is cancelled in Slurm's queue (which keeps nothing of it); one cannot start, three times."""
    keeper.tend()
    first, second = cluster.tasks[:2]
    keys = list(keeper.waiting)
    cluster.leave(first)
    cluster.leave(second, how="NODE_FAIL")
    keeper.tend()
    assert Path(keeper.home.attempt(*keys[0]).exit).exists(), "stopped: cancelled in Slurm"
    assert keys[1] in keeper.waiting and cluster.sizes == [12], "others of its array go on: not yet"
    for key in keys[2:]:
        Path(keeper.home.attempt(*key).path).mkdir(parents=True)
    for count in range(handing.TRIES):
        cluster.leave(*cluster.tasks, how="FAILED")
        keeper.tend()
        assert cluster.sizes == ([1] if count < handing.TRIES - 1 else [])
    assert "3 Slurm jobs ended before it began" in Holds(keeper.local).sweeps["s"].reason
    assert arrays.arrays(keeper.home, "login") == []


@pytest.mark.parametrize(
    ("partition", "more", "minutes"),
    [
        ("1-00:00:00", {}, 111),  # twice 50 minutes, ten for the start, rounded up
        ("1:30:00", {}, 90),  # no more than the partition allows
        ("infinite", {}, 111),
        ("infinite", {"placement": {"slurm": {"time": 240}, "expected_s": 3000}}, 240),
        ("infinite", {"resources": {"time_limit_s": 600}}, 14),
        ("infinite", {"placement": {"slurm": {}}}, None),
        ("n/a", {}, None),  # a Slurm that does not say what it allows
    ],
)
def test_a_training_asks_for_the_time_that_history_names(
    orch_home: Home, tmp_path: Path, cluster: Cluster, partition: str, more: dict[str, Any], minutes: int | None
) -> None:
    cluster.set("partitions", f"slow|slow|1:00\ngpu|gpu*|{partition}\n")
    local = HostFolder(str(tmp_path / "place"))
    make_home(Path(orch_home.path), local)
    Path(local.path).mkdir()
    keeper = Handing(orch_home, local, "login", lambda text: None)
    about = {"sweep": "s", "id": "0" * 16, "attempt": 1, "placement": {"slurm": {}, "expected_s": 3000}}
    job = {**about, "resources": {"cpus": 1}, "argv": [sys.executable], **more}
    keeper.add(Entry("batch", ("s", "0" * 16, 1), json.dumps(job).encode()))
    keeper.tend()
    assert cluster.sizes == [1] and cluster.minutes == minutes


@pytest.mark.parametrize("answers", ["short", "pointed"])
def test_an_id_that_squeue_cuts_takes_the_place_of_none(keeper: Handing, cluster: Cluster, answers: str) -> None:
    """Injected: squeue that cuts ids or writes separators into them, five looks long; the array has no id yet."""
    cluster.set("answers", answers)
    keeper.tend()
    assert [array.job for array in keeper.arrays] == ["101"]
    keeper.arrays = [array._replace(job=None, at=0.0) for array in keeper.arrays]
    for _ in range(5):
        keeper.tend()
    assert [array.job for array in keeper.arrays] == [None] and cluster.sizes == [12], "neither given up nor misnamed"
    cluster.set("answers", "good")
    keeper.tend()
    assert [array.job for array in keeper.arrays] == ["101"] and cluster.sizes == []
