"""`orch sweep --hosts` over hosts that folders play: no network, real agents, keepers and jobs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from ground import Ground, until

from .conftest import Orch

Fault = Callable[..., None]


@pytest.fixture
def hosts(ground: Ground) -> Fault:
    """Two hosts, `grace` and `ada`, each with a home of its own; the function sets or ends a fault of one."""
    ground.write("orch.yaml")
    lines = []
    for name in ("grace", "ada"):
        (ground.base / name).mkdir()
        (ground.base / name / "local").mkdir()
        lines.append(f"  {name}: {{way: fake, address: {json.dumps(str(ground.base / name))}}}")
    ground.write("site.yaml", "hosts:", *lines)

    def fault(name: str, **what: object) -> None:
        (ground.base / name / "fault.json").write_text(json.dumps(what))

    return fault


def placed(ground: Ground, sweep: str) -> Counter[str]:
    return Counter(row["host"] for row in ground.rows(sweep).values())


def test_jobs_are_shared_and_each_runs_once(orch: Orch, ground: Ground, hosts: Fault) -> None:
    ground.sweep("s", f"echo {{n}} >> {ground.project}/ran", "{n: 1..12}")
    said = orch("sweep", "s", "--hosts", "grace,ada")
    assert said.code == 0, said.err
    assert "grace 6 · ada 6" in said.err and "12 jobs queued" in said.err
    assert ground.ran() == sorted(str(number) for number in range(1, 13))
    where = placed(ground, "s")  # a host that was slower may have given one away since
    assert set(where) == {"grace", "ada"} and where.total() == 12
    again = orch("sweep", "s")
    assert again.code == 0 and "hosts grace, ada: as the last time" in again.err and "queued" not in again.err
    assert len(ground.ran()) == 12
    assert orch("index", "check").code == 0


def test_auto_takes_all_that_answer(orch: Orch, ground: Ground, hosts: Fault) -> None:
    hosts("ada", error="unreachable")
    ground.sweep("s", "true", "{n: 1..4}")
    said = orch("sweep", "s", "--hosts", "auto")
    assert said.code == 0, said.err
    assert "ada does not answer and takes no part now" in said.err
    assert set(placed(ground, "s")) == {"grace", socket.gethostname()}


def test_nobody_answers(orch: Orch, ground: Ground, hosts: Fault) -> None:
    hosts("ada", error="unreachable")
    hosts("grace", error="refused")
    ground.sweep("s", "true")
    said = orch("sweep", "s", "--hosts", "grace,ada")
    assert said.code == 1 and "no host is ready" in said.err and "grace refuses us" in said.err
    assert orch("sweep", "s", "--hosts", "gracie").code == 3


def test_a_host_at_fault_loses_its_jobs_to_a_fit_one(orch: Orch, ground: Ground, hosts: Fault) -> None:
    """Injected: every program is of the wrong architecture on grace. Lost: nothing. Run there: the first ones only."""
    wrong = 'case "$HOME" in */grace) echo "x: cannot execute binary file: Exec format error"; exit 126;; esac'
    ground.sweep("s", f"{wrong}; echo {{n}} >> {ground.project}/ran", "{n: 1..8}")
    said = orch("sweep", "s", "--hosts", "grace,ada", "--parallel", "1")
    assert said.code == 0, said.err
    assert "moved from grace to ada: wrong architecture there: x: cannot execute binary file" in said.err
    assert ground.ran() == [str(number) for number in range(1, 9)]
    rows = ground.rows("s")
    assert {row["state"] for row in rows.values()} == {"done"}
    assert {row["host"] for row in rows.values()} == {"ada"}
    moved = next(label for label, row in rows.items() if row["attempts"] == 2)
    assert "moved from grace" in orch("why", moved).out


def test_a_mistake_in_the_code_moves_nowhere(orch: Orch, ground: Ground, hosts: Fault) -> None:
    ground.sweep("s", "echo 'ValueError: no'; exit 1", "{n: 1..8}")
    said = orch("sweep", "s", "--hosts", "grace,ada", "--parallel", "1")
    assert said.code == 1
    assert "moved" not in said.err


def test_what_waits_on_a_slow_host_moves_to_an_idle_one(orch: Orch, ground: Ground, hosts: Fault) -> None:
    """grace's jobs hold until ada has run one of them: without a move the sweep would never end."""
    go = ground.project / "go"
    hold = f'case "$HOME" in */grace) while ! test -e {go}; do sleep 0.05; done;; esac'
    ground.sweep("s", f"{hold}; echo {{n}} >> {ground.project}/ran; test {{n}} != 8 || touch {go}", "{n: 1..8}")
    assert orch("sweep", "s", "--hosts", "grace", "--parallel", "1", "--detach").code == 0
    said = orch("sweep", "s", "--hosts", "grace,ada", "--parallel", "1")
    assert said.code == 0, said.err
    assert "moved from grace to ada: ada is idle" in said.err
    assert ground.ran() == [str(number) for number in range(1, 9)], "each once"


def test_waiting_jobs_of_a_silent_host_with_a_home_of_its_own_stay_and_are_not_dead(
    orch: Orch, ground: Ground, hosts: Fault
) -> None:
    """Injected: ada falls silent with one job running and one waiting, then answers again. Lost, doubled: nothing."""
    hold = f"echo {{n}} >> {ground.project}/ran; while ! test -e {ground.project}/go; do sleep 0.05; done"
    ground.sweep("s", hold, "{n: [1, 2]}")
    assert orch("sweep", "s", "--hosts", "ada", "--parallel", "1", "--detach").code == 0
    until(lambda: sorted(ground.states("s").values()) == ["queued", "running"])
    hosts("ada", error="unreachable")
    assert set(ground.states("s").values()) == {"unreachable"}
    stopped = orch("stop", "s")
    assert stopped.code == 5 and "ada does not answer: not stopped" in stopped.out
    other = orch("sweep", "s", "--hosts", "grace,ada", "--detach")
    assert other.code == 0 and "queued" not in other.err
    hosts("ada")
    ground.write("go")
    until(lambda: set(ground.states("s").values()) == {"done"})
    assert ground.ran() == ["1", "2"]


def test_a_host_that_left_the_site_file(orch: Orch, ground: Ground, hosts: Fault) -> None:
    ground.sweep("s", f"while ! test -e {ground.project}/go; do sleep 0.05; done", "{n: [1]}")
    assert orch("sweep", "s", "--hosts", "ada", "--detach").code == 0
    site = ground.project / "site.yaml"
    before = site.read_text()
    site.write_text("".join(line for line in before.splitlines(keepends=True) if "ada" not in line))
    (row,) = ground.rows("s").values()
    assert (row["state"], row["host"]) == ("unreachable", "ada")
    assert "no longer in the site file" in row["reason"]
    site.write_text(before)
    ground.write("go")
    until(lambda: ground.states("s") == {"n=1": "done"})


def test_a_second_laptop_sees_the_same(orch: Orch, ground: Ground, hosts: Fault, tmp_path: Path) -> None:
    ground.sweep("s", "echo hello; test {n} != 2", "{n: 1..4}")
    with (ground.project / "orch.yaml").open("a") as file:
        file.write("project: lab-3f9c\n")
    assert orch("sweep", "s", "--hosts", "grace,ada").code == 1
    other = Ground(tmp_path / "other")
    for name in ("orch.yaml", "site.yaml"):
        shutil.copy(ground.project / name, other.project)
    assert other.states("s") == ground.states("s")
    assert other.orch("logs", "n=1").out == "hello\n"
    other.close()


def test_run_auto_chooses_the_one_that_is_free(orch: Orch, ground: Ground, hosts: Fault) -> None:
    hold = f"while ! test -e {ground.project}/go; do sleep 0.05; done"
    for name in ("local", "grace"):
        orch("run", "--host", name, "--cpus", "64", "--detach", "--", "sh", "-c", hold)
    said = orch("run", "--host", "auto", "--", "sh", "-c", 'basename "$HOME"')
    assert (said.code, said.out) == (0, "ada\n"), said.err
    ground.write("go")


def test_the_folder_goes_along_by_its_hash(orch: Orch, ground: Ground, hosts: Fault) -> None:
    """A command on another host runs in a copy of the folder it was given in, without what is large or ignored."""
    ground.write("tool.py", "import sys", "print('tool', *sys.argv[1:])", "sys.exit(4)")
    said = orch("run", "--host", "grace", "--", "python3", "tool.py", "a b")
    assert (said.code, said.out) == (4, "tool a b\n"), said.err
    code = ground.base / "grace" / ".orch" / "code"
    (first,) = code.glob("*.json")
    assert orch("run", "--host", "grace", "--", "python3", "tool.py").code == 4
    assert list(code.glob("*.json")) == [first], "the same folder is sent once"


def test_what_does_not_travel_is_told_before_anything_runs(orch: Orch, ground: Ground, hosts: Fault) -> None:
    ground.write("tool.py", "print('tool')")
    ground.write("scan.png", "x")
    ground.write("s.yaml", "sweep: s", "command: [python3, tool.py]")
    os.mkfifo(ground.project / "pipe")
    (ground.project / "shared").symlink_to("/etc/passwd")
    told = {"scan.png": "image or medical file", "pipe": "pipe, socket or device", "shared": "link that leads outside"}
    for words in (("sweep", "s.yaml", "--dry-run"), ("plan", "s.yaml")):
        said = orch(*words, "--hosts", "grace", "--json")
        assert told.items() <= {one["name"]: one["why"] for one in said.json["left_out"]}.items()
        said = orch(*words, "--hosts", "grace")
        assert all(f"1 x {why}: {name}; " in said.out + said.err for name, why in told.items()), said.err
    said = orch("run", "--host", "grace", "--", "python3", "tool.py")
    assert (said.code, said.out) == (0, "tool\n"), said.err
    assert "1 x image or medical file: scan.png; let the program read data by its path" in said.err


def test_a_folder_without_any_file_runs_commands_too(
    orch: Orch, ground: Ground, hosts: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = (ground.project / "site.yaml").read_text()
    (tmp_path / "config").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "orch").mkdir()
    (tmp_path / "config" / "orch" / "site.yaml").write_text(site)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    said = orch("run", "--host", "grace", "--", "ls")
    assert (said.code, said.out) == (0, ""), said.err


def test_where_git_refuses_no_command_reaches_a_host(orch: Orch, ground: Ground, hosts: Fault) -> None:
    """Injected: a damaged index of git; `run`, a command's sweep, one with a list of folders. Sent: nothing."""
    subprocess.run(["git", "init", "-q"], cwd=ground.project, check=True)
    ground.write(".gitignore", "secret.env")
    ground.write("secret.env", "TOKEN")
    ground.write("lib/tool.py", "print('tool')")
    ground.write("s.yaml", "sweep: s", "command: [python3, lib/tool.py]")
    ground.write("t.yaml", "sweep: t", "command: [python3, lib/tool.py]", "code: [lib]")
    ground.write("one.yaml", "sweep: one", "command: [python3, lib/tool.py]", "code: [lib/tool.py]")
    (ground.project / ".git/index").write_bytes(b"DIRC damaged")
    for words in (
        ("run", "--host", "grace", "--", "true"),
        ("sweep", "s.yaml", "--hosts", "grace"),
        ("sweep", "t.yaml", "--hosts", "grace"),
    ):
        said = orch(*words)
        assert said.code == 1 and "nothing is sent" in said.err and "code: [FILE, ...]" in said.err, said.err
    assert not list((ground.base / "grace").rglob("code/*"))
    assert orch("sweep", "one.yaml", "--hosts", "grace").code == 0, "a list of files needs no git"
    assert not list(ground.base.rglob("grace/**/secret.env"))


@pytest.mark.slow
def test_trainings_on_hosts_that_nothing_was_installed_on(
    orch: Orch, ground: Ground, hosts: Fault, phantom: Path
) -> None:
    """Code, data set, split and jobs reach both hosts from one file; the table is that of one machine."""
    site = ground.project / "site.yaml"
    site.write_text(site.read_text().replace("way: fake", f"way: fake, python: {json.dumps(sys.executable)}"))
    data = f"data: {{images: {json.dumps(f'{phantom}/imagesTr')}, labels: {json.dumps(f'{phantom}/labelsTr')}}}"
    train = "train: {width: 4, depth: 2, epochs: 1, batch_size: 4}"
    strategies = "strategies: {identity: [], rotate: [{rotate: {degrees: 15}}]}"
    ground.write("sweeps/ducts.yaml", data, train, strategies, "folds: 2", "resources: {cpus: 1}")
    said = orch("sweep", "ducts", "--hosts", "grace,ada")
    assert said.code == 0, said.err
    rows = ground.rows("ducts")
    assert Counter(row["state"] for row in rows.values()) == {"done": 4}
    assert {row["host"] for row in rows.values()} == {"grace", "ada"}
    assert orch("report", "ducts").code == 0
    local = orch("sweep", "ducts", "--hosts", "local", "--name", "here", "--python", sys.executable)
    assert local.code == 0, local.err
    here, there = (orch("status", name, "--json").json["sweeps"][0]["rows"] for name in ("here", "ducts"))
    assert [row["id"] for row in here] == [row["id"] for row in there], "a job is the same job on any host"
