"""`orch logs`: what a job printed, also while it prints."""

from __future__ import annotations

import json
from pathlib import Path

from ground import Ground

from .conftest import Orch


def test_the_whole_log(orch: Orch, swept: Ground) -> None:
    assert orch("logs", "fold=1,lr=0.001").out == "fold 1 at 0.001\n"
    said = orch("logs", "fold=1,lr=0.001", "--json")
    assert "".join(json.loads(line)["text"] for line in said.out.splitlines()) == "fold 1 at 0.001\n"


def test_a_silent_job_is_told_from_a_lost_log(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "true")
    orch("sweep", "s")
    said = orch("logs", "s")
    assert (said.code, said.out, said.err) == (0, "", "s has printed nothing\n")


def test_who_is_not_there(orch: Orch, swept: Ground) -> None:
    said = orch("logs", "fold=1,lr=0.01")
    assert (said.code, "Did you mean 'fold=1,lr=0.1'?" in said.err or "Did you mean" in said.err) == (3, True)
    said = orch("logs", "fold=1,lr=0.1", "--attempt", "7")
    assert (said.code, "has no attempt 7" in said.err) == (3, True)


def test_each_attempt_has_its_own(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "test -e second && echo two || { touch second; echo one; exit 1; }")
    assert [orch("sweep", "s").code, orch("sweep", "s").code] == [1, 0]
    assert orch("logs", "s").out == "two\n"
    assert orch("logs", "s", "--attempt", "1").out == "one\n"


def test_a_job_that_waits_has_none(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "while ! test -e go; do sleep 0.05; done", "{n: 1..3}")
    orch("sweep", "s", "--detach", "--parallel", "1")
    said = orch("logs", "n=3")
    assert (said.code, "has not begun" in said.err) == (3, True)


def test_a_log_is_followed_to_its_end(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "echo first; while ! test -e go; do sleep 0.05; done; echo last")
    orch("sweep", "s", "--detach")
    with ground.start("logs", "s", "-f") as following:
        assert following.stdout
        assert following.stdout.readline() == "first\n"
        ground.write("go")
        assert following.stdout.read() == "last\n"
    assert following.returncode == 0


def test_a_log_over_its_limit_is_told_where_people_look(orch: Orch, ground: Ground) -> None:
    """Injected: 2.4 MB printed where the sweep allows 1 MiB. A sweep that allows more starts nothing again."""
    line = "this line is printed 40,000 times, and no more often"
    script = f"echo first; i=0; while [ $i -lt 40000 ]; do echo '{line}'; i=$((i+1)); done; echo last"
    ground.sweep("s", script, resources={"log_mb": 1})
    planned = orch("sweep", "s")
    assert "the log of each job holds at most 1 MiB: the sweep says so" in planned.err
    log = orch("logs", "s").out
    assert log.startswith("first\n") and log.endswith("last\n") and len(log) < 1_100_000
    assert "bytes are left out here: the log was over its limit of 1 MiB; resources: {log_mb: 2} in the" in log
    assert "its log lacks 1." in orch("why", "s").out
    ground.sweep("s", script, resources={"log_mb": 2})
    assert "already there" in orch("sweep", "s").err and len(orch("logs", "s").out) < 1_100_000


def test_a_single_command_may_have_a_limit_of_its_own(orch: Orch, ground: Ground) -> None:
    said = orch("run", "--log-limit", "1M", "--", "sh", "-c", "seq 1 300000; echo the end")
    assert said.code == 0 and said.out.endswith("300000\nthe end\n")
    ((folder,),) = ground.folders("runs").values()
    assert Path(folder.log).stat().st_size <= 1 << 20
    assert json.loads(Path(folder.job).read_text())["resources"]["log_mb"] == 1
    said = orch("run", "--log-limit", "much", "--", "true")
    assert (said.code, "'much' is no amount" in said.err, "--log-limit 64M" in said.err) == (2, True, True)
