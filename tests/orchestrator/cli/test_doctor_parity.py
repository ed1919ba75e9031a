"""`orch doctor --parity` over hosts that folders play: agreement, other arithmetic, other numbers, no torch."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from jobs import envs
from jobs.atomic import write_json
from jobs.envs import EnvFolder
from jobs.folder import Home

from .conftest import Orch

pytestmark = pytest.mark.slow


class Stage:
    """A site of folders; each has an environment whose Python is this one, behind a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []

    def host(self, name: str, script: str) -> None:
        """Add a host whose environment runs `script`, a shell text; $PYTHON is the real interpreter."""
        home = self.folder / name
        place = EnvFolder(str(home / ".orch"), envs.architecture(), "0123456789ab")
        python = Path(place.python)
        python.parent.mkdir(parents=True)
        (home / "local").mkdir()
        python.write_text(f"#!/bin/sh\nPYTHON='{sys.executable}'\n{script}\n")
        python.chmod(0o755)
        about = {"torch": "2.6.0", "python": "3.12", "packages": {}, "fingerprint": "0" * 16, "lock": {}}
        write_json(place.record, {**about, "created": time.time(), "contents": envs.contents(place.prefix)})
        self.add(name)

    def add(self, name: str) -> None:
        """Add a host to the site file."""
        self.lines.append(f"  {name}: {{way: fake, address: {json.dumps(str(self.folder / name))}}}\n")
        path = self.folder / "config/orch/site.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("hosts:\n" + "".join(self.lines))


@pytest.fixture
def stage(orch_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """No project and no host yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return Stage(tmp_path)


def plain(threads: int = 1) -> str:
    return f'OMP_NUM_THREADS={threads} exec "$PYTHON" "$@"'


def edited(file: str, before: str, after: str) -> str:
    """A Python that finds one file of the trainer changed: a host that computes otherwise."""
    return f"""sed -i 's/{before}/{after}/' "$3/trainer/{file}" || exit 9
{plain()}"""


def rows(text: str) -> dict[str, dict[str, dict[str, str]]]:
    return {told["host"]: {row["check"]: row for row in told["rows"]} for told in json.loads(text)}


def test_hosts_that_agree(orch: Orch, stage: Stage) -> None:
    stage.host("one", plain(1))
    stage.host("two", plain(2))
    said = orch("doctor", "--parity", "--json")
    assert said.code == 0, said.out + said.err
    found = rows(said.out)
    assert found["one"]["agreement"]["evidence"] == "the others are compared with this host"
    assert "differs from one by" in found["two"]["agreement fp32"]["evidence"]
    assert {row["state"] for row in found["two"].values()} == {"ok"}
    assert list(stage.folder.glob("*/local/*")) == [], "no code stays behind"


def test_each_kind_of_trouble_is_named_and_stops_nobody(orch: Orch, stage: Stage) -> None:
    stage.host("first", plain())
    stage.host("bent", edited("losses.py", "(1 - dice.mean())", "(1.001 - dice.mean())"))
    stage.host("other", edited("parity.py", "^SEED = 3", "SEED = 4"))
    stage.host("torchless", edited("commands.py", 'find_spec("torch")', 'find_spec("no_torch_here")'))
    stage.add("gone")
    (stage.folder / "bare/.orch").mkdir(parents=True)
    stage.add("bare")
    said = orch("doctor", "--parity")
    assert said.code == 6, said.out + said.err
    found = {tuple(line.split("\t")[:3]): line for line in said.out.splitlines()}
    assert found["bent", "found", "agreement fp32"].count("device and versions are the same") == 1
    assert "orch setup --host bent --only verification" in found["bent", "found", "agreement fp32"]
    assert "it started from another batch than first" in found["other", "found", "agreement fp32"]
    assert "has no torch" in found["torchless", "found", "parity"]
    assert ("gone", "found", "reachable") in found
    assert "orch setup --host bare" in found["bare", "found", "parity"]
    assert "5 findings on 6 hosts" in said.err


def test_one_host_alone_is_said(orch: Orch, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = orch("doctor", "--parity", "--report")
    assert said.code == 0 and "no other host to compare with" in said.out and "## local" in said.out
    refused = orch("doctor", "--parity", "--fix")
    assert refused.code == 2 and "--parity compares" in refused.err


def test_a_dead_host_alone_gives_its_own_code(orch: Orch, stage: Stage) -> None:
    stage.add("gone")
    assert os.path.lexists(stage.folder / "gone") is False
    assert orch("doctor", "--parity", "--host", "gone").code == 3
