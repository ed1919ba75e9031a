"""The agent's verbs that make an environment: look, install a conda, make it, verify it, take it away.

`orch-env.json` is written last, by the verification: without it a prefix is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, Iterator, List, Optional, Tuple

from . import child, conda, envs, gpu, host
from .atomic import digest, read_json, write_json
from .envs import EnvFolder
from .errors import NotFound, OrchError, UsageError
from .folder import Home
from .making import STAGES, Maker, delete, hold, told
from .slurmtry import TRY_WAIT, with_card

if TYPE_CHECKING:
    from .agent import Agent

Reply = Dict[str, Any]
Stream = Generator[Any, None, Reply]


def environments(agent: Agent, arch: Optional[str] = None, home: Optional[str] = None) -> Reply:
    """Return the environments of a home for an architecture, and what each found when it was tried on this host.

    Parameters
    ----------
    home:
        The home to look into while none is open; it need not exist.
    """
    arch, place = arch or envs.architecture(), _home(agent, home)
    found = envs.found(place, arch)
    for env in found:
        env["here"] = read_json(_verified_here(EnvFolder(place.path, arch, env["lock"])))
    return {"arch": arch, "host": host.name(), "environments": found}


def _home(agent: Agent, path: Optional[str]) -> Home:
    opened: Optional[Home] = getattr(agent, "home", None)
    return opened or Home(os.path.abspath(os.path.expanduser(path or "~/.orch")))


def survey(
    agent: Agent, indexes: Dict[str, str], wheelhouse: Optional[str] = None, home: Optional[str] = None
) -> Reply:
    """Look for a conda, and for what wheels of torch there are.

    Parameters
    ----------
    indexes:
        Address of the simple index by backend.
    wheelhouse:
        Folder of wheels; default: the one in the orch home.
    home:
        See `environments`.

    Returns
    -------
    dict
        `conda` or None, `refused` (why others were not taken), `offers` by backend, `problems` (indexes that did not
        answer; such a backend is in `offers` only if the wheelhouse holds wheels of it).
    """
    from . import simpleindex  # it brings urllib, which takes longer to import than all of us

    folder = EnvFolder(_home(agent, home).path, envs.architecture(), "")
    found, refused = conda.find(folder)
    offers: Dict[str, List[Any]] = {}
    problems = []
    kept = simpleindex.kept(wheelhouse or folder.wheelhouse, "torch")
    for backend, index in indexes.items():
        here = [wheel for wheel in kept if wheel["version"].endswith("+" + backend)]
        try:
            offers[backend] = [*simpleindex.offers(index, "torch"), *here]
        except OSError as error:
            problems.append(str(error))
            if here:
                offers[backend] = here
    told = found._asdict() if found else None
    return {"conda": told, "refused": refused, "offers": offers, "problems": problems, "ours": conda.ours(folder)}


def install_conda(agent: Agent, url: Optional[str] = None) -> Stream:
    """Install a Miniforge of this architecture into the orch home; yields progress lines."""
    folder = EnvFolder(agent.home.path, envs.architecture(), "")
    with contextlib.ExitStack() as stack:
        keep = yield from hold(agent, folder, stack)
        found, _ = conda.find(folder)
        if found is None:
            making = conda.install(folder, url or conda.MINIFORGE, agent.client_left, keep)
            found = yield from told("conda", making)
    return {"conda": found._asdict()}


def remove_conda(agent: Agent) -> Stream:
    """Take away the Miniforge that orch installed; any other is left alone."""
    folder = EnvFolder(agent.home.path, envs.architecture(), "")
    if conda.ours(folder) is None:
        raise NotFound("no Miniforge of orch's own at {}".format(folder.conda), "any other conda is left alone")
    with contextlib.ExitStack() as stack:
        yield from hold(agent, folder, stack)
        yield from delete(folder.conda)
    return {"removed": folder.conda}


def provision(agent: Agent, lock: Dict[str, Any], name: str, sources: Dict[str, Any]) -> Stream:
    """Make an environment, or go on with it; yields `{"stage", "line"}`.

    Parameters
    ----------
    lock:
        What it shall hold: `arch`, `python`, `torch` (`2.6.0+cu126`), `requirements`.
    name:
        Its folder: the lock's hash, with a number behind it when the first one was changed by somebody.
    sources:
        `conda` (path), `channel`, `index` (of torch), `wheelhouse` (folder or None).

    Raises
    ------
    UsageError
        It is for another architecture.
    DiskError
        The disk is full or the quota used up: what is done stays done.
    OrchError
        conda or pip failed; the message holds their most telling line.
    """
    if lock["arch"] != envs.architecture():
        text = "this host is {} and cannot run an environment for {}".format(envs.architecture(), lock["arch"])
        raise UsageError(text, "leave --arch out: the host's own is taken")
    folder = EnvFolder(agent.home.path, lock["arch"], name)
    with contextlib.ExitStack() as stack:
        keep = yield from hold(agent, folder, stack)
        if read_json(folder.record):  # somebody was faster
            return envs.describe(folder)
        maker = Maker(folder, lock, sources, agent.client_left, keep)
        yield from maker.make()
    return {**envs.describe(folder), "stages": maker.done}


# --- Verification ----------------------------------------------------------------------------------------------------


def verify_environment(agent: Agent, name: str, device: str, slurm: Optional[Dict[str, Any]] = None) -> Stream:
    """Let the environment prove itself on this host's `cuda` or `cpu`; write `orch-env.json` if it is the first time.

    Parameters
    ----------
    slurm:
        What a job is asked for that has the card which this login node lacks; None: it is tried here.

    Raises
    ------
    OrchError
        A check failed: which, what was found and what was meant.
    """
    folder = EnvFolder(agent.home.path, envs.architecture(), name)
    record, build = read_json(folder.record), read_json(folder.build) or {}
    lock = (record or build).get("lock")
    if not lock or (record is None and (build.get("begun") or set(STAGES) - set(build.get("stages", {})))):
        raise NotFound("the environment {} is not whole".format(folder.prefix), "run orch setup again")
    with contextlib.ExitStack() as stack:
        keep = yield from hold(agent, folder, stack)
        by_job = slurm is not None and device == "cuda" and not gpu.cards()
        words = stack.enter_context(with_card(slurm or {}, TRY_WAIT)) if by_job else []
        answer = yield from told("verification", _examine(folder, lock, device, agent.client_left, keep, words))
        here = {"host": host.name(), "t": time.time(), "device": device, **answer}
        os.makedirs(os.path.dirname(_verified_here(folder)), exist_ok=True)
        write_json(_verified_here(folder), here)
        if record is None:
            write_json(folder.record, _record(folder, lock, build["stages"], here))
            shutil.rmtree(os.path.join(folder.packages, "pip"), ignore_errors=True)  # gigabytes that nobody needs again
            for path in (folder.build, folder.constraints):
                with contextlib.suppress(OSError):
                    os.unlink(path)
    return {**envs.describe(folder), "here": here}


def _examine(
    folder: EnvFolder, lock: Reply, device: str, left: Callable[[], bool], keep: Tuple[int, ...], through: List[str]
) -> Generator[str, None, Reply]:
    backend = lock["torch"].partition("+")[2]
    cuda = "{}.{}".format(backend[2:-1], backend[-1]) if backend.startswith("cu") else None
    request = {"device": device, "torch": lock["torch"], "cuda": cuda}
    command = [*through, folder.python, "-I", "-B", "-c", _source(), json.dumps(request)]
    ended = yield from child.run(command, conda.environment(folder), left, keep)
    child.check(
        ended, "the environment cannot compute on {}".format(device), "orch setup --explain", prefix=folder.prefix
    )
    told: Reply = json.loads(next(line for line in reversed(ended.lines) if line.startswith("{")))
    wrong = ["{check}: {found}, meant {meant}".format(**check) for check in told["checks"] if not check["ok"]]
    if wrong:
        raise OrchError(
            "the environment failed its test: " + "; ".join(wrong), "orch setup --explain", checks=told["checks"]
        )
    return told


def _source() -> str:
    """Text of `jobs/verify.py`; the agent's own modules came over the wire and lie in no file."""
    from . import verify

    loader: Any = verify.__loader__
    return str(loader.get_source(verify.__name__))


def _record(folder: EnvFolder, lock: Reply, stages: Reply, here: Reply) -> Reply:
    about = {"contract": 1, "created": time.time(), "host": host.name(), "name": folder.lock, "lock": lock}
    wheels = [*stages["torch"]["wheels"], *stages["rest"]["wheels"]]
    software = {"python": here["python"], "packages": here["packages"]}
    made = {"torch": lock["torch"], "conda": stages["python"]["conda"], "wheels": wheels}
    return {**about, **made, **software, "fingerprint": digest(software), "contents": envs.contents(folder.prefix)}


def _verified_here(folder: EnvFolder) -> str:
    return os.path.join(folder.prefix + ".verified", host.name() + ".json")


# --- Taking away -----------------------------------------------------------------------------------------------------


def weigh_environment(agent: Agent, name: str) -> Reply:
    """Return path, bytes and users of an environment, before it is taken away."""
    folder = EnvFolder(agent.home.path, envs.architecture(), name)
    return {"prefix": folder.prefix, "bytes": envs.size(folder.prefix), "users": _users(agent, folder)}


def remove_environment(agent: Agent, name: str) -> Stream:
    """Take an environment away.

    Raises
    ------
    NotFound
        There is none of that name.
    OrchError
        A process of yours on this host, or a job that waits or runs, uses it.
    """
    folder = EnvFolder(agent.home.path, envs.architecture(), name)
    if not any(map(os.path.lexists, (folder.prefix, folder.build))):
        raise NotFound("no environment {}".format(folder.prefix), "orch setup --explain")
    with contextlib.ExitStack() as stack:
        yield from hold(agent, folder, stack)
        users = _users(agent, folder)
        if users:
            raise OrchError(
                "{} is in use by {}".format(folder.prefix, ", ".join(users)), "wait, or stop them: orch stop"
            )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder.record)  # first: from now on nobody takes it
        yield from delete(folder.prefix)
        shutil.rmtree(folder.prefix + ".verified", ignore_errors=True)
        for path in (folder.build, folder.constraints):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return {"removed": folder.prefix}


def _users(agent: Agent, folder: EnvFolder) -> List[str]:
    """Processes here, and jobs that wait or run anywhere, that use a prefix."""
    inside = folder.prefix + os.sep
    programs = ((pid, host.program(pid)) for pid in host.own_processes())
    found = [
        "process {}".format(pid)
        for pid, (path, words) in programs
        if path.startswith(inside) or (words and words[0].startswith(inside))
    ]
    found += [
        "waiting job " + entry.key[1] for entry in agent.queue.waiting() if _program(entry.job).startswith(inside)
    ]
    return found + ["running job " + name for name in _running(agent, inside)]


def _running(agent: Agent, inside: str) -> Iterator[str]:
    from . import attempt

    for run in agent.home.run_folders():
        if _program(attempt.read_job(run) or {}).startswith(inside) and attempt.read_exit(run) is None:
            yield run.job_id


def _program(job: Dict[str, Any]) -> str:
    return str((job.get("argv") or [""])[0])
