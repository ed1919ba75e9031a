"""conda, mamba or micromamba for this machine: found, or installed from Miniforge; and the commands we give it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from typing import Any, Callable, Dict, Generator, Iterator, List, NamedTuple, Optional, Tuple

from . import child
from .atomic import read_json, write_bytes, write_json
from .envs import EnvFolder
from .errors import OrchError, disk_error

PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
MINIFORGE = "https://github.com/conda-forge/miniforge/releases/latest/download/Miniforge3-Linux-{arch}.sh"
TIMEOUT = 120.0  # seconds; a conda on a cold network home takes long to say what it is
_NAMES = ("mamba", "micromamba", "conda")
_USUAL = ("~/miniforge3", "~/mambaforge", "~/miniconda3", "~/anaconda3", "~/.local", "/opt/conda", "/opt/miniforge3")
_NO_LOCK = (23, 9)  # conda knows --no-lock since then (conda#12996); its own locks hang on network homes (conda#14846)
_STEERING = ("CONDA", "_CE_", "MAMBA", "PYTHON", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT")


class Conda(NamedTuple):
    """One that works here.

    Attributes
    ----------
    kind:
        `conda`, `mamba` or `micromamba`.
    platform:
        What it makes environments for: `linux-64`.
    """

    path: str
    kind: str
    version: str
    platform: str


def environment(folder: EnvFolder) -> Dict[str, str]:
    """Return the environment for conda and pip: nothing of the user's shell steers them, all caches are ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
    ours = {
        "PYTHONNOUSERSITE": "1",
        "CONDARC": _rc_file(folder),
        "CONDA_PKGS_DIRS": os.path.join(folder.packages, "conda"),
        "MAMBA_ROOT_PREFIX": os.path.join(folder.packages, "mamba"),
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CACHE_DIR": os.path.join(folder.packages, "pip"),
        "NO_COLOR": "1",
    }
    return {**kept, **ours}


def _rc_file(folder: EnvFolder) -> str:
    return os.path.join(folder.packages, "condarc.yaml")


def find(folder: EnvFolder) -> Tuple[Optional[Conda], List[str]]:
    """Return the first conda that is for this architecture, and why others were refused.

    Ours comes first, then what variables and PATH name, then the usual places. The one in PATH is often for the other
    architecture of a shared home: each is asked what it makes environments for.
    """
    refused: List[str] = []
    asked = set()
    for path in _candidates(folder):
        real = os.path.realpath(path)
        if real in asked or not os.access(path, os.X_OK):
            continue
        asked.add(real)
        conda, why = _ask(path, folder)
        if conda:
            return conda, refused
        refused.append("{}: {}".format(path, why))
    return None, refused


def _candidates(folder: EnvFolder) -> Iterator[str]:
    yield from (os.path.join(folder.conda, "bin", name) for name in ("mamba", "conda"))
    yield from filter(None, (os.environ.get(name) for name in ("MAMBA_EXE", "CONDA_EXE")))
    yield from filter(None, map(shutil.which, _NAMES))
    for place in _USUAL:
        for name in _NAMES:
            yield os.path.join(os.path.expanduser(place), "bin", name)


def _ask(path: str, folder: EnvFolder) -> Tuple[Optional[Conda], str]:
    try:
        done = subprocess.run(
            [path, "info", "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            env=environment(folder),
            check=False,
        )
        told = json.loads(done.stdout)
        platform = str(told["platform"])
    except OSError as error:
        return None, "it cannot be started: {}".format(error.strerror)
    except subprocess.TimeoutExpired:
        return None, "it did not answer within {:.0f} s".format(TIMEOUT)
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return None, "it does not say what it is: {}".format(said[-1] if said else "no JSON")
    wanted = PLATFORMS.get(folder.arch)
    if platform != wanted:
        return None, "it makes environments for {}, this host needs {}".format(platform, wanted)
    version = next((str(told[key]) for key in told if key.endswith("version") and "python" not in key), "?")
    return Conda(path, _kind(path), str(told.get("conda_version") or version), platform), ""


def _kind(path: str) -> str:
    name = os.path.basename(path)
    return name if name in _NAMES else "conda"


def create(conda: Conda, folder: EnvFolder, python: str, channel: str) -> List[str]:
    """Return the command that makes the prefix with Python and pip, from one channel only; write its settings file."""
    settings = {
        "channels": [channel],
        "pkgs_dirs": [os.path.join(folder.packages, "conda")],
        "use_lockfiles": False,  # mamba's own locks hang on network homes (mamba#3609); ours is held instead
        "notify_outdated_conda": False,
    }
    os.makedirs(folder.packages, exist_ok=True)
    write_bytes(_rc_file(folder), (json.dumps(settings) + "\n").encode(), sync=False)  # JSON is YAML
    command = [conda.path, "create", "--yes", "--override-channels", "-c", channel, "-p", folder.prefix]
    if conda.kind == "micromamba":
        command += ["--rc-file", _rc_file(folder)]
    elif conda.kind == "conda" and numbers(conda.version)[:2] >= _NO_LOCK:
        command += ["--no-lock"]
    return [*command, "python=" + python, "pip"]


def numbers(text: str) -> Tuple[int, ...]:
    """Return the numbers of a version, for comparison."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


# --- Miniforge -------------------------------------------------------------------------------------------------------


def mark(folder: EnvFolder) -> str:
    """Path of the file that says that the Miniforge is ours and whole."""
    return os.path.join(folder.conda, "orch-installed.json")


def install(
    folder: EnvFolder, url: str, left: Callable[[], bool], keep: "tuple[int, ...]"
) -> Generator[str, None, Conda]:
    """Download Miniforge for this architecture, compare its SHA-256 with the published one, install it.

    Raises
    ------
    OrchError
        It cannot be downloaded, is damaged, or does not work afterwards.
    """
    address = url.format(arch=folder.arch)
    script = os.path.join(folder.packages, "miniforge-{}.sh".format(folder.arch))
    os.makedirs(folder.packages, exist_ok=True)
    sha256 = yield from _download(address, script)
    published = _published(address)
    if published and published != sha256:
        raise OrchError("{} is damaged: SHA-256 {}, published {}".format(address, sha256, published), "try again later")
    if os.path.exists(folder.conda):  # half installed: without our mark nobody has used it
        shutil.rmtree(folder.conda)
    os.makedirs(os.path.dirname(folder.conda), exist_ok=True)
    command = ["/bin/sh", script, "-b", "-p", folder.conda]
    ended = yield from child.run(command, environment(folder), left, keep)
    child.check(ended, "Miniforge was not installed", "look at the lines above; is there space in the orch home?")
    os.unlink(script)
    conda, refused = find(folder)
    if conda is None or not conda.path.startswith(folder.conda):
        raise OrchError(
            "the new Miniforge does not work: {}".format("; ".join(refused[:2])), "is the URL for this machine?"
        )
    write_json(mark(folder), {"url": address, "sha256": sha256, "published": published, "version": conda.version})
    return conda


def _download(url: str, path: str) -> Generator[str, None, str]:
    import urllib.error  # slow to import, and seldom needed
    import urllib.request

    total, size, told = hashlib.sha256(), 0, 0
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(path, "wb") as target:
            length = int(answer.headers.get("Content-Length") or 0)
            for block in iter(lambda: answer.read(1 << 18), b""):
                target.write(block)
                total.update(block)
                size += len(block)
                if size - told >= 1 << 20:
                    told = size
                    yield "Progress {} of {}".format(size, length)
    except urllib.error.URLError as error:
        raise OrchError("cannot download {}: {}".format(url, error.reason), "name a mirror: --miniforge URL") from error
    except OSError as error:
        raise disk_error(error, path) from error
    return total.hexdigest()


def _published(url: str) -> Optional[str]:
    """The SHA-256 that stands beside the installer, or None when there is none."""
    import urllib.request

    try:
        with urllib.request.urlopen(url + ".sha256", timeout=60) as answer:
            words: List[str] = answer.read().decode("ascii", "replace").split()
    except (OSError, ValueError):
        return None
    return words[0].lower() if words and len(words[0]) == 64 else None


def ours(folder: EnvFolder) -> Optional[Dict[str, Any]]:
    """Return what is recorded of the Miniforge that orch installed, or None."""
    told = read_json(mark(folder))
    return told if isinstance(told, dict) else None
