"""What `orch doctor` asks a Slurm: version, partitions with processors and cards, and this user's limits.

Each question is asked once, and one without an answer leaves its part empty: a cluster may forbid any of them.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import host, software
from .errors import OrchError
from .slurm_client import LIMIT, run

_FIELD = re.compile(r"(\w+)=(\S*)")
_CARDS = re.compile(r"gpu:(?:([^:,(]+):)?(\d+)")
_HAS_SUBMITIT = "import importlib.util, sys; sys.exit(importlib.util.find_spec('submitit') is None)"
_ASSOC = ("account", "qos", "maxjobs", "maxsubmit", "maxwall")
_QOS = ("name", "maxjobspu", "maxsubmitpu", "maxwall")


def look(limit: float = software.SLURM_LIMIT) -> Dict[str, Any]:
    """Return what Slurm here is.

    Returns
    -------
    dict
        As `software.slurm`, and where the controller answers: `version`; `partitions`, each `{"name", "up", "time",
        "nodes", "cpus", "machines": [...], "gpus": {type: count}}`; `array` and `jobs` (MaxArraySize, MaxJobCount, None
        when not told); `associations` and `qos` of this user, rows of texts by column, empty where nothing is limited.
    """
    found = software.slurm(limit)
    if not found["sbatch"] or found["controller"]:
        return found
    config = dict(_FIELD.findall(re.sub(r"[ \t]*=[ \t]*", "=", _told(["scontrol", "show", "config"], limit))))
    rows = _table(["associations", "user={}".format(host.user_name(os.getuid()) or os.getuid())], _ASSOC, limit)
    names = {name for row in rows for name in row["qos"].split(",") if name}
    return {
        **found,
        "version": config.get("SLURM_VERSION", ""),
        "partitions": _partitions(limit),
        "array": _number(config.get("MaxArraySize")),
        "jobs": _number(config.get("MaxJobCount")),
        "associations": rows,
        "qos": [row for row in (_table(["qos"], _QOS, limit) if names else []) if row["name"] in names],
    }


def submitit(pythons: Sequence[Optional[str]], limit: float = software.SLURM_LIMIT) -> Dict[str, Any]:
    """Return the first of these Pythons that has submitit as `python`, or None, and those that were `tried`."""
    tried: List[str] = []
    for python in dict.fromkeys(filter(None, pythons)):
        tried.append(python)
        words = [python, "-I", "-B", "-c", _HAS_SUBMITIT]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return {"python": python, "tried": tried}
    return {"python": None, "tried": tried}


def _told(words: List[str], limit: float) -> str:
    try:
        return run(words, limit)
    except OrchError:
        return ""


def _number(text: Any) -> Any:
    return int(text) if str(text).isdigit() else None


def _partitions(limit: float) -> List[Dict[str, Any]]:
    found: Dict[str, Dict[str, Any]] = {}
    for line in _told(["sinfo", "-h", "-o", "%R|%a|%l"], limit).splitlines():
        if line.count("|") != 2:  # a wrapper's own words
            continue
        name, up, time = line.strip().split("|")
        empty: Dict[str, Any] = {"nodes": 0, "cpus": 0, "machines": [], "gpus": {}}
        found.setdefault(name, {"name": name, "up": up == "up", "time": time, **empty})
    for node in nodes(limit=limit):
        for name in node.get("Partitions", "").split(","):
            if name in found:
                _add(found[name], node)
    return list(found.values())


def nodes(partition: Optional[str] = None, limit: float = LIMIT) -> List[Dict[str, str]]:
    """Return Slurm's nodes as it tells of them (`Arch`, `Gres`, ...); of some partitions (`a,b`) only, or of all."""
    wanted = set(partition.split(",")) if partition else None
    told = (dict(_FIELD.findall(line)) for line in _told(["scontrol", "-o", "show", "nodes"], limit).splitlines())
    return [node for node in told if wanted is None or wanted & set(node.get("Partitions", "").split(","))]


def cards(node: Mapping[str, str]) -> "List[tuple[str, int]]":
    """Return kind and number of a node's cards."""
    return [(kind or "gpu", int(count)) for kind, count in _CARDS.findall(node.get("Gres", ""))]


def _add(partition: Dict[str, Any], node: Dict[str, str]) -> None:
    partition["nodes"] += 1
    partition["cpus"] += _number(node.get("CPUTot")) or 0
    machine = node.get("Arch", "")  # a node that was never up has none
    if machine and machine not in partition["machines"]:
        partition["machines"].append(machine)
    for kind, count in cards(node):
        partition["gpus"][kind] = partition["gpus"].get(kind, 0) + count


def _table(what: List[str], columns: "tuple[str, ...]", limit: float) -> List[Dict[str, str]]:
    told = _told(["sacctmgr", "-n", "-P", "show", *what, "format=" + ",".join(columns)], limit)
    rows = (line.split("|") for line in told.splitlines())
    return [dict(zip(columns, row)) for row in rows if len(row) == len(columns)]
