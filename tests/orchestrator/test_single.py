"""One command as a job: its label, its memory, its lines."""

from __future__ import annotations

import pytest

from jobs.errors import UsageError
from jobs.spec import Resources
from orchestrator import single


def label(*argv: str) -> str:
    return single.spec(argv, "/w", Resources(), {}).label.rpartition("-")[0]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("python3", "train.py", "--epochs", "5"), "train.py"),
        (("/usr/bin/env", "python", "-u", "./a b.py"), "a_b.py"),
        (("sh", "-c", "./simulate 7 > out"), "simulate"),
        (("sh", "-c", "echo 'open"), "echo"),
        (("python3",), "python3"),
        (("--",), "job"),
    ],
)
def test_a_label_is_what_people_know_it_by(argv: tuple[str, ...], word: str) -> None:
    assert label(*argv) == word


def test_the_same_command_again_is_another_job() -> None:
    assert single.spec(["true"], "/", Resources(), {}).id != single.spec(["true"], "/", Resources(), {}).id
    with pytest.raises(UsageError, match="no command"):
        single.spec([], "/", Resources(), {})


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("4G", 3815), ("4GiB", 4096), ("500 MB", 477), ("512", 512), ("2.5GiB", 2560), ("1k", 1)]
)
def test_memory(text: str, mebibytes: int) -> None:
    assert single.megabytes(text) == max(1, mebibytes)


@pytest.mark.parametrize("text", ["four", "4X", "-1G", ""])
def test_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        single.megabytes(text)


def test_lines_of_stdin() -> None:
    found = single.lines_to_commands("echo 1\n\n# not this\n  echo 2 | wc\n")
    assert found == [("sh", "-c", "echo 1"), ("sh", "-c", "echo 2 | wc")]
