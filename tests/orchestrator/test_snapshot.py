"""Code snapshots: equal content is one folder, images stay out, and nothing is seen half."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.errors import DataError, OrchError, UsageError
from jobs.folder import Home
from orchestrator import snapshot
from orchestrator.snapshot import Code


@pytest.fixture
def project(hostile_path: Path) -> Path:
    for name, text in {"train.py": "print(1)\n", "lib/a.py": "A = 1\n", "lib/__pycache__/a.pyc": "x"}.items():
        path = hostile_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return hostile_path


def listed(project: Path, *entries: str) -> dict[str, Path]:
    return snapshot.listed_code(project, entries or ("train.py", "lib")).files


def test_the_trainer_runs_from_its_snapshot(orch_home: Home, tmp_path: Path) -> None:
    taken = snapshot.take_trainer(orch_home)
    assert snapshot.take_trainer(orch_home) == taken
    assert not any(name.endswith(".pyc") for name in taken.files)
    done = subprocess.run(
        [sys.executable, "-I", "-B", taken.path, "schema"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert '"$defs"' in done.stdout


def test_equal_content_is_the_same_snapshot(orch_home: Home, project: Path) -> None:
    first = snapshot.take(orch_home, Code.of(listed(project)))
    assert sorted(first.files) == ["lib/a.py", "train.py"]
    assert Path(first.path, "lib/a.py").read_text() == "A = 1\n"
    assert snapshot.take(orch_home, Code.of(listed(project))) == first
    assert snapshot.recorded(orch_home, first.hash) == first


def test_what_changed_is_named(orch_home: Home, project: Path) -> None:
    old = snapshot.take(orch_home, Code.of(listed(project)))
    (project / "lib/a.py").write_text("A = 2\n")
    (project / "lib/b.py").write_text("B = 2\n")
    new = snapshot.take(orch_home, Code.of(listed(project)))
    assert new.hash != old.hash
    assert snapshot.changed_files(old, new) == ["lib/a.py", "lib/b.py"]
    assert Path(old.path, "lib/a.py").read_text() == "A = 1\n"


@pytest.mark.parametrize("name", ["scan.nii.gz", "a.NII", "b.dcm", "mask.PNG", "c.hdr", "d.img", "e.npy", "f.jpeg"])
def test_images_stay_out(orch_home: Home, project: Path, name: str) -> None:
    (project / "lib" / name).write_bytes(b"x")
    with pytest.raises(DataError, match="do not belong into a code snapshot"):
        listed(project)
    with pytest.raises(DataError, match="do not belong"):
        snapshot.take(orch_home, Code.of({name: project / "lib" / name}))
    assert not Path(orch_home.code).exists()


def test_a_large_folder_is_refused(orch_home: Home, project: Path) -> None:
    with (project / "weights.bin").open("wb") as handle:
        handle.truncate(snapshot.LARGEST + 1)
    with pytest.raises(DataError, match=r"largest: weights\.bin"):
        snapshot.take(orch_home, Code.of(listed(project, "weights.bin")))


def test_entries_must_be_there_and_inside(project: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no trian\.py"):
        listed(project, "trian.py")
    with pytest.raises(UsageError, match="lies outside"):
        listed(project, "../other")


def test_two_at_once_make_one_folder(orch_home: Home, project: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = set(pool.map(lambda _: snapshot.take(orch_home, Code.of(listed(project))).hash, range(16)))
    assert len(taken) == 1
    assert sorted(path.name for path in Path(orch_home.code).iterdir()) == sorted(
        [*taken, *(f"{one}.json" for one in taken)]
    )


def test_a_snapshot_that_is_gone_is_told(orch_home: Home) -> None:
    with pytest.raises(OrchError, match="is not in"):
        snapshot.recorded(orch_home, "0" * 16)
