"""`orch report`: files, headline, table, and exit 6 with holes."""

from __future__ import annotations

import json
from pathlib import Path

from ground import Ground

from .conftest import Orch


def test_files_and_the_warning_of_holes(orch: Orch, swept: Ground, tmp_path: Path) -> None:
    said = orch("report", "rates", "--out", str(tmp_path / "out"))
    assert said.code == 6
    names = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    for ending in (".html", ".md", ".csv", ".png"):
        assert any(name.endswith(ending) for name in names), ending
    assert "fold=0,lr=0.1" in said.err
    assert f"report: {tmp_path / 'out'}" in said.out


def test_the_document(orch: Orch, swept: Ground, tmp_path: Path) -> None:
    document = json.loads(orch("report", "--json", "--out", str(tmp_path / "out")).out)
    assert document["sweep"] == "rates"
    assert [row[0] for row in document["rows"]] == [0.001, 0.0001, 0.1]
    assert all(Path(path).is_file() for path in document["files"])


def test_the_folder_by_default(orch: Orch, ground: Ground) -> None:
    assert orch("report").code == 2
    ground.sweep(
        "s",
        """echo '{"contract":1,"values":{"score":{n}}}' > "$ORCH_RUN/result.json" """.replace('{"', '{{"').replace(
            "}}'", "}}}}'"
        ),
        "{n: [1, 2]}",
    )
    assert orch("sweep", "s").code == 0
    assert orch("report", "s").code == 0
    assert (ground.project / "report/s").is_dir()
    said = orch("report", "t")
    assert (said.code, "no sweep named 't'" in said.err) == (3, True)
