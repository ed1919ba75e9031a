"""What is compared: how each tool is made to run N no-op jobs, two at a time where it can be told so.

Every job of every tool ends in one fresh `python -c pass` of the same interpreter, the bare one (no environment, no
start-up files of an installed package). A peer gets an environment of its own in a throw-away folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import clean_environment

SLOTS = 2
# A virtual environment's Python looks at more files when it starts; the job's interpreter is the one below it.
JOB_PYTHON = os.path.realpath(sys.executable)
ORCH = str(Path(sys.executable).with_name("orch"))

_FLOOR = """
import os, subprocess, sys
python, count, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
alive = {}
def wait():
    process, status = os.wait()
    alive.pop(process).returncode = os.waitstatus_to_exitcode(status)
    assert status == 0
for _ in range(count):
    if len(alive) == slots:
        wait()
    child = subprocess.Popen([python, "-c", "pass"])
    alive[child.pid] = child
while alive:
    wait()
"""

_SUBMITIT = """
import sys, submitit
folder, count = sys.argv[1], int(sys.argv[2])
def job():
    pass
executor = submitit.LocalExecutor(folder=folder)
executor.update_parameters(timeout_min=10)
jobs = [executor.submit(job) for _ in range(count)]
assert [job.result() for job in jobs] == [None] * count
"""

_SNAKEFILE = """
rule all:
    input: expand("out/{{n}}", n=range({count}))
rule job:
    output: touch("out/{{n}}")
    shell: "{python} -c pass"
"""


@dataclass(frozen=True)
class Call:
    """One run to measure: command, its folder, its environment, and a check that all jobs ran."""

    argv: list[str]
    folder: Path
    env: dict[str, str]
    check: Callable[[], bool]


@dataclass(frozen=True)
class Tool:
    """One row of the table.

    Attributes
    ----------
    name, note:
        What the row is called; what to know about it.
    prepare:
        (empty folder, number of jobs) to the call.
    most:
        Jobs that this tool is given at most: some need minutes for what others do in seconds.
    """

    name: str
    note: str
    prepare: Callable[[Path, int], Call]
    most: int = 1_000_000


def floor(folder: Path, count: int) -> Call:
    """Bare spawns: nothing is recorded, nothing survives."""
    argv = [JOB_PYTHON, "-I", "-S", "-c", _FLOOR, JOB_PYTHON, str(count), str(SLOTS)]
    return Call(argv, folder, clean_environment(folder), lambda: True)


def orch(folder: Path, count: int) -> Call:
    """`orch sweep` of a command, attached to its end: planned, dispatched, detached, recorded, synced, indexed."""
    sweep = {"sweep": "noop", "command": [JOB_PYTHON, "-c", "pass", "{n}"], "grid": {"n": list(range(count))}}
    (folder / "noop.yaml").write_text(json.dumps(sweep), encoding="utf-8")
    env = clean_environment(folder)
    for name in ("home", "state", "local", "cache"):
        env["ORCH_" + name.upper()] = str(folder / "orch" / name)
        (folder / "orch" / name).mkdir(parents=True)

    def check() -> bool:
        ends = list((folder / "orch" / "home" / "runs" / "noop").glob("*/attempt-01/exit.json"))
        return len(ends) == count and all(json.loads(end.read_bytes())["status"] == 0 for end in ends)

    return Call([ORCH, "sweep", "noop.yaml", "--parallel", str(SLOTS)], folder, env, check)


def submitit(python: str) -> Tool:
    """Return submitit's local executor; it starts all jobs at once."""

    def prepare(folder: Path, count: int) -> Call:
        (folder / "jobs.py").write_text(_SUBMITIT, encoding="utf-8")
        logs = folder / "logs"
        argv = [python, "jobs.py", str(logs), str(count)]
        return Call(argv, folder, clean_environment(folder), lambda: len(list(logs.glob("*_result.pkl"))) == count)

    return Tool("submitit LocalExecutor", "all at once: it has no local queue", prepare, most=50)


def snakemake(python: str) -> Tool:
    """Return Snakemake with as many cores as there are slots."""

    def prepare(folder: Path, count: int) -> Call:
        (folder / "Snakefile").write_text(_SNAKEFILE.format(count=count, python=JOB_PYTHON), encoding="utf-8")
        argv = [python, "-m", "snakemake", "--cores", str(SLOTS), "--quiet", "all"]
        return Call(argv, folder, clean_environment(folder), lambda: len(list(folder.glob("out/*"))) == count)

    return Tool("Snakemake", f"--cores {SLOTS}", prepare, most=200)


OURS = (
    Tool("bare spawn", f"the floor: {SLOTS} at a time, nothing recorded", floor),
    Tool("orch sweep", "durable, detached, indexed", orch),
)
PEERS = {"submitit": ("submitit==1.5.4", submitit), "snakemake": ("snakemake==9.27.1", snakemake)}


def install_peers(folder: Path) -> list[Tool]:
    """Install each peer into an environment of its own below `folder`; leave out, with a word, what cannot be had."""
    found = []
    for name, (requirement, tool) in PEERS.items():
        print(f"installing {requirement} ...", file=sys.stderr, flush=True)
        python = str(folder / name / "bin" / "python")
        steps = (
            [sys.executable, "-m", "venv", str(folder / name)],
            [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check", requirement],
        )
        failed = next((done for step in steps if (done := _quietly(step)).returncode), None)
        if failed is None:
            found.append(tool(python))
        else:
            last = (failed.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"{name} is left out: {last}", file=sys.stderr)
            shutil.rmtree(folder / name, ignore_errors=True)
    return found


def _quietly(step: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(step, capture_output=True, text=True, check=False)
