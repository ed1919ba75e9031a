"""What every test may rely on: a clean environment, a home of its own, and paths that are as bad as they come."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.accounting import accounted, accounted_session
from lab.fixtures import lab, lab_session, needs_arm
from lab.slurm import slurm, slurm_session
from standins.place import Standins

from jobs.folder import Home

__all__ = ["accounted", "accounted_session", "lab", "lab_session", "needs_arm", "slurm", "slurm_session"]

# For the shell the second line is a command, for Python it is a text (the way of pip's own scripts).
_THIS_PYTHON = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} -I \"$0\" \"$@\"\n' '''\n"


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let nothing reach the home of whoever runs the tests; all processes of one run share matplotlib's font list."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (shared / "home").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(shared / "home"))
        patch.setenv("MPLCONFIGDIR", str(shared / "matplotlib"))
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_as_at_a_terminal() -> None:
    """Let Ctrl-C reach programs also where the tests run in the background, with SIGINT ignored (nohup, CI)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would steer `orch`, its output or its Python from outside."""
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"}
    for name in [name for name in os.environ if name.startswith("ORCH_") and name != "ORCH_REAL_DATA"]:
        monkeypatch.delenv(name)
    for name in unwanted & set(os.environ):
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _same_umask() -> Iterator[None]:
    """No test leaves another umask to the next one."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    left = os.umask(before)
    assert left == before, f"the test left the umask at {left:03o}"


@pytest.fixture
def hostile_path(tmp_path: Path) -> Path:
    """An existing folder whose name holds blanks, both quotes, a newline, accents and shell signs."""
    path = tmp_path / 'it\'s "hostile"\n$HOME & voilà; 50%'
    path.mkdir()
    return path


@pytest.fixture
def open_ground() -> Iterator[Path]:
    """A folder that every user can reach and write to; pytest closes its own folders to all but us."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def orch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An orch home with state, host-local folder and cache of its own, named by the environment."""
    for name in ("home", "state", "local", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("ORCH_" + name.upper(), str(tmp_path / name))
    return Home(str(tmp_path / "home"))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a real program first in PATH: `program("nvidia-smi", "#!/bin/sh ...")`.

    The first line `#!python` means this Python, also where its path holds blanks, which no shebang can name.
    """
    folder = tmp_path / "bin"

    def place(name: str, text: str) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(text.replace("#!python\n", _THIS_PYTHON, 1), encoding="utf-8")
        path.chmod(0o755)
        return path

    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])
    return place


@pytest.fixture(scope="session")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Standins:
    """A conda channel, indexes of small wheels and a conda, made once."""
    return Standins(tmp_path_factory.mktemp("standins"))
