"""What is shown while a sweep runs: one line, or a display."""

from __future__ import annotations

import pytest
from ground import Ground, until

from orchestrator.cli.output import Output
from orchestrator.collect import fresh_index
from orchestrator.config import Settings
from orchestrator.monitor import Monitor

SCRIPT = (
    """echo '{{"seq":0,"t":1.0,"kind":"metrics","step":2,"values":{{"val_dice":0.{n},"seconds":1.5}}}}' """
    """>> "$ORCH_RUN/events.jsonl"; touch begun{n}; while ! test -e go; do sleep 0.02; done; test {n} != 3"""
)


@pytest.fixture
def settings(ground: Ground) -> Settings:
    return Settings({}, ground.environment, ground.project)


def test_lines_and_headline(ground: Ground, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    ground.sweep("s", SCRIPT, "{n: [3, 5, 7]}", metric="dice")
    assert ground.orch("sweep", "s", "--detach", "--parallel", "2").code == 0
    until(lambda: (ground.project / "begun3").exists() and (ground.project / "begun5").exists(), what="two jobs run")
    with fresh_index(settings) as (fleet, index):
        monitor = Monitor(fleet, index, "s", "dice", 10)
        now = monitor.look()
        head, *listed = monitor.lines(now)
        assert head.startswith("░" * 24 + "  s  2 running · 1 queued   0 s")
        assert "0.500 (n=5)" in head
        assert "n=3  step 2 of at most 10" in listed[0] and "0.300" in listed[0] and "1.5 s/step" in listed[0]
        assert [line.strip() for line in monitor.lines(now, 50)[1:3]] == ["0 s", "best validation Dice 0.500 (n=5)"]
        ground.write("go")
        last = monitor.follow(Output(progress=False))
        assert (last.over, dict(last.counts)) == (True, {"done": 2, "failed": 1})
        assert any(line.startswith("  failed       n=3") for line in monitor.lines(last))
        assert "left" not in monitor.headline(last)
    assert "2 done · 1 failed" in capsys.readouterr().err


def test_a_long_list_is_cut(ground: Ground, settings: Settings) -> None:
    ground.sweep("s", "exit 1", "{n: 1..12}")
    assert ground.orch("sweep", "s").code == 1
    with fresh_index(settings) as (fleet, index):
        monitor = Monitor(fleet, index, "s", None)
        lines = monitor.lines(monitor.look())
    assert len(lines) == 1 + 8 + 1
    assert lines[-1] == "  … 4 more"
    assert lines[0].startswith("▇" * 24)


def test_what_a_program_says_of_itself_stays_text(ground: Ground, settings: Settings) -> None:
    """Injected: a failing program whose last words clear the screen, turn the line round and begin another one."""
    ground.sweep("s", "printf 'bad \\033[2J\\342\\200\\256 end\\n'; exit 1")
    assert ground.orch("sweep", "s").code == 1
    with fresh_index(settings) as (fleet, index):
        monitor = Monitor(fleet, index, "s", None)
        lines = monitor.lines(monitor.look())
    assert any("bad " in line for line in lines), lines
    assert all(line.isprintable() for line in lines), lines
