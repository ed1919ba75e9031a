"""The link to a disk of the host's own: nothing is lost, nothing is done twice, everything can be put back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from standins.vscode_home import install, kept, personal

from jobs import vscode_local
from jobs.errors import OrchError
from jobs.vscode_local import look, make, place_of, record_of, undo


@pytest.fixture
def folder(hostile_path: Path) -> str:
    """A server folder that was used."""
    path = hostile_path / ".vscode-server"
    personal(path)
    install(path, "x86_64", extensions=("b.b", "A.a"))
    return str(path)


@pytest.fixture
def base(tmp_path: Path) -> str:
    """The disk of this host."""
    (tmp_path / "disk").mkdir()
    return str(tmp_path / "disk")


def test_the_words_are_the_same_on_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    assert place_of("/h/.vscode-server", None) == "/var/tmp/alice/vscode-server"
    assert place_of("/h/.vscode-server-insiders", "/scratch/") == "/scratch/alice/vscode-server-insiders"
    assert place_of("/h/.vscode-server", "/scratch/alice/x") == "/scratch/alice/x/vscode-server"


def test_made_again_undone(folder: str, base: str) -> None:
    before = kept(Path(folder).parent)
    done = make(folder, base)
    place = Path(done["place"])
    assert (str(Path(folder).readlink()), done["parked"]) == (str(place), folder + ".shared")
    assert done["extensions"] == ["A.a", "b.b"]
    assert (place.stat().st_mode & 0o777, place.is_relative_to(base)) == (0o700, True)
    settings = "data/Machine/settings.json"
    assert Path(folder, settings).read_bytes() == Path(done["parked"], settings).read_bytes()
    assert not Path(folder, "bin").exists()
    assert look(folder, base)["ready"] and not make(folder, base)["changed"]
    assert undo(folder) == {"folder": folder, "restored": done["parked"], "left": str(place)}
    assert kept(Path(folder).parent) == before and not Path(record_of(folder)).exists()
    assert place.is_dir(), "what VS Code wrote there is not ours to delete"


def test_the_second_host_gets_its_folder_with_the_settings(folder: str, base: str) -> None:
    place = make(folder, base)["place"]
    shutil.rmtree(place)  # another host: the link leads to nothing there
    assert not look(folder, base)["ready"]
    assert make(folder, "/elsewhere")["place"] == place, "the link has the last word"
    assert Path(folder, "data/User/globalStorage/state.vscdb").is_file()


def test_a_home_without_vscode_gets_the_link_too(tmp_path: Path, base: str) -> None:
    folder = str(tmp_path / ".vscode-server")
    assert make(folder, base)["parked"] is None and Path(folder).is_symlink()
    assert undo(folder)["restored"] is None and not os.path.lexists(folder)


def test_cut_between_the_two_renames_it_goes_on(folder: str, base: str) -> None:
    parked = make(folder, base)["parked"]
    Path(folder).unlink()  # as if the cut came before the link
    assert make(folder, base)["parked"] == parked
    assert undo(folder)["restored"] == parked and Path(folder, "bin").is_dir()


def test_refused_while_a_server_is_alive(folder: str, base: str) -> None:
    program = Path(folder, "bin/x/node")
    program.parent.mkdir(parents=True)
    shutil.copy2(shutil.which("sleep") or "", program)
    process = subprocess.Popen([str(program), "60"])
    try:
        assert "is alive on" in look(folder, base)["refusal"]
        with pytest.raises(OrchError, match="is alive on"):
            make(folder, base)
        assert not Path(folder).is_symlink()
    finally:
        process.kill()
        process.wait()


def test_refused_where_somebody_else_was_first(folder: str, base: str, tmp_path: Path) -> None:
    user = Path(place_of(folder, base)).parent
    (tmp_path / "trap").mkdir()
    user.symlink_to(tmp_path / "trap")
    assert "is a link" in look(folder, base)["refusal"]
    if os.getuid() == 0:
        user.unlink()
        user.mkdir()
        os.chown(user, 12345, 12345)
        assert "belongs to somebody else" in look(folder, base)["refusal"]


def test_refused_where_programs_cannot_run(folder: str, tmp_path: Path) -> None:
    disk = tmp_path / "noexec"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", str(disk)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here: run as root, with CAP_SYS_ADMIN")
    try:
        assert "noexec" in look(folder, str(disk))["refusal"]
        with pytest.raises(OrchError, match="noexec"):
            make(folder, str(disk))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_undo_writes_over_nothing(folder: str, base: str) -> None:
    parked = make(folder, base)["parked"]
    Path(folder).unlink()
    Path(folder).mkdir()
    with pytest.raises(OrchError, match="no longer the link"):
        undo(folder)
    assert Path(parked).is_dir()


def test_the_usual_folder_is_always_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vscode_local._folders() == [str(tmp_path / ".vscode-server")]
