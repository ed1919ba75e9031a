"""Real agents of several stand-in hosts, side by side: what they tell is judged, kept and found again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from jobs.errors import DiskError, Unreachable
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments
from setup import owners
from setup.examination import Examination, examine_all
from setup.known import forget, recall, remember, told_of
from setup.rows import OK
from setup.site import Host

OPENED: list[str] = []


def connect(host: Host) -> Wire:
    OPENED.append(host.name)
    if host.name == "dead":
        raise Unreachable("dead does not answer: timed out", "is it on?")
    return Wire(ProcessPipe(host.name, boot_arguments(sys.executable)))


@pytest.fixture
def home(hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home on all stand-in hosts."""
    monkeypatch.setenv("HOME", str(hostile_path))
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path / "local"))
    OPENED.clear()
    return hostile_path


def test_a_dead_host_does_not_stop_the_others(home: Path) -> None:
    started = time.monotonic()
    nodal, dead, ada = examine_all([Host("nodal", "n"), Host("dead", "d"), Host("ada", "a")], connect)
    assert time.monotonic() - started < 25
    assert (nodal.error, ada.error) == (None, None)
    assert nodal.rows[0].check == "reachable" and nodal.rows[0].state == OK
    assert dead.rows[0].evidence == "dead does not answer: timed out" and dead.findings == dead.rows
    assert {row.check: row.state for row in nodal.rows}["detached jobs"] == OK, "really tried, by a second connection"
    OPENED.clear()
    (again,) = examine_all([Host("nodal", "n")], connect)
    assert OPENED == ["nodal"], "from then on one connection"
    assert {row.check: row.state for row in again.rows}["detached jobs"] == OK
    assert sorted(path.name for path in home.iterdir()) == []


def test_what_was_found_is_kept_for_later(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert recall(state, "nodal") is None
    (nodal,) = examine_all([Host("nodal", "n")], connect)
    remember(state, nodal)
    known = recall(state, "nodal")
    assert known and known.facts and known.facts.hostname == (nodal.told or {})["host"]
    assert list(known.rows) == nodal.rows and known.asked == nodal.asked and known.silent_since is None
    remember(state, Examination("nodal", [], error=Unreachable("nodal does not answer", "")))
    silent = recall(state, "nodal")
    assert silent and silent.facts and silent.silent_since and silent.error == "nodal does not answer"
    assert silent.asked == nodal.asked
    assert (told_of(state, "nodal") or {})["home"] == str(home / ".orch")
    assert forget(state, "nodal") and not forget(state, "nodal")


def test_a_host_that_never_answered_is_not_known(tmp_path: Path) -> None:
    remember(tmp_path, Examination("dead", [], error=Unreachable("x", "")))
    assert recall(tmp_path, "dead") is None and told_of(tmp_path, "dead") is None


def test_a_damaged_file_is_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    for text in ("", "{", '{"asked": 1}', '{"asked": 1, "told": null, "rows": [{"x": 1}]}', "[]"):
        (tmp_path / "hosts/nodal.json").write_text(text)
        assert recall(tmp_path, "nodal") is None


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        remember(tmp_path / "file", Examination("x", []))


def test_our_four_names_are_ours() -> None:
    (row,) = owners.rows()
    assert row.state == OK and "trainer" in row.evidence
