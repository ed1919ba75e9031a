"""The site's options of sbatch beside a job's resources: one spelling, none overwritten, refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import slurm_options
from jobs.errors import OrchError

NEEDS = {"cpus": 4, "gpus": 1, "memory_mb": 2000}
REFUSED = [
    "clusters",
    "M",
    "cluster",
    "--clusters",
    "job-name",
    "job_name",
    "J",
    "array",
    "a",
    "output",
    "o",
    "error",
    "requeue",
    "chdir",
    "D",
    "export",
    "signal",
    "wait",
    "parsable",
    "quiet",
    "partition",
    "p",
    "account",
    "qos",
    "constraint",
    "exclude",
    "time",
    "t",
    "wrap",
    "dependency",
    "open_mode",
    "test-only",
    "clus",
]


@pytest.mark.parametrize("key", REFUSED)
def test_what_orch_needs_or_what_hides_jobs_is_refused_by_name(key: str) -> None:
    (trouble,) = slurm_options.troubles({"options": {key: "x"}})
    assert trouble.key == key and "cannot be set here" in trouble.text and trouble.hint
    with pytest.raises(OrchError, match="of the site file"):
        slurm_options.merged(NEEDS, {"options": {key: "x"}})


@pytest.mark.parametrize(
    ("slurm", "more", "expected"),
    [
        ({}, {}, {"cpus-per-task": 4, "gpus-per-node": 1, "mem": "2000M"}),
        ({"gpu_type": "a100"}, {}, {"cpus-per-task": 4, "gpus-per-node": "a100:1", "mem": "2000M"}),
        ({"gpu_type": "a100"}, {"gpu_type": "h100", "gpus": 2},
         {"cpus-per-task": 4, "gpus-per-node": "h100:2", "mem": "2000M"}),
        ({"gpu_type": "a100"}, {"gpus": 0}, {"cpus-per-task": 4, "mem": "2000M"}),
        ({"options": {"gpus-per-node": "h100:1"}}, {}, {"cpus-per-task": 4, "gpus-per-node": "h100:1", "mem": "2000M"}),
        ({"options": {"gpus_per_node": "h100:1"}}, {}, {"cpus-per-task": 4, "gpus-per-node": "h100:1", "mem": "2000M"}),
        ({"options": {"gres": "gpu:a100:1"}}, {}, {"cpus-per-task": 4, "gres": "gpu:a100:1", "mem": "2000M"}),
        ({"options": {"G": "a100:1"}}, {}, {"cpus-per-task": 4, "gpus": "a100:1", "mem": "2000M"}),
        ({"options": {"gres": "nvme:1"}}, {},
         {"cpus-per-task": 4, "gpus-per-node": 1, "gres": "nvme:1", "mem": "2000M"}),
        ({"options": {"cpus_per_task": 2}}, {}, {"cpus-per-task": 2, "gpus-per-node": 1, "mem": "2000M"}),
        ({"options": {"cpus-per-gpu": 8}}, {}, {"cpus-per-gpu": 8, "gpus-per-node": 1, "mem": "2000M"}),
        ({"options": {"mem-per-cpu": "4G"}}, {}, {"cpus-per-task": 4, "gpus-per-node": 1, "mem-per-cpu": "4G"}),
        ({"options": {"reservation": "ours", "exclusive": True, "x11": False}}, {"memory_mb": None},
         {"cpus-per-task": 4, "gpus-per-node": 1, "reservation": "ours", "exclusive": True}),
        ({"options": {"gpus": "h100:1"}}, {"gpu_type": "h100"}, {"cpus-per-task": 4, "gpus": "h100:1", "mem": "2000M"}),
    ],
)  # fmt: skip
def test_options_count_where_they_say_how_much_or_which_kind(
    slurm: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert slurm_options.merged({**NEEDS, **more}, slurm) == expected


def test_two_words_for_one_thing_are_refused() -> None:
    (twice,) = slurm_options.troubles({"options": {"gpus-per-node": 1, "gpus_per_node": 2}})
    assert "says again what gpus-per-node says" in twice.text
    (kind,) = slurm_options.troubles({"gpu_type": "a100", "options": {"gres": "gpu:h100:1"}})
    assert "and so does gpu_type" in kind.text
    with pytest.raises(OrchError, match="they ask for gpu:a100:1, and the sweep for h100"):
        slurm_options.merged({"gpus": 1, "gpu_type": "h100"}, {"options": {"gres": "gpu:a100:1"}})
    assert [trouble.text for trouble in slurm_options.troubles({"options": {"comment": "a\n#SBATCH --x"}})]


def test_kinds_of_cards() -> None:
    assert all(map(slurm_options.is_type, ("a100", "nvidia_h100_80gb", "1g.5gb")))
    assert not any(map(slurm_options.is_type, ("", "a100:1", "4", "a b", "-x", 7, None)))
    assert slurm_options.words({"a": True, "b": 1, "c": None, "d": False}) == ("--a", "--b=1")
