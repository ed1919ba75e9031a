"""`orch demo`: the whole way, from nothing to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.folder import Home
from orchestrator.config import Settings

from .conftest import Orch


@pytest.mark.slow
def test_the_demo_ends_with_a_report_in_its_own_folder(
    orch: Orch, hostile_path: Path, orch_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORCH_HOME")  # the demo's project file names its own
    folder = hostile_path / "demo"
    sweep = folder / "sweeps" / "demo.yaml"
    sweep.parent.mkdir(parents=True)
    sweep.write_text(
        "sweep: demo\ndata: phantom\nfolds: 2\nstrategies: {identity: [], flip: [{flip: {}}]}\n"
        "train: {width: 2, depth: 1, epochs: 1}\n",
        encoding="utf-8",
    )
    said = orch("demo", str(folder))
    assert said.code == 0, said.err
    assert sweep.read_text(encoding="utf-8").startswith("sweep: demo\ndata: phantom\nfolds: 2")  # changed by hand: kept
    assert (folder / "report" / "report.html").is_file()
    assert Settings({}, {}, folder).home == folder / "home"
    assert f"next: cd {folder} && orch status" in said.err
