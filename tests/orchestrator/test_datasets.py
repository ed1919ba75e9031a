"""Names, sources and what must not be replaced by accident."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import NotFound, UsageError
from jobs.folder import Home
from orchestrator import datasets
from orchestrator.config import DataSource


def document(number: str) -> dict[str, Any]:
    case = {"case": "c-1", "group": "p-1", "image": "/none/a", "label": "/none/b"}
    return {"hash": number, "classes": ["duct"], "cases": [case], "sizes": {"2": [16, 32]}, "source": {}}


def test_a_name_keeps_its_contents(orch_home: Home) -> None:
    first = datasets.save(orch_home, "liver", document("a"))
    assert (first.name, first.hash, first.patients, first.sizes) == ("liver", "a", 1, {"2": (16, 32)})
    assert datasets.save(orch_home, "liver", document("a")) == first
    with pytest.raises(UsageError, match="registered with other contents"):
        datasets.save(orch_home, "liver", document("b"))
    assert datasets.save(orch_home, "liver", document("b"), replace=True).hash == "b"
    assert datasets.names(orch_home) == ["liver"]


@pytest.mark.parametrize("name", ["", "a b", "../x", ".hidden", "é"])
def test_names_are_folder_names(orch_home: Home, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a data set"):
        datasets.save(orch_home, name, document("a"))


def test_an_unknown_name_lists_the_known(orch_home: Home) -> None:
    datasets.save(orch_home, "liver", document("a"))
    with pytest.raises(NotFound) as caught:
        datasets.lookup(orch_home, "livre", ["lung"])
    assert "Did you mean 'liver'?" in caught.value.message
    assert "known: liver, lung" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (DataSource("/data/liver/imagesTr", "/data/liver/labelsTr"), "liver-"),
        (DataSource("/x/hippo/images/*.nii.gz", "/x/hippo/labels/*.nii.gz"), "hippo-"),
        (DataSource(csv="/x/lung.csv"), "lung-"),
        (DataSource("/", "/"), "data-"),
    ],
)
def test_a_source_without_a_name_gets_one(source: DataSource, word: str) -> None:
    assert datasets.derived_name(source).startswith(word)
    assert datasets.derived_name(source) == datasets.derived_name(source)


def test_missing_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    cases = [{"image": str(tmp_path / "a"), "label": str(tmp_path / "b")}]
    assert datasets.missing_files({"cases": cases}) == [str(tmp_path / "b")]
