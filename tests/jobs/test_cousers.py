"""Other users of a machine: names in /var/tmp that they have taken or made a link, and locks that they hold."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from local_host import until
from two_users import ANA, BEN, agent, as_user, job, needs_root, settle, submit, truth

from jobs import survivor, wire
from jobs.agent import Agent
from jobs.errors import ContractError
from jobs.folder import HostFolder
from jobs.homes import make_own
from jobs.local_root import own_root

pytestmark = needs_root


@pytest.fixture
def ground(open_ground: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sticky folder in place of /var/tmp, and a home of ben's."""
    monkeypatch.setenv("ORCH_LOCAL", str(open_ground))
    home = open_ground / "bens"
    home.mkdir(0o700)
    os.chown(home, BEN, BEN)
    return open_ground


def taken(ground: Path, how: str) -> None:
    """Ana takes ben's name, in one of several ways."""
    name = ground / f"orch-{BEN}"
    if how == "folder":
        name.mkdir()
        name.chmod(0o777)
    elif how == "file":
        name.write_text("x")
    elif how == "pipe":
        os.mkfifo(name)
    elif how == "link to a folder of his":
        name.symlink_to(ground / "bens")
    elif how == "link to nothing":
        name.symlink_to(ground / "bens" / "new")
    else:
        name.mkdir()
        (name / "survivor.json").symlink_to(ground / "bens" / ".bashrc")


HOW = ["folder", "file", "pipe", "link to a folder of his", "link to nothing", "link inside"]


@pytest.mark.parametrize("how", HOW)
def test_a_name_that_was_taken_is_passed_over(ground: Path, how: str) -> None:
    """Injected: 6 things of ana's in the place of ben's host-local folder. Used, followed or written to: none."""
    as_user(ANA, lambda: taken(ground, how))
    before = sorted(path.name for path in (ground / "bens").iterdir())
    hers = sorted(str(path) for path in (ground / f"orch-{BEN}").glob("*"))
    place = as_user(BEN, lambda: [HostFolder.of("").path, survivor.plant(), HostFolder.of("").path])
    assert place[0] == place[2] and place[0].startswith(f"{ground}/orch-{BEN}.")
    assert os.lstat(place[0]).st_uid == BEN and os.lstat(place[0]).st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (ground / "bens").iterdir()) == before
    assert sorted(str(path) for path in (ground / f"orch-{BEN}").glob("*")) == hers
    home = ground / "work" / "orch"
    assert as_user(BEN, lambda: submit(home, job("a", "true"))) == ["queued"]
    settle()
    assert as_user(BEN, lambda: truth(home)) == {"a": "done"}
    assert as_user(BEN, lambda: HostFolder.of("").path) == place[0], "the same from then on"
    assert sorted(str(path) for path in (ground / f"orch-{BEN}").glob("*")) == hers


def test_a_folder_of_ours_is_found_again_and_never_a_link(ground: Path) -> None:
    assert as_user(BEN, lambda: own_root(str(ground))) == f"{ground}/orch-{BEN}", "to be made"
    as_user(ANA, lambda: (ground / f"orch-{BEN}.0").mkdir())
    as_user(ANA, lambda: (ground / f"orch-{BEN}.1").symlink_to(ground / "bens"))
    assert as_user(BEN, lambda: own_root(str(ground))) == f"{ground}/orch-{BEN}"
    as_user(ANA, lambda: taken(ground, "folder"))
    found = as_user(BEN, lambda: own_root(str(ground)))
    assert found not in (f"{ground}/orch-{BEN}.0", f"{ground}/orch-{BEN}.1") and os.lstat(found).st_uid == BEN


def test_what_others_may_rename_is_refused(ground: Path) -> None:
    """A folder of ana's that is not sticky, above ben's."""
    place = ground / "anas"
    as_user(ANA, place.mkdir)
    place.chmod(0o777)

    def refused() -> str:
        try:
            make_own(str(place / "orch-x"))
        except ContractError as error:
            return f"{error.message}; {error.hint}"
        return ""

    assert "may be renamed" in as_user(BEN, refused)
    assert "export ORCH_LOCAL=" in as_user(BEN, refused)
    assert not list(place.iterdir())


def _loaded(kept: str) -> Any:
    """Let the loader look for its sources, as a host does, in a process of its own."""
    digest = kept.rpartition("-")[2]
    asked = f"marker {digest} 0\n".encode()
    reading, writing = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        source, theirs = os.pipe()
        os.write(theirs, asked)
        os.close(theirs)
        os.dup2(source, 0)
        import sys

        sys.stdin, sys.stdout = io.TextIOWrapper(open(0, "rb")), io.TextIOWrapper(open(1, "wb"))  # noqa: SIM115
        try:
            exec(wire.LOADER, {})
        finally:
            os._exit(0)
    os.close(writing)
    until(lambda: os.waitpid(child, os.WNOHANG)[0] == child, 10, "the loader has ended")
    said = os.read(reading, 100)
    os.close(reading)
    return [said.decode(), time.monotonic() - began]


@pytest.mark.parametrize("what", ["pipe", "endless file", "link", "folder"])
def test_the_loader_neither_waits_nor_reads_for_ever(ground: Path, what: str) -> None:
    """Injected: 4 things of ana's where ben's loader keeps its sources. It asks for them instead, at once."""
    kept = ground / f"orch-{BEN}" / ("agent-" + "0" * 64)

    def put() -> None:
        kept.parent.mkdir()
        kept.parent.chmod(0o777)
        if what == "pipe":
            os.mkfifo(kept, 0o666)
        elif what == "endless file":
            kept.touch()
            os.truncate(kept, 1 << 40)
        elif what == "link":
            kept.symlink_to("/dev/zero")
        else:
            kept.mkdir()

    as_user(ANA, put)
    said, seconds = as_user(BEN, lambda: _loaded(str(kept)))
    assert said == "marker\n?\n" and seconds < 5


def test_an_agent_of_ours_is_as_before_where_nobody_has_taken_anything(ground: Path) -> None:
    home = ground / "work" / "orch"
    path = as_user(BEN, lambda: agent(home).local.path)
    assert path.startswith(f"{ground}/orch-{BEN}/")
    assert isinstance(as_user(BEN, lambda: Agent(io.BytesIO()).open(str(home))["id"]), str)
