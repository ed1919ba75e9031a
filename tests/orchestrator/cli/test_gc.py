"""`orch gc`: a list first, then parked, then deleted; one exchange for each host."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from ground import Ground

from .conftest import Orch

LONG_AGO = time.time() - 30 * 86400


def age(path: Path) -> None:
    for one in [*path.rglob("*"), path]:
        os.utime(one, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def snapshot(home: Path, number: int) -> Path:
    """An old snapshot of 2 kB that nothing needs."""
    path = home / "code" / f"{number:016x}"
    path.mkdir(parents=True)
    (path / "main.py").write_bytes(bytes(2000))
    age(path)
    return path


@pytest.fixture
def hosts(orch: Orch, ground: Ground) -> list[Path]:
    """Two hosts with homes of their own, on which one job has run, with an old snapshot each; their homes."""
    ground.write("orch.yaml")
    lines = ["hosts:"]
    for name in ("grace", "ada"):
        (ground.base / name / "local").mkdir(parents=True)
        lines.append(f"  {name}: {{way: fake, address: {json.dumps(str(ground.base / name))}}}")
    ground.write("site.yaml", *lines)
    ground.sweep("s", "echo {n}", "{n: [1, 2]}")
    assert orch("sweep", "s", "--hosts", "grace,ada").code == 0
    homes = [ground.base / name / ".orch" for name in ("grace", "ada")]
    for number, home in enumerate(homes):
        snapshot(home, number)
    return homes


def test_the_list_changes_nothing_and_yes_parks(orch: Orch, ground: Ground, hosts: list[Path]) -> None:
    for words in ((), ("--dry-run", "--yes")):
        said = orch("gc", *words)
        assert said.code == 0, said.err
        assert "2 items, 4 kB may go; nothing was changed" in said.out
        assert "no sweep is pinned to it" in said.out and "30 d" in said.out and "code: 2 items" in said.err
    assert all((home / "code" / f"{n:016x}").is_dir() for n, home in enumerate(hosts))

    said = orch("gc", "--yes", "--json")
    assert said.code == 0 and said.json["parked"]["all"] == {"items": 2, "bytes": 4000, "files": 2}
    assert not any((home / "code" / f"{n:016x}").exists() for n, home in enumerate(hosts))
    assert "2 items, 4 kB" in orch("gc").err, "what is parked is told of"
    assert orch("gc").out.strip() == "nothing may go"
    assert orch("status").code == 0 and orch("sweep", "s", "--hosts", "grace,ada").code == 0


def test_what_was_parked_comes_back_or_goes_for_good(orch: Orch, ground: Ground, hosts: list[Path]) -> None:
    parked = orch("gc", "--yes", "--json").json["hosts"]
    name = parked["ada"]["parked"][0]["name"]
    listed = orch("gc", "--parked")
    assert name in listed.out and "2 items, 4 kB parked" in listed.out
    back = orch("gc", "--restore", name, "--host", "ada")
    assert back.code == 0 and (hosts[1] / "code" / f"{1:016x}" / "main.py").exists()
    assert orch("gc", "--restore", name, "--host", "ada").code == 3

    assert "nothing is parked for that long" in orch("gc", "--empty-parked", "--yes").out
    kept = orch("gc", "--empty-parked", "--older-than", "0s")
    assert "1 item, 2 kB parked" in kept.out and "--yes" in kept.err, "a list first"
    gone = orch("gc", "--empty-parked", "--older-than", "0s", "--yes", "--json")
    assert gone.json["deleted"]["all"]["bytes"] == 2000
    assert not list((hosts[0] / "parked").iterdir())


def test_one_host_that_is_damaged_stops_no_other(orch: Orch, ground: Ground, hosts: list[Path]) -> None:
    """Injected: a sweep's record of one host is damaged. Nothing goes there; the other host is cleared."""
    (hosts[0] / "sweeps" / "t.json").write_text("{")
    said = orch("gc", "--yes")
    assert said.code == 1 and "grace: " in said.err and "damaged" in said.err
    assert (hosts[0] / "code" / f"{0:016x}").exists() and not (hosts[1] / "code" / f"{1:016x}").exists()


def test_hosts_of_one_home_are_cleared_once(orch: Orch, ground: Ground, hosts: list[Path]) -> None:
    shared = json.dumps(str(hosts[0]))
    site = (ground.project / "site.yaml").read_text()
    ground.write("site.yaml", site.replace("way: fake", f"home: {shared}, way: fake").rstrip())
    said = orch("gc", "--json")
    assert said.json["would_park"]["all"]["items"] == 1


def test_a_silent_host_is_told_of(orch: Orch, ground: Ground, hosts: list[Path]) -> None:
    (ground.base / "grace" / "fault.json").write_text(json.dumps({"error": "unreachable"}))
    said = orch("gc", "--yes")
    assert "grace does not answer" in said.err and not (hosts[1] / "code" / f"{1:016x}").exists()


def test_what_cannot_be_understood(orch: Orch, ground: Ground) -> None:
    assert orch("gc", "--older-than", "soon").code == 2
    assert orch("gc", "--checkpoints", "all").code == 2
    assert orch("gc", "--host", "grcae").code == 3
    assert orch("gc", "--restore", "x", "--parked").code == 2
