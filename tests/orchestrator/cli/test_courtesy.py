"""How a lab shares a card with other people: wishes in the site file, who waits for whom, what a colleague is shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import Ground, until
from standins.cards import Cards

from .conftest import Orch

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="strangers need another user: run as root")
STRANGER = 1234


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process of somebody else."""
    with subprocess.Popen(["sleep", "600"], user=STRANGER, group=STRANGER) as process:
        yield process.pid
        assert process.poll() is None, "nobody has touched it"
        process.kill()


@pytest.fixture
def stand(ground: Ground, program: Callable[[str, str], Path], tmp_path: Path) -> Cards:
    """This machine with one card, and wishes in the site file that make the tests quick."""
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", "  local: {courtesy: {look_s: 0.2, grace_s: 5}}")
    return Cards(program, tmp_path, count=1)


def test_a_job_waits_for_a_stranger_and_everybody_is_told_why(
    orch: Orch, ground: Ground, stand: Cards, stranger: int
) -> None:
    ground.sweep("s", "echo {n} >> ran", "{n: [1, 2]}", resources={"gpus": 1})
    stand.come(stranger)
    assert orch("sweep", "s", "--detach").code == 0
    words = f": GPU 0 is used by {STRANGER} (9.1 GB, standard, pid {stranger})"
    until(lambda: words in ground.orch("status", "s", "--refresh").out, what="status says for whom it waits")
    assert f"2 jobs wait{words}" in orch("status", "s", "--refresh").out
    assert f"waits{words}" in orch("why", "n=1").out
    shown = orch("host", "courtesy", "local")
    assert shown.code == 0
    assert f"GPU 0 now: {STRANGER} (9.1 GB, standard, pid {stranger})" in shown.out
    assert "others hold at most 500 MB" in shown.out and "waits" in shown.out
    assert ground.ran() == []
    stand.go(stranger)
    until(lambda: ground.ran() == ["1", "2"], 120, "they begin by themselves once the card is free")
    until(lambda: "begins (" in orch("host", "courtesy", "local").out)


def test_quiet_hours(orch: Orch, ground: Ground, stand: Cards) -> None:
    ground.write("site.yaml", "hosts:", "  local: {courtesy: {quiet_hours: ['00:00-24:00']}}")
    ground.sweep("s", "echo {n} >> ran", "{n: [1]}", resources={"gpus": 1})
    orch("sweep", "s", "--detach")
    until(lambda: "waits: quiet hours (00:00-24:00) until" in orch("why", "n=1").out)
    ground.sweep("c", "echo cpu >> ran")
    assert orch("sweep", "c").code == 0, "a job without a card has no quiet hours"
    assert ground.ran() == ["cpu"]


def test_small_jobs_share_a_card(orch: Orch, ground: Ground, stand: Cards) -> None:
    hold = "touch begun{n}; while ! test -e go; do sleep 0.02; done"
    ground.sweep("s", hold, "{n: [1, 2, 3]}", resources={"gpus": 1, "gpu_memory_mb": 10000})
    assert orch("sweep", "s", "--detach").code == 0
    until(lambda: sorted(ground.states("s").values()) == ["queued", "running", "running"], what="two fit")
    ground.write("go")
    until(lambda: set(ground.states("s").values()) == {"done"})


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("quiet_hours: ['8-19']", "quiet_hours: does not fit: ['8-19']"),
        ("foreign_mb: -1", "foreign_mb: does not fit: -1"),
        ("prefered: [0]", "unknown key. Did you mean 'prefer'?"),
    ],
)
def test_a_wish_that_cannot_be_understood(orch: Orch, ground: Ground, stand: Cards, key: str, told: str) -> None:
    ground.write("site.yaml", "hosts:", f"  local: {{courtesy: {{{key}}}}}")
    said = orch("hosts")
    assert said.code == 2 and told in said.err
