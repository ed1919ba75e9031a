"""`orch index`: check finds what was changed by hand or lost, rebuild gives the same content back."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from ground import Ground

from jobs.folder import RunFolder
from orchestrator.store import Index

from .conftest import Orch


@pytest.fixture
def done(swept: Ground, ground: Ground, orch: Orch) -> Ground:
    """A copy of the ended sweep that may be spoilt; its index is as good as new."""
    shutil.copytree(swept.home.path, ground.home.path)
    assert orch("index", "rebuild").code == 0
    return ground


def content(ground: Ground) -> dict[tuple[object, ...], object]:
    with Index.open(ground.index) as index:
        return dict(index.content())


def test_an_index_agrees_with_its_run_folders(orch: Orch, done: Ground) -> None:
    said = orch("index", "check")
    assert (said.code, said.out) == (0, "index and run folders agree: 6 jobs, 0 of them still moving and left out\n")
    assert json.loads(orch("index", "check", "--json").out) == {"jobs": 6, "differences": []}


def test_what_came_step_by_step_is_what_a_rebuild_gives(orch: Orch, ground: Ground) -> None:
    """Watched from the queue to the end, with a failure, a retry, a note and a job run again."""
    ground.write(
        "job.sh",
        'sleep 0.2; test $1 != 2 && echo \'{"contract":1,"values":{"n":1}}\' > "$ORCH_RUN/result.json"',
    )
    ground.write("sweeps/s.yaml", 'command: [sh, job.sh, "{n}"]', "grid: {n: 1..4}")
    orch("sweep", "s", "--parallel", "1")
    orch("note", "n=1", "good")
    orch("retry", "n=1", "--again")
    orch("sweep", "s")
    ground.settle()
    orch("status", "--refresh")
    before = content(ground)
    assert orch("index", "check").code == 0
    assert orch("index", "rebuild").code == 0
    assert content(ground) == before
    assert orch("index", "check").code == 0


@pytest.mark.parametrize("fault", ["deleted", "random bytes", "cut", "newer", "foreign", "no tables"])
def test_a_lost_index_is_told_and_made_again(orch: Orch, done: Ground, fault: str) -> None:
    """Injected: six kinds of damage to the index, each once. Lost: nothing."""
    before = content(done)
    spoil(done.index, fault)
    said = orch("status", "--refresh")
    assert said.code == (0 if fault == "deleted" else 1)
    if fault != "deleted":
        assert said.err.count("error:") == 1
        assert "orch index rebuild" in said.err if fault != "foreign" else "another program" in said.err
    said = orch("index", "rebuild")
    assert (said.code, said.out.startswith("index made again: 6 jobs")) == (0, True)
    assert content(done) == before
    assert orch("index", "check").code == 0


def spoil(index: Path, fault: str) -> None:
    if fault == "deleted":
        for path in index.parent.iterdir():
            path.unlink()
    elif fault == "random bytes":
        index.write_bytes(random.Random(7).randbytes(index.stat().st_size))
    elif fault == "cut":
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2 - 100])
    else:
        with sqlite3.connect(index) as database:
            if fault == "newer":
                database.execute("PRAGMA user_version = 99")
            elif fault == "foreign":
                database.execute("PRAGMA application_id = 1")
            else:
                database.execute("DROP TABLE attempt")
        database.close()


def edited(folder: RunFolder, file: str) -> None:
    path = Path(folder.path, file)
    if file == "job.json":
        job = json.loads(path.read_text())
        job["cell"]["parameters"]["grid"]["lr"] = 0.5
        path.write_text(json.dumps(job))
    elif file == "events.jsonl":
        path.write_text(path.read_text().replace('"val_dice":0.3', '"val_dice":0.9'))
    elif file == "cases.json":
        path.write_text('{"contract": 1, "cases": [{"case": "c-1", "class": "x", "dice": 1}]}')
    else:
        path.write_text(path.read_text().replace("0.5", "0.99"))


@pytest.mark.parametrize("file", ["job.json", "events.jsonl", "result.json", "cases.json"])
def test_a_file_edited_by_hand_is_found(orch: Orch, done: Ground, file: str) -> None:
    """Injected: one edit in one of four files. Found: the job and what differs; nothing else is touched."""
    edited(done.folders("rates")["fold=0,lr=0.001"][0], file)
    said = orch("index", "check")
    assert said.code == 6
    assert done.rows("rates")["fold=0,lr=0.001"]["id"] in said.out or "fold=0,lr=0.001" in said.out
    assert "orch index rebuild" in said.err
    assert len(json.loads(orch("index", "check", "--json").out)["differences"]) >= 1


@pytest.mark.parametrize("what", ["attempt", "job", "job.json", "sweep"])
def test_a_folder_that_is_gone_is_found(orch: Orch, done: Ground, what: str) -> None:
    """Injected: a deleted attempt, job, `job.json` or sweep. Found: exit 6, by name."""
    folder = Path(done.folders("rates")["fold=0,lr=0.001"][0].path)
    places = {"attempt": folder, "job": folder.parent, "job.json": folder / "job.json", "sweep": folder.parent.parent}
    if places[what].is_dir():
        shutil.rmtree(places[what])
    else:
        places[what].unlink()
    said = orch("index", "check")
    assert said.code == 6
    assert folder.parent.name in said.out
    assert orch("index", "rebuild").code == 0
    assert orch("status").code == 0


def test_what_a_silent_host_has_run_stays_in_a_rebuilt_index(ground: Ground, orch: Orch) -> None:
    """Injected: one of two hosts, each with a home of its own, does not answer while the index is made again.

    Lost: nothing. Its rows stay, with the time of their last word, and follow again when it answers.
    """
    for name in ("grace", "ada"):
        (ground.base / name).mkdir()
    lines = [f"  {name}: {{way: fake, address: {json.dumps(str(ground.base / name))}}}" for name in ("grace", "ada")]
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", *lines)
    ground.write("job.sh", 'echo \'{"contract":1,"values":{"n":1}}\' > "$ORCH_RUN/result.json"')
    for name in ("grace", "ada"):
        ground.write(f"sweeps/{name}.yaml", f"sweep: on-{name}", 'command: [sh, job.sh, "{n}"]', "grid: {n: 1..2}")
        assert orch("sweep", name, "--hosts", name).code == 0
    before = content(ground)
    (ground.base / "ada").rename(ground.base / "away")
    said = orch("index", "rebuild")
    assert said.code == 5, said
    assert (
        "ada does not answer" in said.err
        and "2 attempts of silent hosts are as the old index had them: ada as of 20" in said.err
    )
    states = {name: list(ground.states(f"on-{name}").values()) for name in ("grace", "ada")}
    assert states == {"grace": ["done", "done"], "ada": ["done", "done"]}
    (ground.base / "away").rename(ground.base / "ada")
    assert orch("sync").code == 0
    assert content(ground) == before
    assert orch("index", "check").code == 0


def test_a_parked_index_holds_what_stood_in_the_log_only(done: Ground, orch: Orch) -> None:
    """Injected: an index whose newest rows are in SQLite's log, as a killed program leaves it. Lost: none."""
    with Index.open(done.index) as index:
        index.seen("nodal", 123.0)
        assert done.index.with_name("index.db-wal").stat().st_size
        copy = {path.name: path.read_bytes() for path in done.index.parent.glob("index.db*")}
    for name, data in copy.items():
        done.index.with_name(name).write_bytes(data)
    assert orch("index", "rebuild").code == 0
    with sqlite3.connect(done.index.with_name("index.db.old")) as parked:
        assert parked.execute("SELECT t FROM host_seen WHERE host = 'nodal'").fetchall() == [(123.0,)]
    parked.close()
