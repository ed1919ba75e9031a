"""What an array asks Slurm for: a job's resources and the site's own options of sbatch, under one spelling. Pure.

The site's options count where they say how much or which kind of a resource; what orch needs for its own watching they
cannot change, and such a one is refused by its name.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from .errors import OrchError

_SHORT = {
    "A": "account", "a": "array", "b": "begin", "C": "constraint", "c": "cpus-per-task", "D": "chdir",
    "d": "dependency", "e": "error", "F": "nodefile", "G": "gpus", "H": "hold", "i": "input", "J": "job-name",
    "k": "no-kill", "L": "licenses", "M": "clusters", "m": "distribution", "N": "nodes", "n": "ntasks", "o": "output",
    "O": "overcommit", "p": "partition", "Q": "quiet", "q": "qos", "S": "core-spec", "s": "oversubscribe", "t": "time",
    "V": "version", "W": "wait", "w": "nodelist", "x": "exclude",
}  # fmt: skip
_OWN_KEY = "write it as slurm: {{{0}: ...}} of this host, not among its options"
_LEAVE = "leave it out"
_NAMES = "leave it out: by it orch finds its jobs again"
# Refused, and what to do instead. From the long options of sbatch(1).
_REFUSED = {
    "clusters": "make two hosts in the site file, one for each cluster: a login node whose own cluster it is",
    "cluster-constraint": "make two hosts in the site file, one for each cluster",
    "job-name": _NAMES, "array": "leave it out: orch makes the arrays; --parallel N says how many run side by side",
    "output": _LEAVE + ": the job's log is in its run folder, see orch logs", "error": _LEAVE + ": see orch logs",
    "open-mode": _LEAVE, "input": _LEAVE, "wrap": _LEAVE, "wait": _LEAVE, "parsable": _LEAVE, "quiet": _LEAVE,
    "chdir": "leave it out: cwd: in the sweep file names a command's folder",
    "export": "leave it out: env: in the sweep file sets a job's variables", "export-file": _LEAVE,
    "get-user-env": _LEAVE, "propagate": _LEAVE,
    "requeue": "leave it out: orch queues a next attempt itself, see orch why",
    "signal": "leave it out: by it orch hears that the time limit is near",
    "dependency": _LEAVE, "test-only": _LEAVE, "version": _LEAVE, "help": _LEAVE, "usage": _LEAVE, "uid": _LEAVE,
    "gid": _LEAVE, "kill-on-invalid-dep": _LEAVE, "nodefile": _LEAVE, "spread-job": _LEAVE,
    **{key: _OWN_KEY.format(key) for key in ("partition", "account", "qos", "constraint", "exclude", "time")},
}  # fmt: skip
_CARDS = ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")
_CORES = ("cpus-per-task", "cpus-per-gpu", "mincpus")
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_OTHERS = (
    "acctg-freq", "batch", "bb", "bbf", "begin", "comment", "container", "contiguous", "core-spec", "cores-per-socket",
    "cpu-freq", "deadline", "delay-boot", "distribution", "exclusive", "extra-node-info", "gpu-bind", "gpu-freq",
    "gres", "gres-flags", "hint", "hold", "ignore-pbs", "licenses", "mail-type", "mail-user", "mcs-label", "mem-bind",
    "network", "nice", "no-kill", "no-requeue", "nodelist", "nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu",
    "ntasks-per-node", "ntasks-per-socket", "overcommit", "oversubscribe", "power", "prefer", "priority", "profile",
    "reboot", "reservation", "sockets-per-node", "switches", "thread-spec", "threads-per-core", "time-min", "tmp",
    "tres-per-task", "use-min-nodes", "verbose", "wait-all-nodes", "wckey", "x11",
)  # fmt: skip
_KNOWN = frozenset({*_REFUSED, *_CARDS, *_CORES, *_MEMORY, *_OTHERS})
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")
_GRES_CARD = re.compile(r"(?:gres[:/])?gpu(?::([^:,=]+))?(?:[:=](\d+))?(?:,|\Z)")


class Trouble(NamedTuple):
    """An option that cannot be: its key as it was written, what is wrong, and the repair."""

    key: str
    text: str
    hint: str


def _long(key: str) -> str:
    return _SHORT.get(key.strip().lstrip("-"), key.strip().lstrip("-").replace("_", "-").lower())


def plain(key: str) -> str:
    """Return which option is meant: `gpus_per_node`, `--gpus-per-node` and its beginnings are one."""
    name = _long(key)
    longer = sorted(known for known in _KNOWN if known.startswith(name))
    return name if name in _KNOWN or not longer else longer[0]


def is_type(value: Any) -> bool:
    """Tell whether a value can name a kind of card."""
    return isinstance(value, str) and bool(_TYPE.match(value)) and not value.isdigit()


def troubles(slurm: Mapping[str, Any]) -> Iterator[Trouble]:
    """Yield what is wrong with the options of a site's `slurm`."""
    seen: Dict[str, str] = {}
    for key, value in (slurm.get("options") or {}).items():
        name = plain(str(key))
        if name in _REFUSED:
            yield Trouble(key, "the option {} cannot be set here".format(name), _REFUSED[name])
        elif name in seen:
            yield Trouble(key, "says again what {} says".format(seen[name]), "keep one of both")
        elif isinstance(value, (dict, list)) or value is None or "\n" in str(value):
            yield Trouble(
                key, "must be a text, a number or true, not {!r}".format(value), "options: {reservation: ours}"
            )
        elif slurm.get("gpu_type") and _is_of_cards(name, value):
            yield Trouble(key, "names cards, and so does gpu_type", "keep one of both")
        seen[name] = str(key)


def _is_of_cards(name: str, value: Any) -> bool:
    return name in _CARDS or (name in ("gres", "tres-per-task") and _GRES_CARD.search(str(value)) is not None)


def merged(needs: Mapping[str, Any], slurm: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what sbatch is asked for of cores, cards and memory, and all other options, by their long names.

    Parameters
    ----------
    needs:
        A job's `resources`.
    slurm:
        Its `placement.slurm`.

    Raises
    ------
    OrchError
        An option of the site is one that it may not set, or names other cards than the sweep.
    """
    for trouble in troubles(slurm):
        raise OrchError("{} of the site file: {}".format(_place(trouble.key), trouble.text), trouble.hint)
    options = {_long(str(key)): value for key, value in (slurm.get("options") or {}).items() if value is not False}
    named = [value for key, value in options.items() if _is_of_cards(plain(key), value)]
    resources = set(map(plain, options))
    wanted = needs.get("gpu_type")
    if named and wanted and not any(wanted in _kinds(value) for value in named):
        text = "{} of the site file: they ask for {}, and the sweep for {} (resources: gpu_type)"
        raise OrchError(text.format(_place(""), named[0], wanted), "take the cards out of the host's options")
    own: Dict[str, Any] = {}
    if not resources.intersection(_CORES):
        own["cpus-per-task"] = needs.get("cpus") or 1
    if needs.get("gpus") and not named:
        kind = wanted or slurm.get("gpu_type")
        own["gpus-per-node"] = "{}:{}".format(kind, needs["gpus"]) if kind else needs["gpus"]
    if needs.get("memory_mb") and not resources.intersection(_MEMORY):
        own["mem"] = "{}M".format(needs["memory_mb"])
    return {**own, **options}


def _place(key: str) -> str:
    return "options of the host's slurm" + (": " + key if key else "")


def _kinds(value: Any) -> List[str]:
    """Kinds of cards that an option names: `a100:1`, `gpu:a100:1`, `gres/gpu:a100=1`."""
    found = _GRES_CARD.findall(str(value))
    text = str(value)
    kinds = (
        [kind for kind, _ in found] if found else [part.partition(":")[0] for part in text.split(",") if ":" in part]
    )
    return [kind for kind in kinds if kind and not kind.isdigit()]


def card_of(needs: Mapping[str, Any], slurm: Mapping[str, Any]) -> Optional[str]:
    """Return the kind of card that is asked for, or None: any."""
    return needs.get("gpu_type") or slurm.get("gpu_type")


def words(options: Mapping[str, Any]) -> Tuple[str, ...]:
    """Return options as words of a command line."""
    kept = ((key, value) for key, value in options.items() if value not in (None, False))
    return tuple("--{}".format(key) if value is True else "--{}={}".format(key, value) for key, value in kept)
