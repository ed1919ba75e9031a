"""What is verified before a job starts: code by its hash, once for as long as its files stay as they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jobs import integrity
from jobs.atomic import digest, file_sha256, write_json
from jobs.errors import ContractError
from jobs.folder import Home, HostFolder

FILES = 60


@pytest.fixture
def local(tmp_path: Path) -> HostFolder:
    return HostFolder(str(tmp_path / "local"))


@pytest.fixture
def code(orch_home: Home) -> Path:
    """A snapshot of an hour ago, with a start, as a laptop sends it."""
    folder = Path(orch_home.code, "new")
    for number in range(FILES):
        path = folder / f"pkg{number % 7}" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {number}\n" * 200)
        os.utime(path, (1e9, 1e9))
    files = {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*.py"))}
    (folder / "__main__.py").write_text("main()\n")
    os.utime(folder / "__main__.py", (1e9, 1e9))
    name = digest({"files": files, "main": "main()\n"})
    write_json(f"{orch_home.code}/{name}.json", {"contract": 1, "hash": name, "files": files})
    return folder.rename(Path(orch_home.code, name))


def look(home: Home, local: HostFolder, code: Path) -> str:
    job = {"argv": ["python", str(code)], "cwd": "/"}
    return str(integrity.verified(job, home, local)["argv"][1])


def settle() -> None:
    """Let the times of what was just written be old enough to be believed."""
    time.sleep(integrity._SETTLED + 0.1)


def edit(code: Path) -> str:
    """As many bytes as before, and the old date."""
    path = code / "pkg3" / "m3.py"
    path.write_text(path.read_text().replace("3", "4"))
    os.utime(path, (1e9, 1e9))
    return "pkg3/m3.py"


def replace(code: Path) -> str:
    other = code.parent / "other"
    other.write_text("evil")
    other.rename(code / "pkg0" / "m0.py")
    return "pkg0/m0.py"


def delete(code: Path) -> str:
    (code / "pkg1" / "m1.py").unlink()
    return "pkg1/m1.py"


def link(code: Path) -> str:
    (code / "pkg1" / "m1.py").rename(code.parent / "m1.py")
    (code / "pkg1" / "m1.py").symlink_to(code.parent / "m1.py")
    return "pkg1/m1.py"


def pipe(code: Path) -> str:
    delete(code)
    os.mkfifo(code / "pkg1" / "m1.py")
    return "pkg1/m1.py"


def start(code: Path) -> str:
    (code / "__main__.py").write_text("evil()\n")
    return "__main__.py"


def its_list(code: Path) -> str:
    """A list that fits what is there, but not the name."""
    evil = edit(code)
    files = {str(path.relative_to(code)): file_sha256(path) for path in sorted(code.glob("pkg*/*.py"))}
    assert files[evil]
    told = digest({"files": files, "main": "main()\n"})
    write_json(f"{code}.json", {"contract": 1, "hash": told, "files": files})
    return "__main__.py"


def no_list(code: Path) -> str:
    Path(f"{code}.json").write_text('{"files": 3}')
    return "its list of files"


@pytest.mark.parametrize(
    "change", [edit, replace, delete, link, pipe, start, its_list, no_list], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("known", [False, True], ids=["first look", "after a look"])
def test_code_that_was_changed_is_not_run(
    orch_home: Home, local: HostFolder, code: Path, change: object, known: bool
) -> None:
    """Injected: 8 changes, before the first look and after one that was kept. Run: none; each put aside and named."""
    if known:
        settle()
        assert look(orch_home, local, code) == str(code)
        assert Path(local.seen(code.name)).exists()
    what = change(code)  # type: ignore[operator]
    if known and change in (its_list, no_list):
        Path(local.seen(code.name)).unlink()  # the list is read where the files must be
    with pytest.raises(ContractError, match="is not what its hash says") as refused:
        look(orch_home, local, code)
    assert f"{what} was changed; it is not run, and was put aside as" in refused.value.message
    assert not code.exists() and len(list(code.parent.glob(f".altered-{code.name}-*"))) == 1
    with pytest.raises(ContractError, match="is not in"):
        look(orch_home, local, code)


def test_a_look_at_known_code_reads_none_of_it_again(orch_home: Home, local: HostFolder, code: Path) -> None:
    settle()
    look(orch_home, local, code)
    costs = []
    for _ in range(20):
        began = time.perf_counter()
        look(orch_home, local, code)
        costs.append(time.perf_counter() - began)
    assert sorted(costs)[10] < 0.01, "all of it hashed takes longer by far, on a machine that is busy too"


def test_code_that_has_just_come_is_not_believed_by_its_times(orch_home: Home, local: HostFolder, code: Path) -> None:
    """Two changes within one tick of the file system's clock look alike."""
    look(orch_home, local, code)
    assert not Path(local.seen(code.name)).exists()


def test_what_a_program_wrote_beside_its_code_changes_nothing(orch_home: Home, local: HostFolder, code: Path) -> None:
    (code / "out.txt").write_text("x")
    (code / "pkg0" / "__pycache__").mkdir()
    assert look(orch_home, local, code) == str(code)


def test_in_the_groups_home_each_user_runs_a_copy(orch_home: Home, local: HostFolder, code: Path) -> None:
    Path(orch_home.path).chmod(0o2770)
    (code / "pkg0" / "json.py").write_text("evil")
    copy = look(orch_home, local, code)
    assert copy == local.code(code.name)
    assert sorted(path.name for path in Path(copy).rglob("*.py")) == sorted(
        ["__main__.py", *(f"m{number}.py" for number in range(FILES))]
    )
    (Path(copy) / "pkg0" / "m0.py").write_text("a slip")
    assert look(orch_home, local, code) == copy
    assert (Path(copy) / "pkg0" / "m0.py").read_text() == "x = 0\n" * 200, "made anew"
    os.utime(Path(copy), (1e9, 1e9))
    other = Path(copy).with_name("f" * 16)
    Path(copy).rename(other)
    os.utime(other, (1e9, 1e9))
    look(orch_home, local, code)
    assert not other.exists(), "what no job has used for a month is deleted"
