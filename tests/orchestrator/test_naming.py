"""What names of sweeps mean, by where one stands; nothing that a record says is believed to be a path or a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import NotFound, UsageError
from orchestrator.config import Settings
from orchestrator.naming import Names
from orchestrator.project import is_project, new_id
from orchestrator.store import Index

ANA = {"uid": 7, "login": "ana", "mine": False}


def add(index: Index, key: str, title: str, project: Any, **more: Any) -> None:
    cells = [{"id": f"{key:0<16}"[:16], "label": "n=1", "names": {}}]
    about = {"name": key, "title": title, "project": project, "cells": cells, "updated": key}
    index.record_sweep({**about, "created": key, "owner": {"uid": 0, "login": "me", "mine": True}, **more})


def project(folder: Path, given: str = "") -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    if given:
        (folder / "orch.yaml").write_text(f"project: {given}\n")
    return {"id": given or f"{folder.name}-0", "declared": bool(given), "name": folder.name, "folders": [str(folder)]}


@pytest.fixture
def index(tmp_path: Path) -> Any:
    with Index.open(tmp_path / "state" / "index.db") as opened:
        liver, ducts = project(tmp_path / "liver", "liver-3f9c"), project(tmp_path / "ducts")
        add(opened, "cmp", "cmp", liver)
        add(opened, "cmp+ducts", "cmp", ducts)
        add(opened, "cmp+ana", "cmp", liver, owner=ANA)
        add(opened, "only", "only", ducts)
        add(opened, "runs", "runs", None, grows=True)
        add(opened, "hers", "hers", {**liver, "id": "x-1", "name": "x"}, owner=ANA)
        yield opened


def names(index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    return Names.of(index, Settings({}, {}, folder))


@pytest.mark.parametrize(
    ("stands", "word", "meant"),
    [
        ("liver", "cmp", "cmp"),
        ("liver/deep/below", "cmp", "cmp"),
        ("ducts", "cmp", "cmp+ducts"),
        ("ducts/deep", "only", "only"),
        ("liver", "ducts/cmp", "cmp+ducts"),
        ("ducts", "liver/cmp", "cmp"),  # ours before ana's
        ("ducts", "liver-3f9c/cmp", "cmp"),
        ("ducts", "ana:cmp", "cmp+ana"),
        ("ducts", "ana:liver/cmp", "cmp+ana"),
        ("liver", "cmp+ducts", "cmp+ducts"),  # the full name, anywhere
        ("liver", "runs", "runs"),
        ("nowhere", "only", "only"),
        ("nowhere", "hers", "hers"),
        ("nowhere", "runs", "runs"),
    ],
)
def test_what_a_name_means(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands: str, word: str, meant: str
) -> None:
    found = names(index, tmp_path / stands, monkeypatch)
    assert found.find(word).name == meant and found.has(f"{word}@1")


@pytest.mark.parametrize(("stands", "word"), [("liver", "only"), ("liver", "hers"), ("ducts", "hers")])
def test_in_a_project_another_ones_sweep_is_named_not_taken(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands: str, word: str
) -> None:
    with pytest.raises(NotFound) as caught:
        names(index, tmp_path / stands, monkeypatch).find(word)
    assert f"/{word}" in caught.value.hint


def test_what_means_several_is_listed_in_words_that_mean_one(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = names(index, tmp_path / "nowhere", monkeypatch)
    with pytest.raises(UsageError) as caught:
        found.find("cmp")
    assert caught.value.hint == "write one of: liver/cmp, ducts/cmp"


@pytest.mark.parametrize("stands", ["liver", "ducts", "nowhere"])
def test_every_sweep_has_a_word_that_means_it_alone(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stands: str
) -> None:
    found = names(index, tmp_path / stands, monkeypatch)
    assert {key: found.find(word).name for key, word in found.words().items()} == {
        row.name: row.name for row in found.rows
    }


@pytest.mark.parametrize(
    "said",
    [
        {"title": "../../.bashrc", "project": {"id": "../x", "folders": ["/"]}},
        {"title": 7, "project": [1]},
        {"title": "a\x1b[2J", "project": "x"},
        {"title": None, "project": {"id": "x", "folders": "no list"}},
        {"title": "", "project": {"id": "x", "declared": True, "folders": ["\0", "/nowhere"]}, "owner": 5},
        {"title": "t", "project": None, "owner": [], "source": "\0"},
    ],
)
def test_a_record_that_says_nonsense_hides_nothing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    """Six records that a host could tell: the others are found as before, and no name of it leads out of a folder."""
    add(index, "bad", "bad", None)
    index.record_sweep({"name": "bad", "cells": [], "created": "0", **said})
    for stands, word, meant in (("liver", "cmp", "cmp"), ("nowhere", "only", "only")):
        found = names(index, tmp_path / stands, monkeypatch)
        assert found.find(word).name == meant
        bad = next(row for row in found.rows if row.name == "bad")
        assert bad.title in ("bad", "t") and ".." not in found.word(bad)


def test_an_id_is_a_folders_name_and_never_the_same_twice(tmp_path: Path) -> None:
    made = [new_id(name) for name in ("liver", "liver", "Lebermetastasen (neu)", "..", "é", "x" * 300)]
    assert len(set(made)) == 6 and all(len(one) <= 45 for one in made)
    assert made[0].startswith("liver-") and made[3].startswith("project-")
    (tmp_path / "orch.yaml").write_text("project: a-1\n")
    assert is_project(str(tmp_path), "a-1") and not is_project(str(tmp_path), "b-1")
    assert not is_project(str(tmp_path / "none"), "a-1") and not is_project("\0", "a-1")
