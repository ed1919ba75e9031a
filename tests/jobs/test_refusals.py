"""What sbatch says, read: the texts are those of Slurm 22.05 and 23.11."""

from __future__ import annotations

import pytest

from jobs import refusals

FAILED = "sbatch: Batch job submission failed: "


@pytest.mark.parametrize(
    ("said", "kind", "word"),
    [
        ("sbatch: AssocMaxSubmitJobLimit; Batch job submission failed: Job violates accounting/QOS policy "
         "(job submit limit, user's size and/or time limits)", refusals.FULL, "admits at once"),
        ("sbatch: QOSMaxWallDurationPerJobLimit; Batch job submission failed: Job violates accounting/QOS policy "
         "(job submit limit, user's size and/or time limits)", refusals.FINAL, "more time"),
        ("sbatch: Slurm temporarily unable to accept job, sleeping and retrying", refusals.FULL, "admits at once"),
        (FAILED + "Invalid job array specification", refusals.LARGE, "one array"),
        (FAILED + "Invalid account or account/partition combination specified", refusals.FINAL, "account"),
        (FAILED + "Invalid qos specification", refusals.FINAL, "QOS"),
        ("sbatch: invalid partition specified: gpo; Batch job submission failed: Invalid partition name specified",
         refusals.FINAL, "partition"),
        (FAILED + "Invalid generic resource (gres) specification", refusals.FINAL, "cards"),
        (FAILED + "Requested time limit is invalid (missing or exceeds some limit)", refusals.FINAL, "more time"),
        ("sbatch: unrecognized option '--nonsense'", refusals.FINAL, ""),
        ("submitit is not installed in /usr/bin/python3", refusals.FINAL, ""),
        (FAILED + "Socket timed out on send/recv operation", refusals.UNSURE, ""),
        (FAILED + "Unable to contact slurm controller (connect failure)", refusals.UNSURE, ""),
        ("sbatch does not answer within 120 s", refusals.UNSURE, ""),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words_and_followed_by_kind(said: str, kind: str, word: str) -> None:
    found = refusals.read(said, "orch doctor")
    assert found.kind == kind and word in found.words and found.hint
    assert said in str(found)
