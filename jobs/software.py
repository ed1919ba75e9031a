"""Programs of a host: what a remote command's shell costs, which conda installations run here, if Slurm answers.

conda is read, not run: its version stands in file names, and the processor of an installation in its Python.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import subprocess
import time
from typing import Any, Dict, Iterator, List, Optional

from . import elf
from .slurm_client import environment

SHELL_LIMIT = 10.0  # seconds
SLURM_LIMIT = 6.0  # seconds; a controller that is down lets its programs wait much longer
ENVS = 200  # environments of one list that are looked at
# Where people and their installers put conda; `*` stands for the processor, which some keep in the path.
_PLACES = (
    "~/miniforge3",
    "~/mambaforge",
    "~/miniconda3",
    "~/anaconda3",
    "~/conda",
    "~/*/miniforge3",
    "/opt/conda",
    "/opt/miniforge3",
    "/opt/miniconda3",
    "/opt/anaconda3",
    "/usr/local/miniforge3",
)
_PROGRAMS = ("mamba", "micromamba", "conda")
_VERSION = re.compile(r"\d+(\.\d+)+")


def shell(limit: float = SHELL_LIMIT) -> Dict[str, Any]:
    """Start this user's shell as sshd does for a remote command, with a command that does nothing.

    Returns
    -------
    dict
        `shell` (path), `seconds`, `printed` (bytes its start-up files print), `status`, `error` (None, or why not).
    """
    import pwd

    entry = pwd.getpwuid(os.getuid())
    program, home = entry.pw_shell or "/bin/sh", os.environ.get("HOME", entry.pw_dir)
    environment = {"HOME": home, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": program}
    environment.update(PATH="/usr/local/bin:/usr/bin:/bin", SSH_CLIENT="127.0.0.1 1 22", LANG="C")
    ours, its = socket.socketpair()  # bash reads .bashrc when its input is a socket: that is how it knows sshd
    started = time.monotonic()
    about: Dict[str, Any] = {"shell": program, "seconds": None, "printed": 0, "status": None, "error": None}
    try:
        child = subprocess.Popen(
            [program, "-c", "exit 0"],
            stdin=its.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        printed = child.communicate(timeout=limit)[0]
        about.update(seconds=round(time.monotonic() - started, 4), printed=len(printed), status=child.returncode)
    except OSError as error:
        about["error"] = "it cannot be started: {}".format(error.strerror)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        about["error"] = "its start-up files take more than {:g} s".format(limit)
    finally:
        ours.close()
        its.close()
    return about


def condas(home: Optional[str] = None) -> List[Dict[str, Any]]:
    """Return the installations of conda, mamba and micromamba that are found, those that run here first.

    Parameters
    ----------
    home:
        Orch home, in which `orch setup` may have put one.

    Returns
    -------
    list of dict
        `kind`, `version`, `prefix`, `program`, `machine` (None: not known), `runs` and `defaults` (it uses Anaconda's
        own channel, which is not free for everybody).
    """
    prefixes: Dict[str, None] = {}
    for place in [*_PLACES, os.path.join(home or "~/.orch", "conda", "*")]:
        prefixes.update(dict.fromkeys(sorted(glob.glob(os.path.expanduser(place)))))
    for program in (os.environ.get("CONDA_EXE"), *(shutil.which(name) for name in _PROGRAMS)):
        if program:
            prefixes[os.path.dirname(os.path.dirname(os.path.realpath(program)))] = None
    found = [about for about in map(_conda, prefixes) if about]
    return sorted(found, key=lambda about: (not about["runs"], about["prefix"]))


def _conda(prefix: str) -> Optional[Dict[str, Any]]:
    programs = [os.path.join(prefix, "bin", name) for name in _PROGRAMS]
    program = next((path for path in programs if os.path.exists(path)), None)
    if program is None:
        return None
    machine = elf.machine_of(os.path.join(prefix, "bin", "python")) or elf.machine_of(program)
    versions = {name: _package_version(prefix, name) for name in ("conda", "mamba", "anaconda")}
    alone = os.path.basename(program) == "micromamba"
    channels = _channels(prefix)
    kind = "micromamba" if alone else "anaconda" if versions["anaconda"] else "conda"
    if kind == "conda":
        kind = "miniforge" if "conda-forge" in channels else "miniconda"
    return {
        "kind": kind,
        "version": versions["conda"] or versions["mamba"],
        "prefix": prefix,
        "program": program,
        "machine": machine,
        "runs": machine in (elf.here(), None),
        "defaults": not alone and ("defaults" in channels or "conda-forge" not in channels),
    }


def _package_version(prefix: str, name: str) -> Optional[str]:
    """Version in a name like `conda-24.11.3-py312h996f2a0_0.json`."""
    for path in sorted(glob.glob(os.path.join(glob.escape(prefix), "conda-meta", name + "-*.json"))):
        version = os.path.basename(path)[len(name) + 1 :].split("-")[0]
        if _VERSION.match(version):
            return version
    return None


def _channels(prefix: str) -> List[str]:
    """Channels that the settings files name, nearest first; the plain list only, which is what installers write."""
    for path in (os.path.expanduser("~/.condarc"), os.path.join(prefix, ".condarc")):
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                text = handle.read()
        except OSError:
            continue
        block = re.search(r"^channels:[ \t]*\n((?:[ \t]*-.*\n?)+)", text, re.MULTILINE)
        if block:
            return [line.strip(" \t-'\"") for line in block.group(1).splitlines()]
    return []


def conda_envs(installations: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return the environments that conda knows: `{"prefix", "machine", "runs"}`; those of another processor too."""
    prefixes: Dict[str, None] = {}
    for installation in installations:
        pattern = os.path.join(glob.escape(installation["prefix"]), "envs", "*", "conda-meta")
        prefixes.update(dict.fromkeys(os.path.dirname(path) for path in sorted(glob.glob(pattern))))
    prefixes.update(dict.fromkeys(_listed()))
    known = {installation["prefix"] for installation in installations}
    return [_env(prefix) for prefix in list(prefixes)[:ENVS] if prefix not in known and os.path.isdir(prefix)]


def _listed() -> Iterator[str]:
    try:
        with open(os.path.expanduser("~/.conda/environments.txt"), encoding="utf-8", errors="replace") as handle:
            yield from (line.strip() for line in handle if line.strip())
    except OSError:
        return


def _env(prefix: str) -> Dict[str, Any]:
    machine = elf.machine_of(os.path.join(prefix, "bin", "python"))
    return {"prefix": prefix, "machine": machine, "runs": machine in (elf.here(), None)}


def slurm(limit: float = SLURM_LIMIT) -> Dict[str, Any]:
    """Return whether Slurm's programs are here, whether its controller answers and whether `sacct` does.

    Without `sacct` the end of a job cannot be asked for: submitit then waits for ever for one that was cancelled.

    Returns
    -------
    dict
        `sbatch` (path or None), `controller` and `accounting`: None when it answers, else what was said.
    """
    found: Dict[str, Any] = {"sbatch": shutil.which("sbatch"), "controller": None, "accounting": None}
    if found["sbatch"]:
        found["controller"] = _said(["sinfo", "-h", "-o", "%P"], limit)
        found["accounting"] = _said(["sacct", "-n", "-X", "-S", "now"], limit)
    return found


def _said(words: List[str], limit: float) -> Optional[str]:
    """Run a program; None when it ends well, else its last words."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
            env=environment(),
        )
    except OSError as error:
        return "{} cannot be started: {}".format(words[0], error.strerror)
    except subprocess.TimeoutExpired:
        return "{} does not answer within {:g} s".format(words[0], limit)
    if done.returncode == 0:
        return None
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else "{} ended with {}".format(words[0], done.returncode)
