"""Records of sweeps: whose they are, and that nobody's is written over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs import sweep_records
from jobs.errors import NameTaken
from jobs.folder import Home
from jobs.homes import open_home

LIVER = {"id": "liver-3f9c", "declared": True, "name": "liver", "folders": ["/lab/liver"]}
DUCTS = {"id": "ducts-77aa", "declared": True, "name": "ducts", "folders": ["/lab/ducts"]}
PLAIN = {"id": "liver-0000", "declared": False, "name": "liver", "folders": ["/lab/liver", "/old/liver"]}


def record(project: dict[str, Any] | None, *cells: str, **more: Any) -> dict[str, Any]:
    said = {"name": "s", "title": "s", "project": project, "created": "1", "updated": "2"}
    return {**said, "cells": [{"id": one, "label": one, "names": {}} for one in cells], **more}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(str(tmp_path / "home"))
    open_home(home.path)
    return home


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (LIVER, LIVER, True),
        (LIVER, {**LIVER, "folders": ["/clone"]}, True),
        (LIVER, DUCTS, False),
        (LIVER, {**DUCTS, "folders": LIVER["folders"]}, False),  # somebody gave the folder another id
        (LIVER, PLAIN, True),  # the id came later
        (PLAIN, {**PLAIN, "folders": ["/old/liver"]}, True),
        (PLAIN, {**PLAIN, "folders": ["/elsewhere"]}, False),
        (PLAIN, DUCTS, False),
        (None, None, True),
        (None, LIVER, False),
    ],
)
def test_when_two_are_of_one_project(one: Any, other: Any, same: bool) -> None:
    assert sweep_records.same_project(one, other) == sweep_records.same_project(other, one) == same


def test_a_record_is_replaced_by_its_own_project_alone(home: Home) -> None:
    """Another id, single commands and another folder try: each is refused and leaves the bytes as they were."""
    sweep_records.write(home, record(LIVER, "a"))
    sweep_records.write(home, record({**LIVER, "folders": ["/clone"]}, "a", "b", created="9"))
    path = Path(home.sweep("s"))
    before = path.read_bytes()
    assert json.loads(before)["created"] == "1" and len(json.loads(before)["cells"]) == 2
    others = [record(DUCTS, "a"), record(None, "a", grows=True), record({**PLAIN, "folders": ["/x"]}, "a")]
    for other in others:
        with pytest.raises(NameTaken) as caught:
            sweep_records.write(home, other)
        assert caught.value.context == {"name": "s"}
        assert path.read_bytes() == before


def test_single_commands_stay_with_each_other(home: Home) -> None:
    sweep_records.write(home, record(None, "a", grows=True))
    sweep_records.write(home, record(None, "b", grows=True))
    before = Path(home.sweep("s")).read_bytes()
    assert [cell["id"] for cell in json.loads(before)["cells"]] == ["a", "b"]
    with pytest.raises(NameTaken):
        sweep_records.write(home, record(LIVER, "a"))
    assert Path(home.sweep("s")).read_bytes() == before


def test_an_older_orch_keeps_what_it_does_not_know(home: Home) -> None:
    sweep_records.write(home, record(LIVER, "a", version=3, versions=[{"n": 2, "cells": ["x"]}]))
    old = {key: value for key, value in record(None, "a", "b").items() if key not in ("title", "project")}
    sweep_records.write(home, old)
    now = json.loads(Path(home.sweep("s")).read_text())
    assert (now["title"], now["project"], now["version"], len(now["cells"])) == ("s", LIVER, 3, 2)
    assert now["versions"] == [{"n": 2, "cells": ["x"]}]


def test_a_record_of_before_is_adopted_once(home: Home) -> None:
    old = {key: value for key, value in record(None, "a").items() if key not in ("title", "project")}
    sweep_records.write(home, old)
    sweep_records.write(home, record(LIVER, "a"))
    with pytest.raises(NameTaken):
        sweep_records.write(home, record(DUCTS, "a"))


def test_of_many_who_begin_at_the_same_moment_one_gets_the_name(home: Home, tmp_path: Path) -> None:
    """Twelve processes write a first record, each of another project: eleven are refused, in each of five rounds."""
    for turn in range(5):
        go, children = tmp_path / f"go {turn}", []
        for number in range(12):
            child = os.fork()
            if not child:
                mine = {**LIVER, "id": f"p-{number}", "folders": [f"/{number}"]}
                while not go.exists():
                    pass
                try:
                    sweep_records.write(home, record(mine, "a", name=f"s{turn}"))
                    code = 0
                except NameTaken:
                    code = 3
                except BaseException:
                    code = 9
                os._exit(code)  # whatever happened: a child that went on would be a second pytest
            children.append(child)
        go.touch()
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(codes) == [0] + [3] * 11
        owner = json.loads(Path(home.sweep(f"s{turn}")).read_text())["project"]["id"]
        assert owner == f"p-{codes.index(0)}"


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="another owner needs root")
def test_in_a_groups_home_a_record_is_its_owners(home: Home) -> None:
    """Whatever stands in it: of the same project, damaged, or claimed. Any other home is one person's."""
    Path(home.path).chmod(0o2770)
    sweep_records.write(home, record(LIVER, "a"))
    path = Path(home.sweep("s"))
    assert sweep_records.read(home, "s")["owner"] == {"uid": 0, "login": "root", "mine": True}  # type: ignore[index]
    os.chown(path, 4321, -1)
    assert sweep_records.owner(home, str(path)) == {"uid": 4321, "login": "4321", "mine": False}
    for text in (path.read_text(), "{", json.dumps({"owner": {"mine": True}})):
        path.write_text(text)
        with pytest.raises(NameTaken, match="4321's"):
            sweep_records.write(home, record(LIVER, "a"))
        assert path.read_text() == text
    Path(home.path).chmod(0o700)
    sweep_records.write(home, record(LIVER, "b"))
    assert json.loads(path.read_text())["cells"][0]["id"] == "b"
