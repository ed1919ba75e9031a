"""What travels of a folder and what is told instead: any mix of odd things, and a git that refuses."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.errors import DataError, UsageError
from orchestrator import filelist, snapshot
from orchestrator import git as git_program

SECRET = "patient names"


def git(folder: Path, *words: str) -> None:
    settings = ("user.name=a", "user.email=a@b", "init.defaultBranch=main", "protocol.file.allow=always")
    subprocess.run(
        ["git", *(one for word in settings for one in ("-c", word)), *words],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of waiting for ever (for the other end of a pipe)."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it took over {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def write(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def repository(hostile_path: Path) -> Path:
    git(hostile_path, "init")
    write(hostile_path / ".gitignore", "secret.env\ndata/\n")
    write(hostile_path / "secret.env", SECRET)
    write(hostile_path / "data/patients.bin", SECRET)
    write(hostile_path / "train.py")
    git(hostile_path, "add", ".")
    git(hostile_path, "commit", "-m", "first")
    return hostile_path


# --- Any mix of things ------------------------------------------------------------------------------------------------


class Ground:
    """A folder that grows by odd things, and what must become of each: `sent` with a text, or `told`."""

    def __init__(self, base: Path, dice: random.Random, under_git: bool) -> None:
        self.base, self.dice, self.under_git = base, dice, under_git
        self.sent: dict[str, str] = {}
        self.told: dict[str, str] = {}
        self.number = 0

    def name(self) -> str:
        """A free name, perhaps in a folder."""
        self.number += 1
        folder = self.dice.choice(["", "pkg/", "pkg/deep er/", "é/"])
        (self.base / folder).mkdir(parents=True, exist_ok=True)
        return f"{folder}{self.dice.choice(['a', 'b c', 'new' + chr(10) + 'line', '-n', '*'])}{self.number}"

    def file(self) -> str:
        name = self.name()
        self.sent[name] = write(self.base / name, f"{name} {self.number}").read_text()
        return name

    def image(self) -> None:
        name = self.name() + self.dice.choice([".png", ".NII.gz", ".dcm"])
        write(self.base / name, SECRET)
        self.told[name] = "image or medical file"

    def pipe(self) -> None:
        name = self.name()
        os.mkfifo(self.base / name)
        self.told[name] = "pipe, socket or device"

    def socket(self) -> None:
        name, here = self.name(), Path.cwd()
        os.chdir((self.base / name).parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(Path(name).name)
        finally:
            os.chdir(here)
        self.told[name] = "pipe, socket or device"

    def device(self) -> None:
        if os.getuid() == 0:
            name = self.name()
            os.mknod(self.base / name, 0o020600, os.makedev(1, 3))
            self.told[name] = "pipe, socket or device"

    def link(self, target: str, why: str) -> str:
        name = self.name()
        (self.base / name).symlink_to(target)
        if why:
            self.told[name] = why
        return name

    def link_to_nothing(self) -> None:
        self.link("ana@laptop.4242:1700000000", "link to nothing")

    def link_to_itself(self) -> None:
        name = self.name()
        (self.base / name).symlink_to(Path(name).name)
        self.told[name] = "link to nothing"

    def link_outside(self) -> None:
        self.link(self.dice.choice(["/etc/passwd", "/etc", "/dev/zero", "/proc/self/fd"]), "link that leads outside")

    def link_to_file(self) -> None:
        target = self.file()
        self.sent[self.link(str(self.base / target), "")] = self.sent[target]

    def link_around(self) -> None:
        self.link(str(self.base), "link to a folder around it")

    def link_to_pipe(self) -> None:
        name = self.name()
        os.mkfifo(self.base / name)
        self.told[name] = "pipe, socket or device"
        self.link(str(self.base / name), "link to what does not travel")

    def odd_name(self) -> None:
        name = os.fsdecode(os.fsencode(self.name()) + b"\xe9.py")
        write(self.base / name)
        self.told[name] = "name that is not UTF-8"

    def ignored(self) -> None:
        name = self.name() + ".secret"
        write(self.base / name, SECRET)
        if self.under_git:
            self.told[name] = filelist.IGNORED
            self.link(str(self.base / name), "link to what does not travel")
        else:
            self.sent[name] = SECRET

    def ignored_folder(self) -> None:
        folder = f"{self.name()}.private"
        write(self.base / folder / "x.py", SECRET)
        if self.under_git:
            self.told[folder] = filelist.IGNORED
        else:
            self.sent[f"{folder}/x.py"] = SECRET

    def inner_repository(self) -> None:
        folder = self.name()
        write(self.base / folder / "mod.py", folder)
        write(self.base / folder / ".gitignore", "mine\n")
        write(self.base / folder / "mine", SECRET)
        git(self.base / folder, "init")
        self.sent[f"{folder}/mod.py"], self.sent[f"{folder}/.gitignore"] = folder, "mine\n"
        self.told[f"{folder}/mine"] = filelist.IGNORED

    def linked_folder(self) -> None:
        folder = f"lib{self.number}"
        self.sent[f"{folder}/m.py"] = write(self.base / folder / "m.py", folder).read_text()
        self.sent[self.link(str(self.base / folder), "") + "/m.py"] = folder


KINDS: list[Callable[[Ground], object]] = [
    *(Ground.file, Ground.image, Ground.pipe, Ground.socket, Ground.device, Ground.link_to_nothing),
    *(Ground.link_to_itself, Ground.link_outside, Ground.link_to_file, Ground.link_around, Ground.link_to_pipe),
    *(Ground.odd_name, Ground.ignored, Ground.ignored_folder, Ground.inner_repository, Ground.linked_folder),
]


def named(name: str, told: dict[str, str]) -> str:
    """Why something is left out; where a folder around it is ignored, that is why."""
    around = [str(one) for one in Path(name).parents if str(one) in told]
    return told.get(name) or ("" if not around else told[around[0]])


@pytest.mark.parametrize("under_git", [False, True], ids=["plain folder", "under git"])
@pytest.mark.parametrize("seed", range(8))
def test_any_mix_of_things_is_sent_or_told_and_never_hangs(tmp_path: Path, seed: int, under_git: bool) -> None:
    """Injected: 16 folders with up to 30 odd things each. Neither sent nor told: none. Ignored and sent: none."""
    base = tmp_path / "it's \n 50%"
    base.mkdir()
    ground = Ground(base, random.Random(seed), under_git)
    if under_git:
        git(base, "init")
        ground.sent[".gitignore"] = write(base / ".gitignore", "*.secret\n*.private/\n").read_text()
    for kind in [*KINDS, *ground.dice.choices(KINDS, k=14)]:
        kind(ground)
    with within(20):
        code = snapshot.project_code(base)
        sent = {name: path.read_text() for name, path in code.files.items()}
    assert sent == ground.sent
    told = {item.name: item.why for item in code.left_out}
    assert {name for name, why in ground.told.items() if named(name, told) != why} == set()
    whole = {
        name for name, why in told.items() if why == filelist.IGNORED
    }  # git names a folder when it ignores all of it
    assert set(told) - set(ground.told) <= whole
    assert all(line.isprintable() for line in filelist.describe(code.left_out))
    with within(20):  # the same by name: an image among them is refused there, as ever
        listed = filelist.of_entries(base, ["pkg"])
    below = {name for name in ground.sent if name.startswith("pkg/")}
    assert below <= set(listed.files)
    told = {**told, **{item.name: item.why for item in listed.left_out}}
    assert {
        one for one in ground.told if one.startswith("pkg/") and one not in listed.files and not named(one, told)
    } == set()


# --- Git refuses ------------------------------------------------------------------------------------------------------


def other_owner(folder: Path) -> str:
    if os.getuid():
        pytest.skip("a folder of another user needs root")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 1234, 1234)
    return "safe.directory"


def damaged_index(folder: Path) -> str:
    (folder / ".git/index").write_bytes(b"DIRC\0\0\0\2garbage")
    return "index"


def stale_worktree(folder: Path) -> str:
    shutil.rmtree(folder / ".git")
    (folder / ".git").write_text("gitdir: /nowhere/.git/worktrees/x\n")
    return "not a git repository"


def unknown_format(folder: Path) -> str:
    with (folder / ".git/config").open("a") as config:
        config.write("[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha999\n")
    return "sha999"


def empty_git_folder(folder: Path) -> str:
    shutil.rmtree(folder / ".git")
    (folder / ".git").mkdir()
    return "not a git repository"


@pytest.mark.parametrize(
    "break_it",
    [other_owner, damaged_index, stale_worktree, unknown_format, empty_git_folder],
    ids=lambda one: one.__name__,
)
def test_where_git_refuses_nothing_travels(
    repository: Path, break_it: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Injected: 5 ways in which git refuses, from the repository's folder and from one below it. Sent: nothing."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    words = break_it(repository)
    write(repository / "sub/a.py")
    for folder in (repository, repository / "sub"):
        with pytest.raises(DataError, match="nothing is sent") as refused:
            snapshot.project_code(folder)
        assert words in refused.value.message
        assert "code: [FILE" in refused.value.hint
        with pytest.raises(DataError, match="nothing is sent"):
            filelist.of_entries(repository, ["sub"])
    assert list(filelist.of_entries(repository, ["train.py"]).files) == ["train.py"], "a list of files needs no git"


def test_a_missing_git_is_a_refusal_below_a_repository_only(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="cannot be started") as refused:
        filelist.of_folder(repository)
    assert "install git" in refused.value.hint
    write(tmp_path / "plain/a.py")
    assert list(filelist.of_folder(tmp_path / "plain").files) == ["a.py"]


@pytest.mark.slow
def test_a_git_that_does_not_answer_is_a_refusal(repository: Path, program: Callable[[str, str], Path]) -> None:
    """Injected: git sleeps. Waited for: 20 s; sent: nothing."""
    program("git", "#!/bin/sh\nexec sleep 60\n")
    with within(40), pytest.raises(DataError, match="did not answer within 20 s"):
        filelist.of_folder(repository)


def test_a_hooks_environment_does_not_hide_what_is_ignored(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's variables of another repository, and a ceiling above which it would not look."""
    other = repository / "data/other"
    other.mkdir(parents=True)
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    write(repository / "sub/secret.env", SECRET)
    write(repository / "sub/a.py")
    assert list(filelist.of_folder(repository / "sub").files) == ["a.py"]


# --- Submodules, lists and links --------------------------------------------------------------------------------------


def test_submodules_travel_when_they_are_checked_out_and_are_told_when_not(repository: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    write(lib / "lib.py")
    write(lib / ".gitignore", "local.py\n")
    git(lib, "init")
    git(lib, "add", ".")
    git(lib, "commit", "-m", "lib")
    git(repository, "submodule", "add", str(lib), "vendored")
    write(repository / "vendored/local.py", SECRET)
    git(repository, "commit", "-m", "with lib")
    found = filelist.of_folder(repository)
    assert {"vendored/lib.py", "vendored/.gitignore", "train.py"} <= set(found.files)
    assert ("vendored/local.py", filelist.IGNORED) in found.left_out
    git(repository, "submodule", "deinit", "-f", "vendored")
    found = filelist.of_folder(repository)
    assert ("vendored", "submodule not checked out") in found.left_out
    assert any("git submodule update --init" in line for line in filelist.describe(found.left_out))


def test_a_listed_folder_goes_without_what_git_ignores(repository: Path) -> None:
    found = filelist.of_entries(repository, ["."])
    assert sorted(found.files) == [".gitignore", "train.py"]
    with pytest.raises(UsageError, match="git ignores it"):
        filelist.of_entries(repository, ["data"])
    assert list(filelist.of_entries(repository, ["secret.env"]).files) == ["secret.env"], "it was named itself"


def test_a_link_out_of_a_listed_folder_brings_what_it_leads_to(repository: Path) -> None:
    write(repository / "common/c.py", "c")
    (repository / "src").mkdir()
    for name, target in {"c": "../common", "t.py": "../train.py", "s": "../secret.env", "d": "../data"}.items():
        (repository / "src" / name).symlink_to(target)
    found = filelist.of_entries(repository, ["src"])
    assert {name: path.read_text() for name, path in found.files.items()} == {"src/c/c.py": "c", "src/t.py": "x = 1\n"}
    told = {item.name for item in found.left_out if item.why == "link to what does not travel"}
    assert told == {"src/s", "src/d"}


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="a file that may not be read needs another user")
def test_what_may_not_be_read_is_told(open_ground: Path) -> None:
    base = open_ground / "project"
    write(base / "a.py")
    write(base / "locked/b.py")
    write(base / "c.py").chmod(0)
    (base / "locked").chmod(0)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setgid(4321)
        os.setuid(4321)
        os.write(writing, repr([(item.name, item.why) for item in filelist.of_folder(base).left_out]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert eval(os.read(reading, 4096)) == [("c.py", "not readable"), ("locked", "not readable")]


def test_refusals_are_gits_own_words(repository: Path) -> None:
    answer = git_program.ask(repository, "no-such-verb")
    assert "no-such-verb" in answer.refusal and not answer.output
