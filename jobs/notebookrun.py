"""Runs a notebook as a job: the cell's values put in, executed by papermill, its results handed in.

It runs out of the code snapshot (`python -I -B code/<hash> RUN`), in an environment that has papermill and ipykernel.
The notebook runs in `work/` of the run folder: what it writes lies with the run, and two jobs never write one file.
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
from typing import Any, Dict, Iterator, List, Mapping

from . import notebook
from .atomic import read_json
from .errors import OrchError, UsageError
from .folder import RunFolder
from .handin import Run

PROJECT = "project"  # the lab's own files, in the code snapshot
NEEDS = "{} -m pip install papermill ipykernel"  # what repairs an environment that cannot run notebooks
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the code snapshot
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SHOWN = 60  # characters of a former value


def main() -> int:
    """Run the notebook of the run folder that the first argument names; return the exit status."""
    folder = RunFolder(sys.argv[1])
    about = dict(read_json(folder.job) or {})
    try:
        cell = about["cell"]["parameters"]
        ready = prepared(os.path.join(_HOME, PROJECT), cell)
        os.environ["PYTHONPATH"] = os.pathsep.join(_search_path(cell["notebook"]))
        work = _working_folder(folder, about.get("inputs") or {})
        return _ended(execute(ready, folder.notebook, work))
    except OrchError as error:
        # The last line becomes the evidence of the failure.
        _say("  fix: {}\n{}: {}".format(error.hint, type(error).__name__, error.message))
        return 1


def prepared(project: str, cell: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the notebook with a cell's values in it and, at its end, the cell that hands in the results.

    Parameters
    ----------
    project:
        Folder of the lab's files in the snapshot.
    cell:
        `notebook` (path below it), `grid` (values by variable), `result` (expressions by name).

    Raises
    ------
    NotFound, SpecError
        See `Notebook.targets`; or a result is made of what the notebook never sets.
    """
    book = notebook.read(os.path.join(project, cell["notebook"]))
    made = book.with_values(cell["grid"])
    for name, value in cell["grid"].items():
        for one in book.targets(name):
            _say("orch: {} = {!r} ({}; was {})".format(name, value, one.where, one.text[:_SHOWN]))
    for name, text in cell["result"].items():
        book.check_result(name, text)
    if cell["result"]:
        made["cells"].append(_last_cell(cell["result"]))
    return made


def _last_cell(result: Mapping[str, str]) -> Dict[str, Any]:
    words = json.dumps(dict(result), ensure_ascii=True)
    source = "# added by orch\nfrom jobs.notebookrun import hand_in\nhand_in({}, globals())".format(words)
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}


def hand_in(result: Mapping[str, str], names: Dict[str, Any]) -> None:
    """Write the job's result, from within the notebook's kernel.

    Parameters
    ----------
    result:
        Python expressions by the name of the result.
    names:
        The notebook's variables.

    Raises
    ------
    TypeError
        One is no number; its message says what it is, and how to name one.
    """
    values: Dict[str, Any] = {}
    for name, text in result.items():
        values.update(_numbers(name, text, eval(text, names)))
    Run().finish(**values)


def _numbers(name: str, text: str, value: Any) -> Dict[str, float]:
    """A number by its name, or all numbers of a dictionary by theirs; an array of one value counts as that value."""
    if isinstance(value, Mapping):
        parts = {str(key): _number(one) for key, one in value.items()}
        found = {key: number for key, number in parts.items() if number is not None}
        if found:
            return found
    number = _number(value)
    if number is not None:
        return {name: number}
    many = " of {}".format(len(value)) if hasattr(value, "__len__") else ""
    hint = "; name one number of it: {0}[-1], or max({0})".format(text) if many else ""
    raise TypeError("result {}: {} is a {}{}, not a number{}".format(name, text, type(value).__name__, many, hint))


def _number(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    try:  # NumPy, torch: their own scalars, and arrays of one value
        return _number(value.item())
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None


def _working_folder(folder: RunFolder, inputs: Mapping[str, Any]) -> str:
    """Make the folder in which the notebook runs, with links to what it reads by relative paths."""
    work = folder.work
    os.makedirs(work, exist_ok=True)
    for name in inputs.get("links") or []:
        source, link = os.path.join(inputs["folder"], name), os.path.join(work, name)
        if not os.path.exists(source):
            text = "the notebook reads {}, which is not on this host: {}".format(name, source)
            raise UsageError(text, "copy it there, or give its place here as a value: orch adopt --param NAME=PATH")
        if not os.path.lexists(link):
            os.symlink(source, link)
    return work


# --- Executing -------------------------------------------------------------------------------------------------------


def execute(ready: Dict[str, Any], output: str, work: str) -> int:
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
        _say("ModuleNotFoundError: no {} here: {}".format(missing, NEEDS.format(sys.executable)))
        return 1
    managers: List[Any] = []

    class Manager(AsyncKernelManager):
        """Jupyter's own, remembered: the kernel's process is needed for a stop, and after its sudden end."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            managers.append(self)

    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(managers))
    sockets = Config({"KernelManager": {"transport": "ipc"}})  # jobs that start together cannot take one port
    options = {"config": sockets, "kernel_manager_class": Manager, "kernel_name": "python3", "language": "python"}
    streams = {"progress_bar": False, "stdout_file": sys.stdout, "stderr_file": sys.stderr}
    with _own_jupyter():
        node = nbformat.reads(json.dumps(ready), as_version=4)  # type: ignore[no-untyped-call]
        try:
            papermill.execute_notebook(node, output, cwd=work, **options, **streams)
        except papermill.PapermillExecutionError as error:
            return _tell(error)
        except DeadKernelError:
            return _status_of(managers[0])
    return 0


def _interrupt(managers: List[Any]) -> None:
    """Stop as Jupyter's own button does: the cell gets KeyboardInterrupt, and what ran until then is kept."""
    process = managers[0].provisioner.process if managers and managers[0].provisioner else None
    if process is None:
        raise SystemExit(128 + signal.SIGTERM)
    process.send_signal(signal.SIGINT)


def _status_of(manager: Any) -> int:
    """Return how the kernel ended: minus its signal, so that the watcher sees a killed or crashed program."""
    process = manager.provisioner.process if manager.provisioner else None
    status = process.poll() if process else None
    _say("orch: the notebook's kernel ended by itself ({})".format("its status is lost" if status is None else status))
    return status or 1


def _ended(status: int) -> int:
    """Return an exit status; a negative one is a signal, by which this process then ends."""
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _search_path(name: str) -> List[str]:
    """Where the kernel finds modules: beside the notebook as in Jupyter, then in the project, then ours."""
    project = os.path.join(_HOME, PROJECT)
    beside = os.path.dirname(os.path.join(project, name))
    return [*dict.fromkeys([beside, project]), _HOME, *filter(None, [os.environ.get("PYTHONPATH")])]


@contextlib.contextmanager
def _own_jupyter() -> Iterator[None]:
    """Let Jupyter know this Python's kernel only, and keep its files off the home.

    Hosts of two processors share a home, where a kernel `python3` may be the other one's; and IPython's history, a
    database, hangs on network file systems. The folder's path is short because sockets lie in it.
    """
    place = tempfile.mkdtemp(prefix="orch-", dir="/tmp")
    kernel = os.path.join(place, "kernels", "python3")
    os.makedirs(kernel)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    with open(os.path.join(kernel, "kernel.json"), "w", encoding="utf-8") as handle:
        json.dump({"argv": argv, "display_name": "Python 3", "language": "python"}, handle)
    names = ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    os.environ.update(dict.fromkeys(names, place), JUPYTER_NO_CONFIG="1")
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tell(error: Any) -> int:
    """Print a cell's traceback so that its last line says what went wrong, as Python does."""
    _say("orch: cell {} failed; the executed notebook holds its output".format(error.cell_index + 1))
    lines = [_ANSI.sub("", line) for line in error.traceback]
    telling = "{}: {}".format(error.ename, error.evalue)
    _say("\n".join(lines if lines and lines[-1].endswith(telling) else [*lines, telling]))
    return 1


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
