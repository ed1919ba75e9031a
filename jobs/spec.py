"""`JobSpec`: one job, fully resolved; its id is the hash of the scientific cell and of nothing else."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from . import CONTRACT
from .atomic import canonical
from .errors import ContractError

_LATER = ("tuning", "policy")  # keys that job.json of an earlier orch does not have
ID_LENGTH = 16  # hexadecimal digits: 2**32 jobs until a collision is likely


@dataclass(frozen=True)
class Cell:
    """What makes a job scientifically itself; micro-batch, workers, host and code are not part of it.

    Attributes
    ----------
    program:
        `trainer`, `command` or `notebook`.
    parameters:
        Resolved parameters with all defaults filled in. For `trainer`: `{"augment": [...], "train": {...}}`; for
        `command`: `{"argv": [...], "grid": {...}}`; for `notebook`: `{"notebook", "grid", "result"}`.
    data, split:
        Content hashes of the data set and of the split, or None.
    fold, seed:
        Numbers from 0, or None.
    """

    program: str
    parameters: Mapping[str, Any]
    data: Optional[str] = None
    split: Optional[str] = None
    fold: Optional[int] = None
    seed: Optional[int] = None

    @functools.cached_property
    def id(self) -> str:
        """Job id: the first 16 hexadecimal digits of the SHA-256 of the canonical JSON (15 = 15.0)."""
        return self.id_with(canonical(self.parameters))

    def id_with(self, parameters: str) -> str:
        """Return `id`, given the canonical JSON of the parameters: many cells share them, so it need be made once."""
        first = canonical({"data": self.data, "fold": self.fold})[:-1]
        rest = canonical({"program": self.program, "seed": self.seed, "split": self.split})[1:]
        known = '{},"parameters":{},{}'.format(first, parameters, rest)
        self.__dict__["id"] = found = hashlib.sha256(known.encode()).hexdigest()[:ID_LENGTH]
        return found


@dataclass(frozen=True)
class Resources:
    """What a job needs on its host.

    Attributes
    ----------
    cpus:
        CPU slots (cores).
    gpus:
        GPU slots (cards).
    gpu_memory_mb:
        MiB of a card that it needs: jobs that say so share a card. None: a card is its own.
    memory_mb:
        Memory in MiB, or None when unknown.
    gpu_type:
        Kind of card, as Slurm names it (`h100`); None: any.
    time_limit_s:
        Seconds after which it is asked to stop, then killed; None: it may take as long as it takes.
    log_mb:
        MiB that its log may hold (`log_limit`); None: as many as is usual.
    """

    cpus: int = 1
    gpus: int = 0
    memory_mb: Optional[int] = None
    time_limit_s: Optional[float] = None
    gpu_memory_mb: Optional[int] = None
    gpu_type: Optional[str] = None
    log_mb: Optional[int] = None


@dataclass(frozen=True)
class JobSpec:
    """The whole specification of one job, as `job.json` holds it (`docs/contract.md`).

    Attributes
    ----------
    sweep, label, names:
        Sweep name; label for people, unique in the sweep (`rotate/3`); columns for tables (`strategy`, `fold`, ...).
    cell:
        The scientific cell; `id` is its hash.
    argv, cwd, env:
        Program to start, its folder, variables added to the environment. `{run}` in `argv` becomes the run folder.
    resources:
        Slots and memory.
    result_required:
        True when exit status 0 without a result is a failure (the trainer); False for any other program.
    inputs:
        Files the program reads by path; not part of the identity (their hashes are).
    provenance, placement:
        Recorded, not interpreted.
    tuning:
        How it is computed without being another job: `micro_batch`, the samples computed at once.
    policy:
        What the sweep changes of the rules for failures (`policy.TABLE`), by kind.
    """

    sweep: str
    label: str
    names: Mapping[str, Any]
    cell: Cell
    argv: Tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    result_required: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Job id."""
        return self.cell.id

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON object of `job.json`, without what the host adds (`attempt`, `claim`, `resume`)."""
        needs = _shallow(self.resources)
        for key in ("gpu_type", "log_mb"):
            if needs[key] is None:  # an orch that does not know the key reads the others
                del needs[key]
        parts = {"cell": _shallow(self.cell), "resources": needs, "argv": list(self.argv)}
        return {"contract": CONTRACT, "id": self.id, **_shallow(self), **parts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "JobSpec":
        """Read a `job.json` object.

        Raises
        ------
        ContractError
            It is of a newer contract, lacks a key, or its id is not the hash of its cell (edited by hand).
        """
        if value.get("contract") != CONTRACT:
            raise ContractError(
                "job.json has contract {}, this orch reads {}".format(value.get("contract"), CONTRACT),
                "use the version of orch that wrote it, or a newer one",
            )
        try:
            known = {
                item.name: value[item.name] for item in fields(cls) if item.name in value or item.name not in _LATER
            }
            known["cell"] = Cell(**value["cell"])
            known["resources"] = Resources(**value["resources"])
            known["argv"] = tuple(value["argv"])
            spec = cls(**known)
        except (KeyError, TypeError) as error:
            raise ContractError("job.json lacks or misspells {}".format(error), "orch index check") from error
        _check(spec)
        if value.get("id") != spec.id:
            raise ContractError(
                "job.json was edited: its id {} is not the hash of its cell ({})".format(value.get("id"), spec.id),
                "put the old file back, or delete the job's folder and run the sweep again",
            )
        return spec


def _check(spec: JobSpec) -> None:
    """Refuse what no host could start: the words go to the kernel as they are."""
    env = dict(spec.env) if isinstance(spec.env, Mapping) else {"": spec.env}
    words = [*spec.argv, spec.cwd, *env, *env.values()]
    sound = bool(spec.argv) and all(isinstance(word, str) and "\0" not in word for word in words)
    if not sound or any(not name or "=" in name for name in env):
        raise ContractError(
            "the job {} cannot be started: argv, cwd and env must be texts, argv not empty".format(spec.label),
            "look at the sweep's command and env",
        )
    counts = (spec.resources.cpus, spec.resources.gpus)
    if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in counts):
        raise ContractError("the job {} asks for {}".format(spec.label, spec.resources), "give whole numbers from 0")


def _shallow(value: Any) -> Dict[str, Any]:
    """A dataclass's fields without copying what they hold (`asdict` copies all of it, for every job)."""
    return {item.name: getattr(value, item.name) for item in fields(value)}
