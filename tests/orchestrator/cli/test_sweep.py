"""`orch sweep` of any command: plan, run, holes, code that changed, choices, documents and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ground import Ground, documents

from .conftest import Orch

TOUCH = "echo {n} >> ran"


def test_a_dry_run_says_the_plan_and_starts_nothing(orch: Orch, ground: Ground) -> None:
    ground.sweep("rates", "echo {fold} {lr} >> ran", "{fold: 0..2, lr: [1e-3, 1e-4]}")
    said = orch("sweep", "rates", "--dry-run")
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("6 jobs = 3 folds x 2 values of lr · code not pinned (no git checkout)\n")
    assert "1 core for each job: the default for commands" in said.err
    assert said.err.endswith("next: orch sweep rates\n")
    assert ground.home.sweep_names() == []
    assert not Path(ground.home.path, "queue").exists()
    assert ground.ran() == []


def test_what_was_planned_is_what_the_next_command_runs(orch: Orch, ground: Ground) -> None:
    ground.sweep("rates", TOUCH, "{n: [1, 2], fold: 0..2}")
    said = orch(
        "sweep", "rates", "--dry-run", "--folds", "0,1", "--name", "half", "--keep-failed", "--rerun", "changed"
    )
    assert "warning: --rerun changed finds nothing: no code is pinned" in said.err
    assert said.err.endswith("next: orch sweep rates --keep-failed --folds 0,1 --name half --rerun changed\n")


def test_a_dry_run_for_programs(orch: Orch, ground: Ground) -> None:
    ground.sweep("rates", TOUCH, "{n: [1, 2]}")
    said = orch("sweep", "rates", "--dry-run", "--json")
    (document,) = documents(said.out)
    assert [(job["label"], job["state"], job["runs"]) for job in document["jobs"]] == [
        ("n=1", "planned", True),
        ("n=2", "planned", True),
    ]
    assert document["jobs"][0]["names"] == {"n": 1}


def test_a_sweep_runs_to_its_end_and_again_does_nothing(orch: Orch, ground: Ground) -> None:
    ground.sweep("rates", TOUCH, "{n: 1..3}")
    said = orch("sweep", "rates")
    assert said.code == 0
    assert "3 jobs queued" in said.err
    assert "You can close this window" in said.err
    assert said.err.endswith("rates: 3 done\nnext: orch report rates\n")
    again = orch("sweep", "rates")
    assert again.code == 0
    assert "already there: 3 done; 0 jobs to run" in again.err
    assert "queued" not in again.err
    assert ground.ran() == ["1", "2", "3"]
    assert json.loads(orch("sweep", "rates", "--json").out)["counts"] == {"done": 3}


def test_results_end_in_a_table(orch: Orch, ground: Ground) -> None:
    ground.write("job.sh", """echo '{"contract":1,"values":{"score":0.'$1'}}' > "$ORCH_RUN/result.json" """)
    ground.write("s.yaml", "metric: score", 'command: [sh, job.sh, "{n}"]', "grid: {n: [5, 7]}")
    said = orch("sweep", "s.yaml")
    head, *rows = [line.split("\t") for line in said.out.splitlines()]
    assert head[0] == "n"
    assert [row[0] for row in rows] == ["5", "7"]
    assert "0.7" in rows[1][head.index("score")]
    document = json.loads(orch("sweep", "s.yaml", "--json").out)
    assert document["columns"] == head
    assert len(document["rows"]) == 2


def test_holes_are_filled_and_nothing_else(orch: Orch, ground: Ground) -> None:
    ground.sweep("rates", TOUCH + "; test {n} != 2 -o -e mended", "{n: 1..3}")
    said = orch("sweep", "rates")
    assert said.code == 1
    assert "rates: 2 done · 1 failed" in said.err
    assert "failed  n=2  " in said.err
    assert said.err.endswith("next: orch why n=2; the same sweep again fills the holes\n")
    kept = orch("sweep", "rates", "--keep-failed")
    assert (kept.code, ground.ran()) == (1, ["1", "2", "3"])
    ground.write("mended")
    assert orch("sweep", "rates").code == 0
    assert ground.ran() == ["1", "2", "2", "3"]
    assert {label: len(attempts) for label, attempts in ground.folders("rates").items()} == {
        "n=1": 1,
        "n=2": 2,
        "n=3": 1,
    }


def test_code_is_pinned_and_runs_again_only_when_asked(orch: Orch, ground: Ground) -> None:
    ground.write("code/work.sh", "echo old $1 >> $2")
    out = ground.project / "ran"
    lines = [f"command: [sh, code/work.sh, '{{n}}', {out}]", "code: [code]"]
    ground.write("sweeps/pinned.yaml", *lines, "grid: {n: [1, 2]}")
    assert orch("sweep", "pinned").code == 0
    ground.write("code/work.sh", "echo new $1 >> $2")
    ground.write("sweeps/pinned.yaml", *lines, "grid: {n: [1, 2, 3]}")
    said = orch("sweep", "pinned")
    assert "changed here since: code/work.sh" in said.err
    assert "--rerun changed" in said.err
    assert ground.ran() == ["old 1", "old 2", "old 3"]  # the new hole runs the code of its sweep
    assert orch("sweep", "pinned", "--rerun", "changed").code == 0
    assert ground.ran() == ["new 1", "new 2", "new 3", "old 1", "old 2", "old 3"]
    again = orch("sweep", "pinned", "--rerun", "changed")
    assert "queued" not in again.err
    assert orch("sweep", "pinned", "--rerun", "all").code == 0
    assert ground.ran().count("new 1") == 2
    assert all(len(attempts) == 3 for attempts in ground.folders("pinned").values())


def test_parts_can_be_chosen(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "echo {fold} {seed} >> ran", "{fold: 0..3}", seeds=[0, 1])
    said = orch("sweep", "s", "--folds", "0,2..3", "--seeds", "1")
    assert said.code == 0
    assert said.err.startswith("3 of 8 jobs = ")
    assert ground.ran() == ["0 1", "2 1", "3 1"]
    wrong = orch("sweep", "s", "--folds", "9")
    assert (wrong.code, "folds are: 0, 1, 2, 3" in wrong.err) == (2, True)
    wrong = orch("sweep", "s", "--strategies", "rotate")
    assert (wrong.code, "this sweep has no strategy" in wrong.err) == (2, True)
    assert orch("sweep", "s").code == 0
    assert len(ground.ran()) == 8


def test_the_limit_of_one_sweep_is_not_the_next_ones(orch: Orch, ground: Ground) -> None:
    for values, words, limit in (("1", ["--parallel", "1"], 1), ("1", [], 1), ("1..2", [], 0)):
        ground.sweep("s", "true", f"{{n: [{values}]}}" if values == "1" else f"{{n: {values}}}")
        assert orch("sweep", "s", *words).code == 0
        (said,) = ground.local.rglob("limits.json")
        assert json.loads(said.read_text()) == {"jobs": limit}


def test_detach_returns_while_jobs_wait_and_attaching_starts_none(orch: Orch, ground: Ground) -> None:
    ground.sweep("slow", TOUCH + "; while ! test -e go; do sleep 0.05; done", "{n: 1..3}")
    said = orch("sweep", "slow", "--detach", "--parallel", "2", "--json")
    (document,) = documents(said.out)
    assert (said.code, [answer["action"] for answer in document["answers"]]) == (0, ["queued"] * 3)
    second = orch("sweep", "slow", "--detach")
    assert "queued in" not in second.err
    assert second.err.endswith("next: orch status --watch\n")
    ground.write("go")
    attached = orch("sweep", "slow")
    assert (attached.code, attached.err.count("jobs queued")) == (0, 0)
    assert ground.ran() == ["1", "2", "3"]


def test_another_name_is_another_sweep(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", TOUCH, "{n: [1]}")
    assert orch("sweep", "s").code == orch("sweep", "s", "--name", "s2").code == 0
    assert ground.home.sweep_names() == ["s", "s2"]
    assert ground.ran() == ["1", "1"]


def test_a_cell_that_left_the_file_is_kept_but_not_counted(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", TOUCH, "{n: [1, 2]}")
    orch("sweep", "s")
    ground.sweep("s", TOUCH, "{n: [2, 3]}")
    said = orch("sweep", "s")
    assert "s: 2 done" in said.err
    assert "no longer asks for this job" in orch("why", "n=1").out
    assert ground.ran() == ["1", "2", "3"]


def test_a_file_that_changes_while_it_runs(orch: Orch, ground: Ground) -> None:
    hold = "while ! test -e go; do sleep 0.02; done"
    ground.sweep("s", f": {{n}}; {hold}", "{n: [1, 2]}")
    orch("sweep", "s", "--detach", "--parallel", "2")
    ground.sweep("s", f": {{n}}; {hold}", "{n: [2, 3, 4]}")
    told = orch("sweep", "s", "--detach").err
    assert "changed since the last time: grid.n [1, 2] -> [2, 3, 4]" in told
    assert "new: 2 cells (n=3, n=4)" in told
    assert "no longer in the sweep: 1 cell (n=1); kept as version 1: n=1@1, orch report s --version 1" in told
    assert "of them 1 job not ended yet: orch stop n=1@1 ends one (n=1@1)" in told
    ground.write("go")
    assert orch("sweep", "s").code == 0
    assert set(ground.states("s").values()) == {"done"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("python3 -c 'raise MemoryError'", "out of memory: MemoryError"),
        ("echo No space left on device; exit 1", "disk full: No space left on device"),
        ("kill -KILL $$", "killed: ended by signal SIGKILL"),
        ("exit 7", "exit status 7"),
    ],
)
def test_what_ends_badly_is_said_with_its_kind(orch: Orch, ground: Ground, script: str, said: str) -> None:
    ground.sweep("s", script)
    found = orch("sweep", "s")
    assert found.code == 1
    assert said in found.err
    assert "repair:" in orch("why", "s").out


def test_a_program_that_is_not_there(orch: Orch, ground: Ground) -> None:
    ground.write("s.yaml", "command: [no-such-program]")
    assert orch("sweep", "s.yaml").code == 1
    told = orch("why", "s").out
    assert "cannot start no-such-program: " in told
    assert "is the program there" in told


WRONG = [  # what is written, words, exit code, message, repair
    ("command: [a]\ncomand: 1", [], 2, "Did you mean 'command'?", "keys are"),
    ("command: a b", [], 2, "command: must be a list", "program"),
    ("command: [a, '{n}']\ngrid: {n: []}", [], 2, "grid.n: is empty", "1..200"),
    ("command: [a, '{m}']\ngrid: {n: [1]}", [], 2, "unknown placeholder {m}", "{n}, {run}"),
    ("command: [a]\ngrid: {n: [1, 1.0]}", [], 2, "duplicate jobs", "once"),
    ("command: [a]\ncode: [none.py]", [], 2, "there is no none.py", "code:"),
    ("command: [a]\nresources: {cpus: many}", [], 2, "resources.cpus: must be a whole number", "cores"),
    ("command: [a]\nresources: {gpus: 2}", [], 2, "GPU", "fewer"),
    ("command: [a]", ["--parallel", "0"], 2, "parallel must be a whole number of at least 1", "parallel: 4"),
    ("command: [a]", ["--name", "a b"], 2, "'a b' cannot name a sweep", "letters"),
    ("command: [a]", ["--rerun", "some"], 2, "invalid choice", "-h"),
    ("strategies: {identity: []}", ["--data", "none"], 3, "no data set named 'none'", "orch data add"),
]


@pytest.mark.parametrize(("text", "words", "code", "said", "repair"), WRONG, ids=[row[3][:30] for row in WRONG])
def test_bad_input_is_told_once_with_its_repair(
    orch: Orch, ground: Ground, text: str, words: list[str], code: int, said: str, repair: str
) -> None:
    ground.write("s.yaml", text)
    found = orch("sweep", "s.yaml", *words)
    assert (found.code, found.out) == (code, "")
    assert found.err.count("error:") == 1
    assert said in found.err
    assert repair in found.err.partition("fix:")[2]
    told = orch("sweep", "s.yaml", *words, "--json")
    assert told.code == code
    assert said in json.loads(told.out)["error"]["message"]
    assert not Path(ground.home.runs).exists()


def test_an_unknown_sweep_names_the_nearest(orch: Orch, ground: Ground) -> None:
    said = orch("sweep", "augmentatoins")
    assert said.code == 3
    assert "Did you mean 'augmentations'?" in said.err
