"""Which Python runs the trainer on this machine: chosen with a reason, examined as a child program, fingerprinted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.envs import VERIFIED, newest
from jobs.errors import OrchError, from_json
from jobs.folder import Home
from jobs.wire import Wire

NEEDED = ("torch", "numpy", "nibabel", "scipy")  # the `trainer` extra of the distribution
TIMEOUT = 120.0  # seconds; a cold network home can take a minute to start a Python


@dataclass(frozen=True)
class Environment:
    """A Python that can run the trainer.

    Attributes
    ----------
    python:
        Absolute path of the interpreter (a symbolic link stays one: that is what makes a virtual environment).
    reason:
        Why this one.
    version:
        Version of Python.
    packages:
        Installed distributions and their versions.
    fingerprint:
        Digest of `packages`: equal fingerprints, equal software.
    provision:
        Of an environment that `orch setup` made: its `lock`, its `torch`, `torch_sha256`; else None.
    """

    python: str
    reason: str
    version: str
    packages: Mapping[str, str]
    fingerprint: str
    provision: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the provenance that an attempt records."""
        told = {
            "python": self.python,
            "reason": self.reason,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "packages": dict(self.packages),
        }
        return {**told, "provision": dict(self.provision)} if self.provision else told


def find(
    configured: str | None = None, origin: str = "", code: str | None = None, home: str | None = None
) -> Environment:
    """Choose and examine the Python that runs the trainer here.

    Parameters
    ----------
    configured:
        Interpreter that the settings name, path or command; None: see `home`; else the one that runs `orch`.
    origin:
        Where that setting comes from, for the reason.
    code:
        Code snapshot (a folder with a `__main__.py`) that holds the trainer; None is the one installed there.
    home:
        Orch home; when no interpreter is configured, its newest verified environment is taken.

    Raises
    ------
    OrchError
        There is no such interpreter, it does not start, or it lacks a library of the trainer.
    """
    made = newest(Home(home)) if home and _is_default(configured, origin) else None
    python, reason = (made["python"], _made_reason(made)) if made else choose(configured, origin)
    told = _ask(python, [code] if code else ["-m", "trainer"])
    packages = dict(told["packages"])
    lacking = [name for name in NEEDED if name not in packages]
    if lacking:
        raise OrchError(
            f"{python} cannot run the trainer: it lacks {', '.join(lacking)}", _repair(python), python=python
        )
    provision = _provision(made) if made else None
    return Environment(python, reason, str(told["python"]), packages, str(told["fingerprint"]), provision)


def _is_default(configured: str | None, origin: str) -> bool:
    return configured is None or (configured == sys.executable and origin in ("", "default"))


def on_host(wire: Wire, host: str, home: str) -> Environment:
    """Return the newest environment of another host that proved itself, as its record tells; nothing is started there.

    Raises
    ------
    OrchError
        It has none.
    """
    listed = wire.call("environments", home=home)["environments"]
    made = next((env for env in listed if env["state"] == VERIFIED), None)
    if made is None:
        why = f": {listed[0]['prefix']}: {listed[0]['reason']}" if listed else ""
        raise OrchError(f"{host} has no environment that is verified{why}", f"orch setup --host {host}")
    return of_record(made)


def of_record(made: Mapping[str, Any]) -> Environment:
    """Return a verified environment as its record tells (`jobs.envs.found`)."""
    record = made["record"]
    about = (str(record["python"]), record["packages"], str(record["fingerprint"]))
    return Environment(made["python"], _made_reason(made), *about, _provision(made))


def _made_reason(made: Mapping[str, Any]) -> str:
    return f"newest environment that orch setup made: torch {made['record']['torch']}, {made['lock']}"


def _provision(made: Mapping[str, Any]) -> dict[str, Any]:
    wheels = made["record"].get("wheels") or ()
    sha256 = next((wheel["sha256"] for wheel in wheels if wheel["name"] == "torch"), None)
    return {"lock": made["lock"], "torch": made["record"]["torch"], "torch_sha256": sha256}


def choose(configured: str | None, origin: str = "") -> tuple[str, str]:
    """Return the absolute path of an interpreter and the reason for it.

    Raises
    ------
    OrchError
        The configured one does not exist.
    """
    if configured is None or configured == sys.executable:
        return sys.executable, "it runs orch"
    found = shutil.which(configured)
    if found is None:
        text = f"there is no Python at {configured}" + (f" ({origin})" if origin else "")
        raise OrchError(text, "name another: orch config python /path/to/python")
    return str(Path(found).absolute()), f"{origin or 'configured'}: {configured}"


def _ask(python: str, program: Sequence[str]) -> dict[str, Any]:
    """Run the trainer's `environment` verb, isolated from the current folder and the user's own packages."""
    command = [python, "-I", "-B", *program, "environment"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except OSError as error:
        raise OrchError(f"{python} cannot be started: {error.strerror}", _repair(python)) from error
    except subprocess.TimeoutExpired as error:
        raise OrchError(f"{python} did not answer within {TIMEOUT:.0f} s", _repair(python)) from error
    answer = _document(done.stdout)
    if answer is not None and "error" in answer:
        raise from_json(answer["error"])
    if answer is None or done.returncode or "packages" not in answer:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        text = f"{python} cannot run the trainer: {said[-1] if said else f'exit status {done.returncode}'}"
        raise OrchError(text, _repair(python), python=python)
    return answer


def _document(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _repair(python: str) -> str:
    return (
        f"orch setup makes one that fits; or install torch there, then: {python} -m pip install 'orch-lab[trainer]'; "
        "or name another: orch config python /path/to/python"
    )
