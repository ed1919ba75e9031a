"""Two people and one orch home of their group: whose sweep is whose, in a shared folder and in folders of their own."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ground import Ground, Said, until

import jobs
from jobs import host as this_host
from orchestrator.cli import main

ANA = 40000 + 2 * (os.getpid() % 10000)  # nobody else's on this machine, nor those of another worker of pytest
BEN, GROUP = ANA + 1, 6000
Asked = Callable[..., Said]

PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or ""  # one that every user can start

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.getuid() != 0 or not PYTHON, reason="two users need root, and a Python of the system"
)


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The other users cannot read every Python's library: what they need of it is loaded before, by use and by name."""
    for found in pkgutil.iter_modules(jobs.__path__, "jobs."):
        with contextlib.suppress(ImportError):
            importlib.import_module(found.name)
    bytes(4).decode("utf-32-be")  # as json takes an empty exit record
    ground = Ground(tmp_path_factory.mktemp("first") / "ground")
    ground.sweep("small", "true", "{n: [1]}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ground.variables.items():
            patch.setenv(name, value)
        patch.chdir(ground.project)
        ground.write("orch.yaml", "project: first-0000")
        for words in ("sweep small", "status", "why n=1", "logs n=1", "run -- true", "sweep none"):
            main(words.split())
    ground.settle()
    ground.close()


@pytest.fixture
def lab(open_ground: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The group's storage with an orch home; nothing of the two lives afterwards."""
    monkeypatch.setenv("ORCH_LOCAL", str(open_ground))
    monkeypatch.setenv("ORCH_HOME", str(open_ground / "orch"))
    (open_ground / "orch").mkdir()
    os.chown(open_ground / "orch", ANA, GROUP)
    (open_ground / "orch").chmod(0o2770)
    yield open_ground
    for pid in _processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    until(lambda: not _processes(), what="nobody of them lives")


def _processes() -> list[int]:
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in found if this_host.owner(pid) in (ANA, BEN)]


def orch(user: int, folder: Path, *words: str) -> Said:
    """Run a command as another user, a member of the group, who stands in a folder."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said: list[Any] = [99, "", "it did not come so far"]
        try:
            os.umask(0o022)
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            os.environ["HOME"] = os.environ["ORCH_STATE"] = str(Path(os.environ["ORCH_LOCAL"], f"state of {user}"))
            os.chdir(folder)
            sys.executable = PYTHON
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(list(words))
            said = [code, out.getvalue(), err.getvalue()]
        finally:
            os.write(writing, json.dumps(said).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as handle:
        found = json.loads(handle.read())
    os.waitpid(child, 0)
    return Said(*found)


def project(folder: Path, user: int, values: str = "[1, 2]") -> Path:
    """A project of a user, in a folder that the group may write to: a sweep `small`, and who ran it in `ran`."""
    (folder / "sweeps").mkdir(parents=True, exist_ok=True)
    script = 'command: [sh, -c, "id -u >> ran; : {n}"]'
    (folder / "sweeps/small.yaml").write_text(f"sweep: small\n{script}\ngrid: {{n: {values}}}\n")
    (folder / "orch.yaml").write_text("project: liver-3f9c\n")
    (folder / "ran").touch()
    for path in (folder, folder / "ran", *folder.rglob("*")):
        os.chown(path, user, GROUP)
        path.chmod(0o2777 if path.is_dir() else 0o666)
    return folder


def records(lab: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (lab / "orch/sweeps").glob("*.json")}


def test_clones_of_one_project_are_a_sweep_for_each_person(lab: Path) -> None:
    """Ana's record keeps its bytes, whatever Ben does; each sees and reaches the other's by name."""
    hers, his = project(lab / "hers/liver", ANA), project(lab / "his/liver", BEN)
    first: list[bytes] = []
    for who, folder in ((ANA, hers), (BEN, his)):
        said = orch(who, folder, "sweep", "small")
        assert said.code == 0, said
        assert (folder / "ran").read_text().split() == [str(who)] * 2
        first.append(records(lab)["small"])
    assert len(records(lab)) == 2 and records(lab)["small"] == first[0]
    (lab / "his/liver/sweeps/small.yaml").write_text("sweep: small\ncommand: ['true', '{n}']\ngrid: {n: [7]}\n")
    assert "changed since the last time: " in orch(BEN, his, "sweep", "small").err
    assert orch(BEN, his, "run", "--name", "small", "--", "true").code == 0
    assert records(lab)["small"] == first[0]
    assert orch(BEN, his, "status", "small").out.startswith("small  1 jobs: 1 done")
    seen = orch(BEN, his, "status", f"{ANA}:small")
    assert seen.out.startswith(f"{ANA}:small ({ANA}'s)  2 jobs: 2 done")
    assert orch(ANA, hers, "status").out.startswith("small  2 jobs: 2 done")
    several = orch(ANA, hers, "logs", "n=1", "--sweep", f"{BEN}:small@1").err  # his single commands have that name too
    assert f"write one of: {BEN}:liver/small, small+user" in several
    for name in (f"{BEN}:liver/small@1", "small+liver-3f9c@1"):
        assert orch(ANA, hers, "logs", "n=1", "--sweep", name).code == 0


def test_in_one_folder_a_colleague_joins_until_the_cells_differ(lab: Path) -> None:
    """The same cells: nothing runs twice and the record stays as it is. Other cells: a sweep of his own."""
    shared = project(lab / "together/liver", ANA)
    assert orch(ANA, shared, "sweep", "small").code == 0
    before = records(lab)
    said = orch(BEN, shared, "sweep", "small")
    assert said.code == 0 and f"it is the sweep of {ANA}" in said.err
    assert records(lab) == before and (shared / "ran").read_text().split() == [str(ANA)] * 2
    assert orch(BEN, shared, "status").out.startswith(f"small ({ANA}'s)  2 jobs: 2 done")
    project(shared, ANA, "[2, 3]")
    assert orch(BEN, shared, "sweep", "small").code == 0
    assert records(lab)["small"] == before["small"] and len(records(lab)) == 2
    assert sorted((shared / "ran").read_text().split()) == [str(ANA)] * 2 + [str(BEN)] * 2
    assert orch(BEN, shared, "status", "small").out.startswith("small  2 jobs: 2 done")
    assert "n=1 " in orch(ANA, shared, "why", "n=1").out
