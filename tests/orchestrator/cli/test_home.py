"""`orch home`, and every command at a path whose orch home is away: nothing runs again, nothing is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ground import Ground

from .conftest import Orch

SWEEP = "sweep: s\ncommand: [sh, -c, \"echo ran {x} >> '%s'\"]\ngrid: {x: [1, 2, 3]}\n"


@pytest.fixture
def ran(ground: Ground, orch: Orch) -> Path:
    """A sweep of three jobs that has ended; the file that they wrote."""
    path = ground.project / "ran"
    ground.write("sweeps/s.yaml", SWEEP % path)
    assert orch("sweep", "s").code == 0
    assert len(path.read_text().splitlines()) == 3
    return path


def away(ground: Ground) -> tuple[Path, Path]:
    """Take the home's contents away, as an unmounted disk does: the empty folder stays."""
    home = Path(ground.variables["ORCH_HOME"])
    kept = home.with_name("kept")
    home.rename(kept)
    home.mkdir()
    return home, kept


@pytest.mark.parametrize("forgets", ["nobody", "laptop", "host"])
def test_a_sweep_on_a_home_that_is_away_runs_nothing(ground: Ground, orch: Orch, ran: Path, forgets: str) -> None:
    """Injected: the home's contents away; besides, the memory of the laptop or of the host deleted.

    Run again: nothing. Made in the empty folder: nothing. After it is back, all counts as done.
    """
    home, kept = away(ground)
    if forgets == "laptop":
        (Path(ground.variables["ORCH_STATE"]) / "homes.json").unlink()
    if forgets == "host":
        shutil.rmtree(ground.variables["ORCH_LOCAL"])
    for words in (["status"], ["sweep", "s", "--dry-run"], ["sweep", "s"], ["index", "rebuild"], ["report", "s"]):
        said = orch(*words)
        assert said.code == 3, (words, said)
        assert "its disk is not mounted" in said.err and "orch home new" in said.err
    assert list(home.iterdir()) == []
    home.rmdir()
    kept.rename(home)
    assert orch("sweep", "s").code == 0
    assert len(ran.read_text().splitlines()) == 3


def test_a_new_home_is_begun_only_when_a_person_says_so(ground: Ground, orch: Orch, ran: Path) -> None:
    home, kept = away(ground)
    said = orch("home", "new", "--json")
    assert said.code == 0
    assert json.loads(said.out)["action"] == "made"
    assert orch("sweep", "s").code == 0
    assert len(ran.read_text().splitlines()) == 6
    assert (kept / "home.json").read_text() != (home / "home.json").read_text()
    again = orch("home", "new")
    assert again.code == 2 and "already" in again.err


def test_another_home_at_the_path_is_refused_until_it_is_adopted(ground: Ground, orch: Orch, ran: Path) -> None:
    """Injected: another home in the place of the known one. Each command says so; `orch home adopt` takes it."""
    home, kept = away(ground)
    assert orch("home", "new").code == 0
    other = home.with_name("other")
    home.rename(other)
    kept.rename(home)
    said = orch("sweep", "s")
    assert said.code == 1 and "another orch home stands at" in said.err and "orch home adopt" in said.err
    assert len(ran.read_text().splitlines()) == 3
    assert orch("home", "adopt").code == 0
    assert orch("sweep", "s").code == 0
    assert len(ran.read_text().splitlines()) == 3, "that home has them done"


def test_a_first_home_needs_no_word(ground: Ground, orch: Orch) -> None:
    ground.write("sweeps/s.yaml", SWEEP % (ground.project / "ran"))
    assert orch("sweep", "s").code == 0
