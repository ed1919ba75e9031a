"""What sbatch says, read: the texts are those of Slurm 22.05 and 23.11."""

from __future__ import annotations

import pytest

from jobs import arrays, refusals

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


GENERAL = (
    "; Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("reason", "kind", "word"),
    [
        ("QOSMaxGRESPerUser", refusals.FINAL, "more cards"),
        ("AssocGrpCpuLimit", refusals.FINAL, "more cores"),
        ("QOSMinGRES", refusals.FINAL, "less than this QOS"),
        ("QOSMaxMemoryPerUser", refusals.FINAL, "more memory"),
        ("QOSMaxNodePerJobLimit", refusals.FINAL, "more nodes"),
        ("AssocGrpCPUMinutesLimit", refusals.FINAL, "budget"),
        ("AssocGrpBilling", refusals.FINAL, "budget"),
        ("AssocMaxWallDurationPerJobLimit", refusals.FINAL, "more time"),
        ("QOSTimeLimit", refusals.FINAL, "more time"),
        ("QOSGrpSubmitJobsLimit", refusals.FULL, "admits at once"),
        ("QOSMaxJobsPerUserLimit", refusals.FULL, "admits at once"),
        ("AssociationJobLimit", refusals.FULL, "admits at once"),
        ("QOSSomethingNew", refusals.FULL, "a limit of your account"),
    ],
)
def test_a_limit_is_judged_by_its_reason_and_not_by_the_general_sentence(reason: str, kind: str, word: str) -> None:
    found = refusals.read("sbatch: " + reason + GENERAL)
    assert (found.kind, found.reason) == (kind, reason) and word in found.words
    assert "time" not in found.words or "Wall" in reason or "Time" in reason


def test_the_general_sentence_alone_says_nothing() -> None:
    found = refusals.read("sbatch" + GENERAL[1:])
    assert (found.kind, found.reason) == (refusals.FULL, "") and "time" not in found.words


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (FAILED + "User's group not permitted to use this partition", refusals.FINAL),
        (FAILED + "Requested reservation is invalid", refusals.FINAL),
        (FAILED + "Access/permission denied", refusals.FINAL),
        ("sbatch: Please specify a time limit", refusals.FINAL),
        ("sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive.", refusals.FINAL),
        ("sbatch: fatal: something new", refusals.FINAL),
        ("sbatch: fatal: Could not establish a configuration source", refusals.LATER),
        (FAILED + "Required partition not available (inactive or drain)", refusals.LATER),
        (FAILED + "Rate limit exceeded, please retry momentarily", refusals.LATER),
        (FAILED + "Zero Bytes were transmitted or received", refusals.UNSURE),
        ("sbatch: its answer cannot be read: Submitted batch job 1,234", refusals.UNSURE),
        (FAILED + "Unspecified error", refusals.UNKNOWN),
        ("sbatch: your project has expired; Batch job submission failed: Unspecified error", refusals.UNKNOWN),
    ],
)
def test_other_words_are_final_pass_or_are_unknown(said: str, kind: str) -> None:
    assert refusals.read(said, "orch doctor").kind == kind


def test_what_sbatch_said_is_found_among_all_that_is_printed_around_it() -> None:
    said = (
        "Traceback ...\n  sbatch: fatal: no\nWelcome\n[x] sbatch: error: QOSMinGRES\nsbatch: error: Batch failed\nbye\n"
    )
    assert arrays._refusal(said) == "sbatch: fatal: no; QOSMinGRES; Batch failed"
