"""Failure kinds: one row each, recognised by a line of evidence; the first row that fits wins.

The program's own word (a `failure` event) comes first, then its log, then the bare exit status.
"""

from __future__ import annotations

import re
import signal
from typing import Any, Dict, List, NamedTuple, Optional

from . import events
from .folder import RunFolder

LOG_TAIL = 16384  # bytes of the log that are searched
EVIDENCE = 300  # characters of a line that are kept


class Kind(NamedTuple):
    """One failure kind: name, pattern of its evidence line, what to do."""

    name: str
    pattern: str
    hint: str


KINDS = (
    Kind("nan_loss", r"nan_loss|loss is (nan|not finite)", "lower train.lr, or look at the data: orch data check"),
    Kind(
        "out_of_memory_gpu",
        r"CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED|torch\.OutOfMemoryError",
        "make train.batch_size or train.width smaller",
    ),
    Kind(
        "out_of_memory",
        r"MemoryError|Cannot allocate memory|DefaultCPUAllocator|std::bad_alloc|[Oo]ut of memory",
        "make train.batch_size smaller, or run fewer jobs side by side: --parallel 1",
    ),
    Kind("disk_full", r"No space left on device|Disk quota exceeded|the disk is full|your quota is", "free some space"),
    Kind("bad_data", r"BAD_DATA|ImageFileError|EOFError: Compressed file", "orch data check"),
    Kind("import_error", r"ModuleNotFoundError|ImportError", "install the module into the environment of the job"),
    Kind(
        "wrong_architecture",
        r"Exec format error|wrong ELF class",
        "the program was built for another processor, or is a script without a first line like #!/bin/sh",
    ),
    Kind("cannot_start", r"^orch: cannot start", "look at the sweep's command: is the program there, and its folder?"),
    Kind(
        "code_error",
        r"^[\w.]*(Error|Exception)\b",
        "look at the log; after mending the code: orch retry, or orch sweep --rerun changed where the code is pinned",
    ),
)

_SIGNAL_HINTS = {
    int(signal.SIGTERM): "somebody ended it; orch retry goes on",
    9: "somebody or the kernel (out of memory?) killed it; look at dmesg, then orch retry",
    int(signal.SIGSEGV): "the program crashed; look at the log",
}

_FROM_OUTSIDE = (int(signal.SIGTERM), 9)  # what the program has said before does not explain them

# Names may hold blanks: a path begins at the line's first slash, a bare name at the last sign that is in no name.
_IMAGE = re.compile(r"(/.*|[^:'\"]*)\.(nii(\.gz)?|dcm|nrrd|nhdr|mha|mhd|mgz|hdr|img|ima)\b", re.IGNORECASE)


def diagnose(folder: RunFolder, status: int, number: Optional[int]) -> Optional[Dict[str, Any]]:
    """Return `{"kind", "evidence", "hint"}` for an attempt that ended badly, or None when it ended well.

    Parameters
    ----------
    status, number:
        Exit status (128 + n for signal n), and the signal, or None: a program may leave with status 137 by itself.

    Image file names in the evidence are replaced: they can name patients, and the evidence leaves the run folder.
    """
    if status == 0:
        return None
    for line in _words(folder, log=number not in _FROM_OUTSIDE):
        for kind in KINDS:
            if re.search(kind.pattern, line):
                return _found(kind.name, line, kind.hint)
    if number is not None:
        return _found("killed", "ended by signal {}".format(_signal_name(number)), _SIGNAL_HINTS.get(number, ""))
    last = _tail(folder.log)
    return _found("unknown", last[-1] if last else "exit status {}".format(status), "look at the log")


def _found(kind: str, evidence: str, hint: str) -> Dict[str, Any]:
    return {"kind": kind, "evidence": _IMAGE.sub("<image>", evidence.strip())[:EVIDENCE], "hint": hint}


def _words(folder: RunFolder, log: bool) -> List[str]:
    """The program's failure events, then its log lines, last first: the last line of a traceback is the telling one."""
    said = [event for event in events.read(folder.events).events if event["kind"] == "failure"]
    texts = ["{}: {}".format(event.get("failure", "failure"), event.get("text", "")) for event in reversed(said)]
    return texts + (list(reversed(_tail(folder.log))) if log else [])


def _tail(path: str) -> List[str]:
    try:
        with open(path, "rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - LOG_TAIL))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
