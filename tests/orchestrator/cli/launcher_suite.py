"""What a sweep of commands does, whoever starts its jobs: every launcher passes this suite."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from ground import Ground, until
from witness import Witness

ORCH_FILES = {"job.json", "exit.json", "log.txt"}
SMALLER = """
import os
if int(os.environ.get("ORCH_MICRO_BATCH", 32)) > 8:
    raise SystemExit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
"""


class LauncherSuite:
    """`ground` is a project whose one host has the launcher."""

    def test_each_runs_once_with_its_environment_and_is_told_as_it_ended(self, ground: Ground) -> None:
        script = 'echo "$ORCH_RUN" >> runs; echo "{n} $SAID $(umask) $(pwd)"; exit {n}'
        ground.sweep("plain", script, "{n: 0..3}", env={"SAID": "é x"})
        assert ground.orch("sweep", "plain").code == 1
        assert ground.states("plain") == {"n=0": "done", "n=1": "failed", "n=2": "failed", "n=3": "failed"}
        folders = ground.folders("plain")
        assert ground.ran("runs") == sorted(one.path for (one,) in folders.values())
        for label, (folder,) in folders.items():
            number = label[2:]
            assert Path(folder.log).read_text() == f"{number} é x 0077 {ground.project}\n"
            assert {path.name for path in Path(folder.path).iterdir()} == ORCH_FILES
            assert json.loads(Path(folder.exit).read_text().strip("\0 \n"))["status"] == int(number)
        ground.settle()
        assert not list(Path(ground.host_folder.locks).iterdir()), "nothing is left on the host"
        assert ground.orch("index", "check").code == 0

    def test_one_command_passes_its_output_and_its_exit_code_on(self, ground: Ground) -> None:
        said = ground.orch("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert said.code == 7 and said.out.splitlines() == ["out", "err"]

    def test_the_same_again_fills_the_holes_only(self, ground: Ground) -> None:
        script = f"echo {{n}} >> ran; test {{n}} != 2 || test -e {ground.project}/mended"
        ground.sweep("holes", script, "{n: 1..3}")
        assert ground.orch("sweep", "holes").code == 1
        (ground.project / "mended").touch()
        assert ground.orch("sweep", "holes").code == 0
        assert ground.ran() == ["1", "2", "2", "3"]
        assert {label: len(each) for label, each in ground.folders("holes").items()} == {"n=1": 1, "n=2": 2, "n=3": 1}

    def test_two_who_submit_at_once_start_each_job_once(self, ground: Ground) -> None:
        """Injected: three `orch sweep` of one file at the same moment. Started twice: nothing."""
        ground.sweep("race", "echo {n} >> ran", "{n: 1..6}")
        assert ground.orch("status").code == 0  # the home is there
        codes: list[int] = []
        threads = [threading.Thread(target=lambda: codes.append(ground.orch("sweep", "race").code)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0, 0, 0] and ground.ran() == [str(number) for number in range(1, 7)]

    def test_stop_ends_what_runs_with_all_its_children_and_what_waits(self, ground: Ground) -> None:
        """One leaves when it is asked, one ignores it and has a child that left its group and session; one waits."""
        child = "setsid sh -c 'trap \\\"\\\" TERM HUP; echo child >> up; while :; do sleep 0.1; done' &"
        script = (
            f"trap 'test {{n}} = 2 || exit 4' TERM; {child} echo {{n}} >> up; while :; do sleep 0.1; done"
        ).replace('\\"', '"')
        ground.sweep("three", script, "{n: 1..3}")
        assert ground.orch("sweep", "three", "--detach", "--parallel", "2").code == 0
        until(lambda: len(ground.ran("up")) == 4, what="two run, each with a child")
        assert sorted(ground.states("three").values()) == ["queued", "running", "running"]
        assert ground.orch("stop", "three", "--grace", "1").code == 0
        until(lambda: set(ground.states("three").values()) == {"stopped"}, what="all are stopped")
        ground.settle()
        assert len(ground.ran("up")) == 4, "the third never began"

    def test_a_job_that_was_killed_is_started_once_more(self, ground: Ground) -> None:
        """Injected: SIGKILL to a running program, once in each of two jobs. Lost: nothing."""
        ground.sweep("killed", 'echo {n} >> ran; test "${ORCH_RUN%2}" != "$ORCH_RUN" || kill -9 $$', "{n: [1, 2]}")
        assert ground.orch("sweep", "killed").code == 0
        assert ground.ran() == ["1", "1", "2", "2"]
        assert "retried -> done" in ground.orch("why", "n=1").out

    def test_the_judge_finds_the_promises_kept(self, ground: Ground, tmp_path: Path) -> None:
        """Injected: two `orch sweep` at once, 2 programs killed, 1 stopped, 2 that fail and are asked for again.

        Lost: nothing; doubled: nothing, by the record that the programs themselves wrote.
        """
        witness, labels = Witness(ground, tmp_path), [f"n={number}" for number in range(8)]
        first = 'test "$ATTEMPT" = 1 && case {n} in 0|1) kill -9 $$;; 2) sleep 60;; 3|4) finish 3;; esac; '
        ground.sweep("judged", witness.script("n={n}", first + "finish 0"), "{n: 0..7}")
        for label in labels[:3]:
            witness.record.disturbed(label, "killed or stopped")
        both = [ground.start("sweep", "judged", "--detach") for _ in range(2)]
        assert [one.wait() for one in both] == [0, 0], [one.communicate() for one in both]
        for one in both:
            one.communicate()
        witness.accepted(*labels)
        until(lambda: ground.states("judged").get("n=2") == "running", what="it runs")
        witness.look("judged")
        assert ground.orch("stop", "n=2", "--sweep", "judged", "--grace", "1").code == 0
        until(lambda: not {"queued", "running"} & set(ground.states("judged").values()), what="all have ended")
        witness.look("judged")
        assert ground.orch("sweep", "judged", timeout=300).code == 0
        assert set(ground.states("judged").values()) == {"done"}
        witness.verdict("judged")

    def test_out_of_memory_goes_on_with_half_the_micro_batch(self, ground: Ground) -> None:
        """Injected: a program that fails above 8 samples at once. Lost: nothing; 32, 16, 8."""
        command = json.dumps([sys.executable, "-c", SMALLER])
        policy = "policy: {out_of_memory_gpu: retry_smaller}"
        ground.write("sweeps/big.yaml", "sweep: big", f"command: {command}", "grid: {batch_size: [32]}", policy)
        assert ground.orch("sweep", "big").code == 0
        (attempts,) = ground.folders("big").values()
        assert len(attempts) == 3 and set(ground.states("big").values()) == {"done"}

    def test_over_its_time_it_is_asked_to_stop_and_told_so(self, ground: Ground) -> None:
        ground.sweep("long", "trap 'exit 5' TERM; while :; do sleep 0.1; done", resources={"time_limit": 1})
        assert ground.orch("sweep", "long").code == 1
        (label,) = ground.states("long")
        assert "over its time limit of 1 s" in ground.orch("why", label).out

    def test_a_log_is_followed_to_its_end(self, ground: Ground) -> None:
        ground.sweep("talk", f"echo first; until test -e {ground.project}/go; do sleep 0.1; done; echo last")
        assert ground.orch("sweep", "talk", "--detach").code == 0
        (label,) = until(lambda: ground.folders("talk"), what="it runs")
        following = ground.start("logs", label, "-f")
        assert isinstance(following, subprocess.Popen) and following.stdout
        assert following.stdout.readline() == "first\n"
        (ground.project / "go").touch()
        assert following.communicate(timeout=60)[0] == "last\n" and following.returncode == 0
