"""Job arrays: what was handed to Slurm, written down before and looked up after, so that a cut starts nothing twice.

queue/<host>/arrays/<token>/array.json    which entries, what is asked for, and the array's id once it is known
queue/<host>/arrays/<token>/jobs.jsonl    the entries' lines: task N of the array takes line N
queue/<host>/arrays/<token>/out.txt       what its tasks complained of, before their jobs had a log
queue/<host>/arrays/jobs-<hash>.zip       this package: the tasks run it on the compute nodes

The folder appears whole, in one rename, before `sbatch` runs. The job's name ends with the token: an array without an
id is looked for by it before anything is submitted again. And should a task come twice after all, the attempt's folder
is published once.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from . import CONTRACT, queueing_shell, slurm, slurm_client, slurm_options
from .atomic import move, read_json, write_bytes, write_json
from .documents import open_plain
from .envs import architecture
from .errors import OrchError
from .folder import Home
from .home_identity import make_folder
from .host import stranger
from .queue import Entry, Key
from .slurm_client import Shell

SBATCH_LIMIT = 120.0  # seconds for one sbatch; a controller that restarts lets it wait
STOP_NOTICE = 90  # seconds before its time limit at which Slurm tells the watcher; at most a third of the limit
_START = (
    600  # seconds on top of twice the time that the lab's history names: volumes are read first, file servers are slow
)
_COMPLAINT = re.compile(r"\bsbatch: ((?:error|fatal): .*)")
_LONGEST = 2000  # characters of what sbatch said that are kept
_NO_SUBMITIT = 3  # exit status of the program below

# Run by a Python of the cluster that has submitit. Its executor makes the file for sbatch and submits it, with our own
# command in place of its own: nothing is pickled. Of what sbatch prints only its own line tells the id: submitit takes
# the first number behind the word job, of a greeting too.
_SUBMIT = """
import json, re, sys
try:
    import submitit
except ImportError:
    sys.exit(3)
class Executor(submitit.SlurmExecutor):
    @staticmethod
    def _get_job_id_from_submission_command(string):
        text = string if isinstance(string, str) else string.decode("utf-8", "replace")
        text = re.sub(r"\\x1b\\[[0-9;?]*[ -/]*[@-~]|\\r", "", text)
        found = set(re.findall(r"^Submitted batch job ([0-9]+)(?: on cluster .+)?[ \\t]*$", text, re.MULTILINE))
        if len(found) != 1:
            sys.exit("sbatch: error: its answer cannot be read: " + " ".join(text.split())[:200])
        return found.pop()
asked = json.load(sys.stdin)
executor = Executor(folder=asked["folder"])
executor.update_parameters(**asked["parameters"])
if asked["tasks"]:
    executor.parameters["map_count"] = asked["tasks"]
print(json.dumps({"job": executor._submit_command(asked["command"]).job_id}))
"""


class Array(NamedTuple):
    """One array, as its `array.json` tells.

    Attributes
    ----------
    job:
        Slurm's id, None while it is not known.
    single:
        It is one job that is no array: the cluster takes none.
    cluster:
        Name of the cluster that was asked, empty where it did not tell.
    shell:
        Variables with which its Slurm is found (`queueing_shell.load`).
    """

    token: str
    folder: str
    name: str
    at: float
    keys: List[Key]
    job: Optional[str]
    single: bool = False
    cluster: str = ""
    shell: Shell = None

    def tasks(self) -> "Dict[Key, str]":
        """Ids of its jobs in Slurm by entry; none while the array's id is not known."""
        if self.job and self.single:
            return dict.fromkeys(self.keys, self.job)
        return {key: "{}_{}".format(self.job, number) for number, key in enumerate(self.keys)} if self.job else {}

    def handle(self, key: Key) -> slurm.Handle:
        """What names an entry's job, once the array has an id."""
        return slurm.Handle(self.tasks()[key], self.name, self.cluster, self.shell)


def folder_of(home: Home, host: str) -> str:
    """Folder of a host's arrays."""
    return os.path.join(home.queue(host), "arrays")


def arrays(home: Home, host: str) -> List[Array]:
    """Return this user's arrays of a host that are not over, oldest first."""
    return sorted(_read(home, host, folder_of(home, host)), key=lambda array: array.at)


def _read(home: Home, host: str, base: str) -> Iterator[Array]:
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return
    for name in names:
        said = read_json(os.path.join(base, name, "array.json")) if not name.startswith(".") else None
        if isinstance(said, dict) and not stranger(os.path.join(base, name)):  # squeue tells a user of their own
            keys = [(str(key[0]), str(key[1]), int(key[2])) for key in said["keys"]]
            more = (bool(said.get("single")), str(said.get("cluster") or ""), queueing_shell.load(home, host, said))
            yield Array(name, os.path.join(base, name), said["name"], said["at"], keys, said["job"], *more)


def publish(
    home: Home, host: str, identity: str, entries: Sequence[Entry], single: bool = False, cluster: str = ""
) -> Array:
    """Write down an array before it is submitted.

    Parameters
    ----------
    single, cluster:
        See `Array`.

    Raises
    ------
    OSError
        The home cannot be written.
    """
    token, base = os.urandom(8).hex(), folder_of(home, host)
    aside, folder = os.path.join(base, "." + token), os.path.join(base, token)
    name = "{}.{}".format(entries[0].key[0], token)
    asked = slurm.asked(entries[0].job) or {}
    shell = {queueing_shell.KEY: asked.get(queueing_shell.KEY)}
    more = (single, cluster, queueing_shell.load(home, host, shell))
    array = Array(token, folder, name, time.time(), [entry.key for entry in entries], None, *more)
    make_folder(home, base, identity)
    os.mkdir(aside, 0o755)  # its name is ours alone, and no colleague may change what our tasks run
    write_bytes(os.path.join(aside, "jobs.jsonl"), b"\n".join([*(entry.line for entry in entries), b""]))
    about = {"contract": CONTRACT, "name": name, "at": array.at, "keys": array.keys, "job": None}
    about.update({"home": home.path, "id": identity, "login": host, "single": single, "cluster": cluster, **shell})
    write_json(os.path.join(aside, "array.json"), about)
    move(aside, folder)
    return array


def identify(array: Array, job: str) -> Array:
    """Write down the id that Slurm gave an array."""
    path = os.path.join(array.folder, "array.json")
    write_json(path, {**(read_json(path) or {}), "job": job})
    return array._replace(job=job)


def forget(array: Array) -> None:
    """Delete what was written down of an array that is over."""
    shutil.rmtree(array.folder, ignore_errors=True)


def last_words(array: Array) -> str:
    """Return the last line that its tasks complained with, before their jobs had logs."""
    try:
        with open(os.path.join(array.folder, "out.txt"), "rb", opener=open_plain) as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - 4096))
            lines = handle.read(4096).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def submit(array: Array, entry: Entry, parallel: int, package: str) -> str:
    """Have submitit submit an array; return its id.

    Parameters
    ----------
    entry:
        Any of its entries: all ask for the same.
    parallel:
        How many of its jobs Slurm may run side by side.
    package:
        What `ship` returned.

    Raises
    ------
    OrchError
        Slurm refuses, or did not say whether it accepts.
    """
    job = entry.job
    boot = "import sys; sys.path.insert(0, sys.argv[1]); from jobs.slurmtask import main; main(sys.argv[2])"
    python = (slurm.asked(job) or {}).get("interpreter") or sys.executable
    command = [python, "-I", "-S", "-B", "-c", boot, package, array.folder]
    parameters = _parameters(job, slurm.asked(job) or {}, array, parallel)
    request = {"folder": array.folder, "tasks": 0 if array.single else len(array.keys), "parameters": parameters}
    text = json.dumps({**request, "command": "exec " + " ".join(map(shlex.quote, command))})
    tried = []
    for python in _pythons(job):
        done = _submitit(python, text, slurm_client.environment(array.shell, for_jobs=True))
        if done is None:
            continue
        if done.returncode == 0:
            return str(json.loads(done.stdout.splitlines()[-1])["job"])
        if done.returncode != _NO_SUBMITIT:
            raise OrchError(_refusal(done.stderr), "orch why JOB, then orch release {}".format(entry.key[0]))
        tried.append(python)
    raise OrchError("submitit is not installed in {}".format(" or ".join(tried)), _bring_submitit(job))


def _bring_submitit(job: Mapping[str, Any]) -> str:
    """The repair where no Python has submitit: one that is named stays a person's own, else ours has it."""
    named = (slurm.asked(job) or {}).get("python")
    if named:
        return "{} -m pip install submitit".format(named)
    host = (job.get("placement") or {}).get("host") or "HOST"
    name = "name a Python that has it: {}: {{python: /path}} in the site file".format(host)
    return "orch setup --host {} makes an environment with it; or {}".format(host, name)


def _submitit(
    python: str, request: str, environment: Mapping[str, str]
) -> "Optional[subprocess.CompletedProcess[str]]":
    """Run the program above; None: this Python is made for another processor than the login node's."""
    words = [python, "-I", "-B", "-c", _SUBMIT]
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            return None
        raise OrchError("{} cannot be started: {}".format(python, error.strerror), "orch config python") from error
    try:
        out, said = child.communicate(request, SBATCH_LIMIT)
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, signal.SIGKILL)  # sbatch too: it must not submit what we have given up
        child.communicate()
        raise OrchError("sbatch does not answer within {:g} s".format(SBATCH_LIMIT), "orch doctor") from error
    return subprocess.CompletedProcess(words, child.returncode, out, said)


def _refusal(said: str) -> str:
    """What sbatch complained of, out of all that submitit says around it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = filter(None, map(_COMPLAINT.search, lines))
    own = dict.fromkeys(match.group(1).replace("error: ", "").strip() for match in found)  # submitit says them twice
    return ("sbatch: " + "; ".join(own) if own else (lines or ["sbatch failed without a word"])[-1])[:_LONGEST]


def _pythons(job: Mapping[str, Any]) -> List[str]:
    """Where submitit may be: in the Python that the site file names, in the job's environment, in ours."""
    python, path = (slurm.asked(job) or {}).get("python"), (job.get("env") or {}).get("PATH")
    named = [
        python.get(architecture()) if isinstance(python, dict) else python,
        job["argv"][0] if "python" in os.path.basename(job["argv"][0]) else None,
        shutil.which("python3", path=path) if path else None,  # a command's environment stands first in its PATH
    ]
    return list(dict.fromkeys(python for python in [*named, sys.executable] if python and os.path.isabs(python)))


def _parameters(job: Mapping[str, Any], given: Mapping[str, Any], array: Array, parallel: int) -> Dict[str, Any]:
    """What the array asks Slurm for, in submitit's names; a value None leaves an option out."""
    needs = job["resources"]
    limit = needs.get("time_limit_s")
    wanted = int(limit + 2 * STOP_NOTICE) // 60 + 1 if limit else None
    minutes = min(filter(None, (wanted, given.get("time"))), default=None)  # who asks for less is begun earlier
    minutes = minutes or _expected(job, given.get("partition"), array.shell)
    notice = min(STOP_NOTICE, minutes * 60 // 3) if minutes else STOP_NOTICE  # else a short job is sent away at once
    output = os.path.join(array.folder, "out.txt")
    own = {"output": output, "signal": "B:USR2@{}".format(notice), "no-requeue": True}
    return {
        "job_name": array.name,
        "time": minutes,
        **{key: given.get(key) for key in ("partition", "account", "qos", "constraint", "exclude")},
        "array_parallelism": parallel,
        "wckey": None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "additional_parameters": {**slurm_options.merged(needs, given), **own},
    }


def _expected(job: Mapping[str, Any], partition: Optional[str], shell: Shell) -> Optional[int]:
    """Minutes out of the lab's history, generously; None where it knows nothing, or Slurm not what it allows."""
    seconds = job["placement"].get("expected_s")
    most = slurm.longest(partition, shell) if seconds else None
    return min(int(2 * seconds + _START) // 60 + 1, most) if most else None


def ship(home: Home, host: str) -> str:
    """Put this package beside the arrays, unless it lies there; return the path."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, source in sorted(_sources().items()):
            archive.writestr(zipfile.ZipInfo(name), source)
    data = packed.getvalue()
    path = os.path.join(folder_of(home, host), "jobs-{}.zip".format(hashlib.sha256(data).hexdigest()[:16]))
    if not os.path.exists(path):
        make_folder(home, os.path.dirname(path))
        write_bytes(path, data)
    return path


def _sources() -> Dict[str, str]:
    """The sources of this package by file name: from the wire, which brought them, else from its folder."""
    package = sys.modules[__package__]
    sent: Optional[Mapping[str, str]] = getattr(package.__loader__, "sources", None)
    if sent is not None:
        return {_file(name): source for name, source in sent.items()}
    folder = os.path.dirname(os.path.abspath(__file__))
    found = {}
    for name in os.listdir(folder):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as handle:
                found["jobs/" + name] = handle.read()
    return found


def _file(module: str) -> str:
    return "jobs/__init__.py" if module == "jobs" else module.replace(".", "/") + ".py"
