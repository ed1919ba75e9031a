"""`orch run`: one command as a job; its output here, its exit code passed on."""

from __future__ import annotations

import io
import json
import signal

import pytest
from ground import Ground, until

from .conftest import Orch


def test_output_and_exit_code_are_passed_on(orch: Orch, ground: Ground) -> None:
    ground.write("hello.sh", "echo out; echo err >&2; pwd; exit 7")
    said = orch("run", "--", "sh", "hello.sh")
    assert said.code == 7
    assert said.out.splitlines() == ["out", "err", str(ground.project)]
    assert "hello.sh-" in said.err and "this machine: sh hello.sh" in said.err and "orch why hello.sh-" in said.err
    assert orch("run", "true").code == 0  # also without the two dashes


def test_a_job_that_a_signal_ended(orch: Orch, ground: Ground) -> None:
    """What was killed is tried once more, and followed to its end: no race decides what the command says."""
    said = orch("run", "--", "sh", "-c", "echo once; kill -9 $$")
    assert said.code == 128 + 9 and said.out == "once\nonce\n" and "is tried again (attempt 2)" in said.err


def test_it_stands_in_the_index_like_any_other(orch: Orch, ground: Ground) -> None:
    orch("run", "--cpus", "1", "--memory", "64M", "--", "sh", "-c", "echo one")
    orch("run", "--name", "tries", "--", "sh", "-c", "echo two")
    (runs, tries) = orch("status", "--json").json["sweeps"]
    assert [runs["name"], tries["name"]] == ["runs", "tries"]
    (row,) = tries["rows"]
    assert row["state"] == "done" and row["names"] == {"command": "sh -c 'echo two'"}
    assert orch("logs", row["label"], "--sweep", "tries").out == "two\n"


def test_many_from_stdin(orch: Orch, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("echo 1 >> ran\n# no\n\necho 2 >> ran; exit 3\n"))
    said = orch("run", "--stdin", "--json")
    assert said.code == 0 and len(said.json["jobs"]) == 2
    until(lambda: ground.ran() == ["1", "2"], what="both ran")
    assert orch("attach", "runs").code == 1
    assert sorted(ground.states("runs").values()) == ["done", "failed"]


def test_detached_it_goes_on_alone(orch: Orch, ground: Ground) -> None:
    said = orch("run", "--detach", "--", "sh", "-c", "while ! test -e go; do sleep 0.02; done; echo over > ran")
    assert said.code == 0 and "orch status --watch" in said.err
    ground.write("go")
    until(lambda: ground.ran() == ["over"], what="it ended by itself")


def test_ctrl_c_leaves_it_running_and_says_how_to_come_back(ground: Ground) -> None:
    with ground.start("run", "--", "sh", "-c", "echo begun; while ! test -e go; do sleep 0.02; done") as running:
        assert running.stdout and running.stderr
        assert running.stdout.readline() == "begun\n"
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
    assert running.returncode == 130
    assert "It goes on. Come back with: orch logs sh-" in told or "It goes on. Come back with: orch logs echo-" in told
    assert list(ground.states("runs").values()) == ["running"]
    ground.write("go")
    until(lambda: list(ground.states("runs").values()) == ["done"], what="it went on")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "there is no command to run"),
        (("--memory", "much", "--", "true"), "'much' is no amount of memory"),
        (("--gpus", "64", "--", "true"), "64 GPUs"),
        (("--host", "grce", "--", "true"), "no host 'grce'"),
        (("--name", "../x", "--", "true"), "cannot name a sweep"),
        (("--stdin", "--", "true"), "not both"),
    ],
)
def test_what_cannot_be_asked_for(orch: Orch, ground: Ground, words: tuple[str, ...], told: str) -> None:
    said = orch("run", *words)
    assert said.code in (2, 3) and told in said.err, said.err
    assert "fix:" in said.err


def test_json_is_json(orch: Orch, ground: Ground) -> None:
    said = orch("run", "--json", "--", "sh", "-c", "echo one; exit 2")
    *_, last = [json.loads(line) for line in said.out.splitlines()]
    assert (said.code, last["state"], last["status"]) == (2, "failed", 2)
