"""From words to a plan with real data: registration, split, pinned code, reasons."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from jobs.atomic import write_json
from jobs.errors import DataError, NotFound, SpecError, UsageError
from jobs.folder import Home
from jobs.homes import open_home
from orchestrator import datasets, planning
from orchestrator.config import DataSource, Settings
from orchestrator.places import LocalPlace

SWEEP = "sweep: small\nfolds: 3\nstrategies: {identity: [], rotate: [{rotate: {}}]}\n"


def prepare(*words: str, rerun: str = "none") -> planning.Prepared:
    parser = argparse.ArgumentParser()
    planning.add_arguments(parser)
    args, settings = parser.parse_args(list(words)), Settings.of({})
    sweep = planning.sweep_of(args, settings)
    return planning.prepare(args, settings, sweep, [LocalPlace(settings, *open_home(str(settings.home)))], rerun)


@pytest.fixture
def project(hostile_path: Path, orch_home: Home, phantom: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(hostile_path)
    text = f"data: {{ducts: {{images: {json.dumps(str(phantom))}}}}}\n"
    (hostile_path / "orch.yaml").write_text(text, encoding="utf-8")
    (hostile_path / "small.yaml").write_text(SWEEP, encoding="utf-8")
    return hostile_path


def test_the_only_data_set_is_taken_and_registered_once(project: Path, orch_home: Home) -> None:
    first = prepare("small")
    assert len(first.plan.specs) == 6
    assert "data ducts: the only data set known here" in first.plan.notes
    assert any("6 volumes of 6 patients" in note for note in first.plan.notes)
    second = prepare("small", "--folds", "0..1", "--strategies", "rotate")
    assert [spec.id for spec in second.plan.specs] == [first.plan.specs[number].id for number in (1, 3)]
    assert not any("registered" in note for note in second.plan.notes)
    assert planning.describe(second)[0].startswith(
        "2 of 6 jobs = 1 strategy x 2 folds x 1 seed · data ducts (6 patients"
    )
    assert datasets.names(orch_home) == ["ducts"]


def test_every_job_knows_where_it_comes_from(project: Path) -> None:
    found = prepare("small").plan.specs[0].provenance
    assert set(found) >= {"git", "environment", "user", "host", "orch", "created", "code", "data", "split"}
    assert found["environment"]["packages"]["numpy"]


def test_no_real_name_reaches_the_jobs(project: Path, phantom: Path, orch_home: Home) -> None:
    stems = {path.name.split(".")[0] for path in (phantom / "imagesTr").iterdir()}
    text = json.dumps([spec.to_json() for spec in prepare("small").plan.specs])
    assert not [stem for stem in stems if stem in text]
    assert Path(orch_home.manifest("ducts")).stat().st_mode & 0o077 == 0


def test_a_sweep_may_bring_its_data(project: Path, phantom: Path, orch_home: Home) -> None:
    source = DataSource(str(phantom / "imagesTr"), str(phantom / "labelsTr"))
    data = json.dumps({"images": source.images, "labels": source.labels})
    (project / "own.yaml").write_text(SWEEP + f"data: {data}\n", encoding="utf-8")
    made = prepare("own", "--name", "mine")
    assert made.record["name"] == "mine"
    assert made.plan.data is not None
    assert made.plan.data.name == datasets.derived_name(source)


def test_a_second_run_keeps_the_pinned_code(project: Path, orch_home: Home) -> None:
    (project / "run.py").write_text("print(1)\n")
    (project / "own.yaml").write_text("command: [python3, run.py]\ncode: [run.py]\n")
    first = prepare("own")
    Path(orch_home.sweeps).mkdir()
    write_json(orch_home.sweep("own"), first.record)
    (project / "run.py").write_text("print(2)\n")
    again = prepare("own")
    assert again.code == first.code
    assert again.changed == ("run.py",)
    assert any("run.py" in line for line in planning.describe(again))
    fresh = prepare("own", rerun="changed")
    assert fresh.code != first.code
    assert fresh.plan.specs[0].id == first.plan.specs[0].id
    assert fresh.plan.specs[0].cwd == (fresh.code.path if fresh.code else "")


def test_more_folds_than_patients(project: Path) -> None:
    (project / "small.yaml").write_text(SWEEP.replace("folds: 3", "folds: 7"), encoding="utf-8")
    with pytest.raises(SpecError, match="7 folds cannot be made of 6 patients"):
        prepare("small")


def test_unknown_data_names_the_nearest(project: Path) -> None:
    with pytest.raises(NotFound) as caught:
        prepare("small", "--data", "duct")
    assert "Did you mean 'ducts'?" in caught.value.message
    assert "orch data add" in caught.value.hint


def test_no_data_at_all(project: Path) -> None:
    (project / "orch.yaml").unlink()
    with pytest.raises(UsageError, match="names no data") as caught:
        prepare("small")
    assert "orch data add" in caught.value.hint


@pytest.mark.parametrize("words", [("--folds", "x"), ("--seeds", "1.5"), ("--name", "a b")])
def test_options_that_cannot_be_understood(project: Path, words: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        prepare("small", *words)


def test_broken_data_is_the_trainers_word(project: Path, tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    (tmp_path / "im" / "a.nii.gz").write_bytes(b"")
    text = f"data: {{ducts: {{images: {tmp_path}/im, labels: {tmp_path}/im}}}}\n"
    (project / "orch.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        prepare("small")
