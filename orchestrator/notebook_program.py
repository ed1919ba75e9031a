"""The program of a notebook's job: executes it by papermill. It is copied into code snapshots as their `__main__.py`.

It lies here because `jobs` imports the standard library only; it runs on hosts, in an environment that has papermill
and ipykernel. The notebook runs in `work/` of the run folder: what it writes lies with the run, and no two jobs write
one file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.atomic import read_json
from jobs.errors import OrchError
from jobs.folder import RunFolder
from jobs.notebookrun import NEEDS, PROJECT, prepared, say, working_folder

_HOME = Path(__file__).absolute().parent  # the code snapshot
_START_S = 600  # seconds for a kernel to begin; many start at once, from a cold network home
_OUTPUT_S = 120  # seconds for the last output of a cell that has ended
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def main() -> int:
    """Run the notebook of the run folder that the first argument names; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    folder = RunFolder(sys.argv[1])
    about = dict(read_json(folder.job) or {})
    try:
        cell = about["cell"]["parameters"]
        ready = prepared(str(_HOME / PROJECT), cell)
        os.environ["PYTHONPATH"] = os.pathsep.join(_search_path(cell["notebook"]))
        work = working_folder(folder, about.get("inputs") or {})
        return _ended(execute(ready, folder.notebook, work))
    except OrchError as error:
        # The last line becomes the evidence of the failure.
        say(f"  fix: {error.hint}\n{type(error).__name__}: {error.message}")
        return 1


def execute(ready: dict[str, Any], output: str, work: str) -> int:
    """Execute a notebook in a kernel of this Python; return its exit status, or minus the signal that ended the kernel.

    Parameters
    ----------
    ready:
        The notebook, with its values.
    output, work:
        Where the executed copy is written, after every cell; the folder in which it runs.
    """
    try:
        import ipykernel  # noqa: F401  the kernel is another process; here it is missed before anything begins
        import nbformat
        import papermill
        from jupyter_client.manager import AsyncKernelManager
        from nbclient.exceptions import DeadKernelError
        from traitlets.config import Config
    except ImportError as error:
        missing = (error.name or "papermill").partition(".")[0]
        say(f"ModuleNotFoundError: no {missing} here: {NEEDS.format(sys.executable)}")
        return 1
    managers: list[Any] = []

    class Manager(AsyncKernelManager):
        """Jupyter's own, remembered: the kernel's process is needed for a stop, and after its sudden end."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            managers.append(self)

    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(managers))
    sockets = Config({"KernelManager": {"transport": "ipc"}})  # jobs that start together cannot take one port
    options = {"config": sockets, "kernel_manager_class": Manager, "kernel_name": "python3", "language": "python"}
    waits = {"start_timeout": _START_S, "iopub_timeout": _OUTPUT_S}
    streams = {"progress_bar": False, "stdout_file": sys.stdout, "stderr_file": sys.stderr}
    with _own_jupyter():
        node = nbformat.reads(json.dumps(ready), as_version=4)  # type: ignore[no-untyped-call]
        try:
            papermill.execute_notebook(node, output, cwd=work, **options, **waits, **streams)
        except papermill.PapermillExecutionError as error:
            return _tell(error)
        except DeadKernelError:
            return _status_of(managers[0])
    return 0


def _interrupt(managers: list[Any]) -> None:
    """Stop as Jupyter's own button does: the cell gets KeyboardInterrupt, and what ran until then is kept."""
    process = managers[0].provisioner.process if managers and managers[0].provisioner else None
    if process is None:
        raise SystemExit(128 + signal.SIGTERM)
    process.send_signal(signal.SIGINT)


def _status_of(manager: Any) -> int:
    """Return how the kernel ended: minus its signal, so that the watcher sees a killed or crashed program."""
    process = manager.provisioner.process if manager.provisioner else None
    status = process.poll() if process else None
    say("orch: the notebook's kernel ended by itself ({})".format("its status is lost" if status is None else status))
    return status or 1


def _ended(status: int) -> int:
    """Return an exit status; a negative one is a signal, by which this process then ends."""
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _search_path(name: str) -> list[str]:
    """Where the kernel finds modules: beside the notebook as in Jupyter, then in the project, then ours."""
    project = _HOME / PROJECT
    places = dict.fromkeys([(project / name).parent, project, _HOME])
    return [*map(str, places), *filter(None, [os.environ.get("PYTHONPATH")])]


@contextlib.contextmanager
def _own_jupyter() -> Iterator[None]:
    """Let Jupyter know this Python's kernel only, and keep its files off the home.

    Hosts of two processors share a home, where a kernel `python3` may be the other one's; and IPython's history, a
    database, hangs on network file systems. The folder's path is short because sockets lie in it.
    """
    place = tempfile.mkdtemp(prefix="orch-", dir="/tmp")
    kernel = Path(place, "kernels", "python3", "kernel.json")
    kernel.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}), "utf-8")
    names = ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    os.environ.update(dict.fromkeys(names, place), JUPYTER_NO_CONFIG="1")
    tempfile.tempdir = place  # of this process, not of the notebook: the kernel's key and sockets lie there
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tell(error: Any) -> int:
    """Print a cell's traceback so that its last line says what went wrong, as Python does."""
    say(f"orch: cell {error.cell_index + 1} failed; the executed notebook holds its output")
    lines = [_ANSI.sub("", line) for line in error.traceback]
    telling = f"{error.ename}: {error.evalue}"
    say("\n".join(lines if lines and lines[-1].endswith(telling) else [*lines, telling]))
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
