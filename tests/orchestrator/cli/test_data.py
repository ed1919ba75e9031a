"""`orch data` and `orch init`, with the real trainer and a small data set."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from jobs.folder import Home, valid_name
from orchestrator.config import Settings
from orchestrator.sweep import load_sweep

from .conftest import Orch


@pytest.fixture
def here(hostile_path: Path, orch_home: Home, phantom: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hostile folder with a copy of the volumes in `data`."""
    shutil.copytree(phantom, hostile_path / "data")
    monkeypatch.chdir(hostile_path)
    return hostile_path


def test_add_list_show_check(orch: Orch, here: Path) -> None:
    assert json.loads(orch("data", "list", "--json").out) == []
    added = orch("data", "add", "ducts", "data/imagesTr", "data/labelsTr")
    assert added.code == 0
    assert "registered ducts: 6 volumes of 6 patients, 32x32x8 voxels" in added.out
    assert "several volumes of one patient" in added.err
    assert "orch sweep augmentations --data ducts" in added.err
    assert orch("data", "list").out.splitlines()[1].startswith("ducts\t6\t6\tduct\t")
    shown = json.loads(orch("data", "show", "ducts", "--json").out)
    assert shown["source"]["images"] == str(here / "data/imagesTr")
    assert orch("data", "check", "ducts").code == 0


def test_patients_can_be_grouped(orch: Orch, here: Path) -> None:
    pattern = r"^(P\d+)"
    assert "of 5 patients" in orch("data", "add", "ducts", "data", "--groups", pattern).out
    again = orch("data", "add", "ducts", "data")
    assert again.code == 2
    assert "registered with other contents" in again.err
    assert orch("data", "add", "ducts", "data", "--replace").code == 0


def test_check_finds_a_changed_file(orch: Orch, here: Path) -> None:
    orch("data", "add", "ducts", "data")
    victim = sorted((here / "data/labelsTr").iterdir())[0]
    victim.write_bytes(gzip.compress(gzip.decompress(victim.read_bytes()), 1))
    said = orch("data", "check", "ducts", "--json")
    assert said.code == 6
    assert len(json.loads(said.out)["error"]["context"]["changed"]) == 1


def test_a_csv_table(orch: Orch, here: Path) -> None:
    rows = [
        f"data/imagesTr/{path.name},data/labelsTr/{path.name},P{number}"
        for number, path in enumerate(sorted((here / "data/imagesTr").iterdir()))
    ]
    (here / "v.csv").write_text("image,label,group\n" + "\n".join(rows) + "\n")
    assert "of 6 patients" in orch("data", "add", "ducts", "--csv", "v.csv").out


@pytest.mark.parametrize("words", [["x"], ["x", "data", "--csv", "v.csv"], ["a b", "data"]])
def test_add_needs_one_source(orch: Orch, here: Path, words: list[str]) -> None:
    said = orch("data", "add", *words)
    assert said.code == 2
    assert "fix: " in said.err


def test_broken_data_is_told_with_its_file(orch: Orch, here: Path) -> None:
    victim = sorted((here / "data/labelsTr").iterdir())[0]
    victim.unlink()
    said = orch("data", "add", "ducts", "data", "--json")
    assert said.code == 1
    assert json.loads(said.out)["error"]["code"] == "BAD_DATA"
    assert victim.name.split(".")[0] in said.out


def test_init_writes_a_project_that_works(orch: Orch, here: Path) -> None:
    said = orch("init")
    assert said.code == 0
    assert "6 volumes of 5 patients" in said.out
    assert "so that folds never split a patient" in said.out
    assert "orch sweep augmentations --dry-run" in said.err
    (name, source), *others = Settings.of({}).data.items()
    assert source.images == str(here / "data/imagesTr")
    sweep = load_sweep(here / "sweeps/augmentations.yaml", here / "orch.yaml")
    assert (sweep.data, others) == (name, [])
    assert len(sweep.strategies) == 7
    identity = Settings.of({}).project_id
    assert valid_name(identity) and f"project: {identity} " in (here / "orch.yaml").read_text()
    assert orch("init", "--force").code == 0
    assert Settings.of({}).project_id == identity  # it stays the project that it is


def test_init_never_writes_over(orch: Orch, here: Path) -> None:
    (here / "orch.yaml").write_text("# mine\n")
    said = orch("init")
    assert said.code == 2
    assert "orch init --force" in said.err
    assert (here / "orch.yaml").read_text() == "# mine\n"
    assert orch("init", "--force", "--name", "ducts").code == 0
    assert "ducts:" in (here / "orch.yaml").read_text()


def test_init_without_volumes(orch: Orch, here: Path) -> None:
    shutil.rmtree(here / "data")
    said = orch("init")
    assert said.code == 3
    assert "orch init IMAGES --labels MASKS" in said.err
    assert not (here / "orch.yaml").exists()
