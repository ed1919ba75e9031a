"""What a program hands in: its result and the scores of its cases, as they lie in the run folder."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import CONTRACT
from .atomic import exists, file_sha256, read_json
from .documents import MIB
from .folder import RunFolder

LARGEST = 4 * MIB  # bytes of a document of a run folder; all of one attempt fit into one frame of the wire
CASES = 16 * MIB  # bytes of the scores by case

# What stands in these places is of this kind, or it is left out: who reads a record need not ask again.
_PARTS = ("names", "cell", "env", "resources", "provenance", "placement", "tuning", "policy", "retry", "claim")
JOB: Mapping[str, type] = {"label": str, "sweep": str, "cwd": str, "argv": list, **dict.fromkeys(_PARTS, dict)}
EXIT: Mapping[str, type] = {**dict.fromkeys(("decision", "files", "rusage", "device"), dict), "log_left_out": int}
FAILURE: Mapping[str, type] = dict.fromkeys(("kind", "evidence", "hint"), str)


def shaped(record: Dict[str, Any], kinds: Mapping[str, type]) -> Dict[str, Any]:
    """Return a record without what is of another kind than stands there; None may stand anywhere."""
    odd = [key for key, kind in kinds.items() if not isinstance(record.get(key), (kind, type(None)))]
    return {key: value for key, value in record.items() if key not in odd} if odd else record


def read_document(path: str, most: int = LARGEST) -> Optional[Any]:
    """Return what stands in a JSON file, or None: a run folder that was edited by hand may hold anything."""
    try:
        return read_json(path, most)
    except OSError:
        return None


def read_cases(folder: RunFolder) -> Optional[List[Any]]:
    """Return the per-patient scores, or None when there are none."""
    cases = read_document(folder.cases, CASES)
    rows = cases.get("cases") if isinstance(cases, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def read_result(folder: RunFolder) -> Tuple[str, Optional[Dict[str, Any]]]:
    """Return (`valid`, result), (`invalid`, None) or (`none`, None)."""
    if not exists(folder.result):
        return "none", None
    result = read_document(folder.result)
    valid = isinstance(result, dict) and result.get("contract") == CONTRACT and isinstance(result.get("values"), dict)
    return ("valid", result) if valid else ("invalid", None)


def handed_in(folder: RunFolder) -> Dict[str, str]:
    """SHA-256 of what the program handed in, by file name: later edits by hand are found out."""
    paths = (folder.result, folder.cases)
    return {os.path.basename(path): file_sha256(path) for path in paths if _is_document(path)}


def _is_document(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) <= CASES
