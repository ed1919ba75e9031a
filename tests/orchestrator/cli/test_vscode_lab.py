"""VS Code on the lab's shared home: the permanent cure on three hosts at once, both processors in use, the way back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import USER, Lab
from standins.vscode_home import install, kept, machines, personal

from jobs.folder import Home

from .conftest import Orch

pytestmark = pytest.mark.usefixtures("needs_arm")
ARCHS = {"nodal": "x86_64", "grace": "aarch64", "ada": "aarch64"}
SITE = "hosts:\n" + "".join(f"  {name}: {{ssh: {name}, shared_home: lab}}\n" for name in ARCHS)
ONLY = ("setup", "--all", "--yes", "--only", "vscode-local")
LINK = f"/var/tmp/{USER}/vscode-server"


@pytest.fixture
def folder(lab: Lab, orch_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The server folder in the shared home: settings, history, and what x86_64 left; the test stands in a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orch.yaml").write_text("{}\n")
    (tmp_path / "site.yaml").write_text(SITE)
    path = lab.user_home / ".vscode-server"
    personal(path)
    install(path, "x86_64")
    own(lab, path)
    yield path
    for left in [*lab.user_home.glob(".vscode-server*"), *(disk(lab, name) for name in ARCHS)]:
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def own(lab: Lab, path: Path) -> None:
    owner = lab.user_home.stat()
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(path)], check=True)


def disk(lab: Lab, name: str) -> Path:
    """Where the link leads to on a host, as seen from here."""
    return lab[name].folder / "vartmp" / USER


def files(path: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in path.rglob("*") if one.is_file()}


def told(text: str) -> list[str]:
    return [line.split(" (")[0] for line in text.splitlines()]


@pytest.mark.slow
def test_each_host_has_a_server_of_its_own_and_nothing_is_lost(orch: Orch, lab: Lab, folder: Path) -> None:
    before = kept(lab.user_home)
    settings = (folder / "data/Machine/settings.json").read_bytes()
    said = orch(*ONLY)
    assert said.code == 0, said.err
    assert told(said.out) == [f"{name} is ready" for name in ARCHS]
    assert folder.is_symlink() and str(folder.readlink()) == LINK
    assert kept(lab.user_home) == before, "all of it stands beside the link"
    for name, arch in ARCHS.items():
        place = disk(lab, name) / "vscode-server"
        assert (place / "data/Machine/settings.json").read_bytes() == settings
        assert lab[name].run("cat", f"/home/{USER}/.vscode-server/data/Machine/settings.json", user=USER).stdout
        install(place, arch)  # as VS Code does at its next contact: both processors at once
        own(lab, place)
    assert [machines(disk(lab, name)) for name in ARCHS] == [{arch} for arch in ARCHS.values()]

    again = orch(*ONLY)
    assert told(again.out) == [f"{name}: nothing to do" for name in ARCHS], again.err
    rows = [line.split("\t") for line in orch("doctor", "--all").out.splitlines()]
    assert [row[1] for row in rows if row[2] == "vs code"] == ["ok"] * 3

    own_disks = [files(disk(lab, name)) for name in ARCHS]
    back = orch(*ONLY, "--undo")
    assert back.code == 0, back.err
    assert back.out.splitlines()[1:] == ["grace: nothing to undo", "ada: nothing to undo"]  # one home, put back once
    assert not folder.is_symlink() and kept(lab.user_home) == before and machines(folder) == {"x86_64"}
    assert [files(disk(lab, name)) for name in ARCHS] == own_disks and all(own_disks)


def test_a_reset_is_planned_for_both_processors_only_by_its_name(orch: Orch, folder: Path) -> None:
    """Without the name it is left out (`test_setup_lab`): it would be due for one of them after each run."""
    said = orch("setup", "--host", "nodal", "--host", "grace", "--dry-run", "--only", "vscode")
    assert said.code == 0, said.err
    assert "park" in said.err and "for x86_64" in said.err and said.out.startswith("nodal: nothing to do")
