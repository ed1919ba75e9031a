"""Two projects in one orch home: whose sweep a name means, and that nothing is shown or written over another's."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import ORCH, Ground, Said, until

from .conftest import Orch, _enter

Stand = Callable[[str], Path]
SWEEP = ["sweep: small", "metric: score", 'command: [sh, ../job.sh, "{n}"]', "grid: {n: [1, 2]}"]
JOB = """
echo "in $(pwd)"
echo "$1" >> ran
echo '{"contract":1,"values":{"score":'$(cat factor)'.'$1'}}' > "$ORCH_RUN/result.json"
"""


def make(ground: Ground, name: str, factor: int, *project: str) -> Path:
    """A project beside the others of the ground, with the sweep `small` as `orch init` would write it for each."""
    folder = ground.base / name
    (folder / "sweeps").mkdir(parents=True)
    (folder / "factor").write_text(str(factor))
    (folder / "sweeps" / "small.yaml").write_text("\n".join(SWEEP) + "\n")
    if project:
        (folder / "orch.yaml").write_text("".join(f"project: {one}\n" for one in project))
    return folder


@pytest.fixture(scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two projects that both ran their sweep `small` in one home, one with an id and one without; only read."""
    ground = Ground(tmp_path_factory.mktemp("pair") / "ground")
    (ground.base / "job.sh").write_text(JOB)
    for name, factor, ids in (("liver", 1, ["liver-3f9c"]), ("ducts", 2, [])):
        ground.project = make(ground, name, factor, *ids)
        said = ground.orch("sweep", "small")
        assert said.code == 0, said
    ground.settle()
    ground.project = ground.base / "elsewhere"
    ground.project.mkdir()
    yield ground
    ground.close()


@pytest.fixture
def pair(_pair: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    _enter(_pair, monkeypatch)
    return _pair


@pytest.fixture
def stand(pair: Ground, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Go into a folder of the ground."""

    def go(name: str) -> Path:
        monkeypatch.chdir(pair.base / name)
        return pair.base / name

    return go


def test_each_project_ran_its_own_and_kept_its_record(pair: Ground) -> None:
    records = {path.stem: json.loads(path.read_text()) for path in Path(pair.home.sweeps).glob("*.json")}
    assert [records["small"]["title"], records["small"]["project"]["id"]] == ["small", "liver-3f9c"]
    (other,) = set(records) - {"small"}
    assert other.startswith("small+ducts-")
    assert records[other]["title"] == "small" and records[other]["project"]["folders"] == [str(pair.base / "ducts")]
    for name in ("liver", "ducts"):
        assert sorted((pair.base / name / "ran").read_text().split()) == ["1", "2"]


@pytest.mark.parametrize(("name", "best", "other"), [("liver", "1.2", "ducts/small"), ("ducts", "2.2", "liver/small")])
def test_a_name_means_the_projects_own_sweep(orch: Orch, stand: Stand, name: str, best: str, other: str) -> None:
    folder = stand(name)
    head, *rest = orch("status").out.splitlines()
    assert head.startswith("small  2 jobs: 2 done") and best in head
    assert rest == [f"{other}  2 jobs: 2 done"]
    assert f"in {folder}" in orch("logs", "n=1").out
    assert orch("why", "n=1").out.startswith("n=1 (small, ")
    assert json.loads(orch("show", "n=2", "--sweep", "small", "--json").out)["scores"] == {"score": float(best)}
    assert f"in {folder}" not in orch("logs", "n=1", "--sweep", other).out
    for words in (["stop", "small"], ["retry", "small"], ["release", "small"], ["attach", "small"]):
        assert orch(*words).code == 0
    note = f"seen from {name}"
    assert note in orch("note", "small", note).out and note not in orch("note", other).out
    assert orch("sweep", "small").code == 0
    assert len((folder / "ran").read_text().split()) == 2  # all was there: nothing ran again


@pytest.mark.slow
def test_reports_go_to_their_own_projects(orch: Orch, stand: Stand, pair: Ground) -> None:
    """From a folder below each, from the other project and from neither; none is written over."""
    for name in ("liver", "ducts"):
        stand(f"{name}/sweeps")
        assert orch("report", "small").code == 0
    both = [json.loads((pair.base / name / "report/small/report.json").read_text()) for name in ("liver", "ducts")]
    assert [one["project"].split("-")[0] for one in both] == ["liver", "ducts"]
    before = (pair.base / "ducts/report/small/report.md").read_bytes()
    stand("ducts")
    assert str(pair.base / "liver/report/small") in orch("report", "liver/small").out
    assert (pair.base / "ducts/report/small/report.md").read_bytes() == before
    refused = orch("report", "liver/small", "--out", "report/small")
    assert (refused.code, "holds the report of another sweep" in refused.err) == (2, True)
    assert (pair.base / "ducts/report/small/report.md").read_bytes() == before
    stand("elsewhere")
    assert str(pair.base / "elsewhere/report/small+ducts-") in orch("report", "ducts/small").out  # not told by itself
    assert str(pair.base / "liver/report/small") in orch("report", "liver/small").out


def test_outside_every_project_what_means_several_is_listed_in_words_to_type(orch: Orch, stand: Stand) -> None:
    stand("elsewhere")
    lines = orch("status").out.splitlines()
    assert [line.split()[0] for line in lines] == ["liver/small", "ducts/small"]
    for words in (["status", "small"], ["report", "small"], ["stop", "small"], ["show", "n=1", "--sweep", "small"]):
        said = orch(*words)
        assert (said.code, "write one of: liver/small, ducts/small" in said.err) == (2, True), words
    for words in (["stop", "n=1"], ["retry", "n=1"], ["fetch", "n=1"]):
        assert "n=1 --sweep liver/small, n=1 --sweep ducts/small" in orch(*words).err
    for name, value in (("liver/small", 1.1), ("liver-3f9c/small", 1.1), ("ducts/small", 2.1)):
        assert json.loads(orch("show", "n=1", "--sweep", name, "--json").out)["scores"] == {"score": value}
        assert len(json.loads(orch("status", name, "--json").out)["sweeps"]) == 1


def test_a_project_that_ran_nothing_does_not_take_anothers(orch: Orch, stand: Stand, pair: Ground) -> None:
    make(pair, "fresh", 3, "fresh-0000")
    stand("fresh")
    assert orch("status").out.splitlines() == ["liver/small  2 jobs: 2 done", "ducts/small  2 jobs: 2 done"]
    for words in (["stop", "small"], ["report", "small"], ["retry", "small"], ["note", "small", "x"]):
        said = orch(*words)
        assert said.code == 3 and ("liver/small, ducts/small" in said.err or "no job named" in said.err), words
    assert orch("stop", "n=1").code == 3
    planned = orch("sweep", "small", "--dry-run")
    assert "already there" not in planned.err and "small+fresh-0000" in planned.err
    shutil.rmtree(pair.base / "fresh")


def test_a_clone_is_the_same_project_and_a_copy_with_another_id_is_not(orch: Orch, stand: Stand, pair: Ground) -> None:
    shutil.copytree(pair.base / "liver", pair.base / "clone of liver")
    stand("clone of liver")
    assert "already there: 2 done; 0 jobs to run" in orch("sweep", "small", "--dry-run").err
    Path("orch.yaml").write_text("project: other-1111\n")
    assert "already there" not in orch("sweep", "small", "--dry-run").err
    shutil.rmtree(pair.base / "clone of liver")


def test_the_wrong_folder_is_told_where_the_sweep_is(orch: Orch, stand: Stand, pair: Ground) -> None:
    stand("elsewhere")
    shipped = orch("sweep", "augmentations", "--dry-run")  # the file that comes with orch, and it says so
    assert shipped.code == 2 and "that comes with orch (" in shipped.err and "names no data" in shipped.err
    said = orch("sweep", "small")
    assert said.code == 3
    assert f"it was run from {pair.base / 'liver'}" in said.err and str(pair.base / "ducts") in said.err


def test_options_may_stand_before_the_text_of_a_note(orch: Orch, stand: Stand) -> None:
    stand("liver")
    said = orch("note", "n=1", "--sweep", "small", "a dilated duct")
    assert (said.code, "a dilated duct" in said.out) == (0, True)
    assert orch("stop", "n=1", "--sweep", "small", "n=2").code == 0


def of_before(path: Path) -> dict[str, Any]:
    """Make a record what an orch wrote that knew no projects."""
    record = json.loads(path.read_text())
    for key in ("title", "project", "version", "versions"):
        del record[key]
    path.write_text(json.dumps(record))
    return dict(record)


@pytest.mark.slow
def test_a_record_of_before_is_its_own_projects_and_nobody_elses(ground: Ground) -> None:
    """Found by the place of its file, or by its file's text where that place is gone; else never written over."""
    (ground.base / "job.sh").write_text(JOB)
    ground.project = liver = make(ground, "liver", 1)
    assert ground.orch("sweep", "small").code == 0
    ground.settle()
    path = Path(ground.home.sweep("small"))
    old = of_before(path)
    assert ground.orch("status").out.startswith("small  2 jobs: 2 done")  # as it was, before anything is written
    ground.project = make(ground, "ducts", 2)
    assert ground.orch("sweep", "small").code == 0
    assert json.loads(path.read_text()) == old and sorted((ground.project / "ran").read_text().split()) == ["1", "2"]
    assert ground.orch("status", "small", "--json").json["sweeps"][0]["name"].startswith("small+ducts-")
    ground.project = liver
    assert "already there: 2 done" in ground.orch("sweep", "small", "--dry-run").err
    ground.project = liver.rename(ground.base / "moved")
    said = ground.orch("sweep", "small")
    assert "already there: 2 done; 0 jobs to run" in said.err and f"run from {liver}" in said.err
    record = json.loads(path.read_text())
    assert (record["title"], record["project"]["folders"]) == ("small", [str(ground.project)])


@pytest.mark.slow
def test_two_who_begin_at_the_same_moment_get_a_sweep_each(ground: Ground) -> None:
    """Eight start together in an empty home, four from each project: nothing runs twice, or in the other's."""
    (ground.base / "job.sh").write_text(JOB)
    folders = [make(ground, name, factor) for factor, name in enumerate(("liver", "ducts"), 1)]
    ground.orch("status")
    runs = [
        subprocess.Popen([*ORCH, "sweep", "small"], cwd=folder, env=ground.environment, stderr=subprocess.PIPE)
        for _ in range(4)
        for folder in folders
    ]
    told = [run.communicate(timeout=120)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0] * 8, told
    ground.settle()
    for folder in folders:
        assert sorted((folder / "ran").read_text().split()) == ["1", "2"]
    records = [json.loads(path.read_text()) for path in Path(ground.home.sweeps).glob("*.json")]
    assert sorted(Path(one["project"]["folders"][0]).name for one in records) == ["ducts", "liver"]


def test_single_commands_never_grow_into_a_sweep(orch: Orch, ground: Ground) -> None:
    ground.sweep("s", "true")
    assert orch("sweep", "s").code == 0
    before = Path(ground.home.sweep("s")).read_bytes()
    assert orch("run", "--name", "s", "--", "true").code == 0
    assert Path(ground.home.sweep("s")).read_bytes() == before
    ground.settle()


def said_of(said: Said) -> str:
    return said.out + said.err


@pytest.mark.slow
def test_labels_mean_the_sweep_as_its_file_is_now(orch: Orch, ground: Ground) -> None:
    """The file is changed twice; every command takes the newest cell by its label, and each older one by its number."""
    result = """echo '{"contract":1,"values":{"score":'$1'}}' > "$ORCH_RUN/result.json\""""
    ground.write("job.sh", 'echo "rate $1"', result)

    def write(rate: int) -> None:
        words = f'command: [sh, job.sh, "{rate}", "{{n}}"]'
        ground.write("sweeps/small.yaml", "sweep: small", "metric: score", words, "grid: {n: [1, 2]}")

    for rate in (3, 2, 5):
        write(rate)
        said = orch("sweep", "small")
        assert said.code == 0
    ground.settle()
    assert "2 cells (n=1, n=2); kept as version 2: n=1@2, orch report small --version 2" in said.err
    assert "small-2" in said.err and "command[2] 2 -> 5" in said.err
    for extra in ([], ["--sweep", "small"]):
        assert "rate 5" in orch("logs", "n=1", *extra).out
        assert "rate 3" in orch("logs", "n=1@1", *extra).out
    for words in (["why"], ["show"], ["stop"], ["retry", "--again"], ["fetch"], ["note"]):
        assert orch(words[0], "n=1", *words[1:], "--sweep", "small").code == 0, words
        assert orch(words[0], "n=1@1", *words[1:]).code == 0, words
    ground.settle()
    assert "rate 2" in orch("logs", "n=2", "--sweep", "small@2").out
    assert orch("status", "small@2").out.startswith("small  2 jobs: 2 done")
    assert {path.name for path in (ground.project / "fetched/small").iterdir()} == {"n=1", "n=1-version-1"}
    for number, rate in ((1, 3), (2, 2), (3, 5)):
        document = orch("report", "small", "--version", str(number), "--json").json
        assert document["version"] == number and [row[-1] for row in document["rows"]] == [rate] * 2
    assert orch("report", "small", "--version", "4").code == 3
    assert {path.name for path in (ground.project / "report").iterdir()} == {
        "small",
        "small-version-1",
        "small-version-2",
    }
    assert "version 3" in (ground.project / "report/small/report.md").read_text()
    job_id = orch("show", "n=2@1", "--json").json["id"]
    assert "rate 3" in orch("logs", job_id).out and "rate 3" in orch("logs", job_id[:9]).out
    write(3)  # back to where it began: version 1 again, nothing to run
    assert "already there: 2 done; 0 jobs to run" in orch("sweep", "small").err
    assert "rate 3" in orch("logs", "n=1").out and "rate 5" in orch("logs", "n=1@3").out
    assert orch("index", "rebuild").code == 0
    assert "rate 2" in orch("logs", "n=1@2").out
    until(lambda: not ground.processes())


@pytest.mark.slow
def test_a_run_folder_that_somebody_deleted_is_a_hole(orch: Orch, ground: Ground) -> None:
    """One of three by hand: it is told and shown no more, and the same sweep runs it alone; then all of it."""
    ground.sweep("s", "echo {n} >> ran", "{n: [1, 2, 3]}")
    assert orch("sweep", "s").code == 0
    shutil.rmtree(ground.folders("s")["n=2"][0].path.rpartition("/")[0])
    said = orch("retry", "n=2", "--again")
    assert said.code == 3 and "gone (n=2)" in said.err and "orch sweep s runs them anew" in said.err
    assert ground.states("s") == {"n=1": "done", "n=2": "planned", "n=3": "done"}
    assert orch("index", "check").code == 0
    assert orch("report", "s").code == 6
    assert orch("sweep", "s").code == 0 and ground.ran() == ["1", "2", "2", "3"]
    shutil.rmtree(ground.home.path + "/runs/s")
    told = orch("sweep", "s")
    assert (told.code, "the run folders of 3 jobs are gone" in told.err) == (0, True)
    assert len(ground.ran()) == 7 and set(ground.states("s").values()) == {"done"}
    ground.settle()
