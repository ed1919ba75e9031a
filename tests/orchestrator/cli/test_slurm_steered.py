"""A Slurm that is not as friendly: variables that steer it, wrappers before it, kinds of cards, old shells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from lab.slurm import Slurm

pytestmark = pytest.mark.slow
SITE = "  local: {scheduler: slurm, slurm: {%s}}"
STEERING = {
    "SQUEUE_STATES": "PENDING", "SQUEUE_NAMES": "nobody", "SQUEUE_ACCOUNT": "nobody", "SQUEUE_PARTITION": "nowhere",
    "SQUEUE_FORMAT": "%.5i", "SQUEUE_FORMAT2": "jobid:5", "SQUEUE_USERS": "nobody", "SBATCH_PARTITION": "nowhere",
    "SBATCH_GRES": "gpu:a100:9", "SBATCH_CONSTRAINT": "nowhere", "SLURM_CLUSTERS": "nowhere", "SBATCH_TEST_ONLY": "1",
    "SINFO_PARTITION": "nowhere", "SACCT_FORMAT": "user", "SCANCEL_NAME": "nobody", "SCANCEL_STATE": "PENDING",
    "SLURM_TIME_FORMAT": "relative", "SBATCH_HOLD": "1",
}  # fmt: skip
# Before the real squeue: a greeting, a header, colours, and answers that are 6 s old.
WRAPPER = """#!/bin/sh
export SQUEUE_SORT=i
kept={folder}/$(echo "$*" | cksum | cut -d " " -f 1)
if test -z "$(find $kept -newermt '-6 seconds' 2>/dev/null)"; then
    /usr/bin/squeue "$@" > $kept.new; code=$?; mv $kept.new $kept
fi
echo "Welcome to lab. 3 jobs | 2 of them yours"
printf 'JOBID|STATE|NAME|REASON\\n'
sed 's/RUNNING/\\x1b[32mRUNNING\\x1b[0m/' $kept
echo "Quota: 12% used"
exit ${{code:-0}}
"""


@pytest.fixture
def ground(slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
    """A project on the login node of that Slurm."""
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", SITE % "partition: gpu")
    yield found
    found.close()


def held_back(ground: Ground) -> str:
    """A job that tells that it began and waits until the file `go` is there."""
    return f"echo {{n}} >> {ground.project}/ran; until test -e {ground.project}/go; do sleep 0.1; done"


def test_variables_that_steer_slurm_neither_hide_nor_double_a_job(ground: Ground, slurm: Slurm) -> None:
    """Injected: eighteen variables of a start-up file, in every command. Each job once, shown as it is, and stopped."""
    ground.sweep("steered", held_back(ground), "{n: 1..5}", resources={"gpus": 1})
    ground.variables.update(STEERING)
    assert ground.orch("sweep", "steered", "--detach").code == 0
    until(lambda: len(ground.ran()) == 3, what="three run")
    assert sorted(ground.states("steered").values()) == ["queued"] * 2 + ["running"] * 3
    assert ground.orch("sweep", "steered", "--detach").code == 0
    ground.orch("stop", "n=1")
    until(lambda: ground.states("steered")["n=1"] == "stopped", what="scancel reaches it")
    (ground.project / "go").touch()
    ground.orch("attach", "steered")
    assert sorted(ground.states("steered").values()) == ["done"] * 4 + ["stopped"]
    assert ground.ran() == ["1", "2", "3", "4", "5"]


def test_a_squeue_that_talks_and_answers_from_a_cache_doubles_nothing(
    ground: Ground, slurm: Slurm, program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """Injected: each answer of squeue is up to 6 s old, with a greeting, a header, colours and a quota around it."""
    (tmp_path / "kept").mkdir()
    program("squeue", WRAPPER.format(folder=tmp_path / "kept"))
    ground.sweep("talks", held_back(ground), "{n: 1..4}")
    assert ground.orch("sweep", "talks", "--detach").code == 0
    until(lambda: len(ground.ran()) == 4, what="all run")
    seen = set(ground.states("talks").values())
    assert seen == {"running"}, "the controller itself was asked"
    assert ground.orch("sweep", "talks", "--detach").code == 0
    (ground.project / "go").touch()
    assert ground.orch("attach", "talks").code == 0
    assert ground.ran() == ["1", "2", "3", "4"]


def test_a_kind_of_card_is_asked_for_and_given(ground: Ground, slurm: Slurm) -> None:
    """By the sweep, by the site, by the site's options; one that is not there is told, and none is taken instead."""
    for number, (asked, resources) in enumerate(
        [
            ("", {"gpus": 1, "gpu_type": "h100"}),
            (", gpu_type: h100", {"gpus": 1}),
            (', options: {gpus-per-node: "h100:1", cpus-per-task: 2}', {"gpus": 1}),
            (', options: {gres: "gpu:h100:1"}', {"gpus": 1}),
        ]
    ):
        ground.write("site.yaml", "hosts:", SITE % f"partition: gpu{asked}")
        script = f"echo $CUDA_VISIBLE_DEVICES >> {ground.project}/ran"
        ground.sweep(f"kind{number}", script, "{n: [1]}", resources=resources)
        done = ground.orch("sweep", f"kind{number}")
        assert done.code == 0, done.err
        told = slurm.ask("scontrol", "-o", "show", "job").splitlines()
        (line,) = [line for line in told if f"JobName=kind{number}." in line]
        assert "gres/gpu:h100" in line or "gpu:h100:1" in line, line
        assert "gpus-per-node" not in asked or "NumCPUs=2" in line
    assert ground.ran() == ["0"] * 4
    ground.write("site.yaml", "hosts:", SITE % "partition: gpu")
    ground.sweep("none", "true", "{n: [1]}", resources={"gpus": 1, "gpu_type": "a100"})
    said = ground.orch("sweep", "none")
    assert said.code and "of the kind a100" in said.err and "h100" in said.err
    ground.write("site.yaml", "hosts:", SITE % "partition: gpu, options: {requeue: true}")
    assert "options.requeue: the option requeue cannot be set here" in ground.orch("sweep", "none").err


def test_a_keeper_of_another_shell_spoils_no_later_sweep(ground: Ground, slurm: Slurm, tmp_path: Path) -> None:
    """Injected: the first sweep's shell finds neither squeue nor sbatch. Its keeper serves the next sweep rightly."""
    ground.sweep("right", f"echo {{n}} >> {ground.project}/ran", "{n: 1..3}")
    ground.sweep("wrong", f"echo {{n}} >> {ground.project}/ran", "{n: 1..3}")
    plan = ground.orch("sweep", "right")
    assert plan.code == 0, plan.err
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sinfo", "scontrol"):  # enough for a plan; no squeue, no sbatch
        (bare / name).symlink_to(f"/usr/bin/{name}")
    kept = f"{bare}:{Path(ground.environment['PATH'].split(':')[0])}"
    assert ground.orch("sweep", "wrong", "--detach", PATH=kept).code == 0
    until(lambda: "those of the command that queued" in ground.orch("why", "n=1", "--sweep", "wrong").out, what="told")
    assert ground.keepers()
    ground.sweep("next", f"echo {{n}}0 >> {ground.project}/ran", "{n: 1..3}")
    assert ground.orch("sweep", "next", timeout=90).code == 0
    assert ground.ran() == ["1", "10", "2", "20", "3", "30"]
    ground.orch("stop", "wrong")
