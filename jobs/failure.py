"""Failure kinds: one row each, recognised by a line of evidence; the first row that fits wins.

The program's own word (a `failure` event) comes first, then its log, then the bare exit status.
"""

from __future__ import annotations

import re
import signal
from typing import Any, Dict, List, NamedTuple, Optional

from . import events
from .documents import open_plain
from .folder import RunFolder

LOG_TAIL = 16384  # bytes of the log that are searched
FAILURES = 100  # the program's own words of a failure that are searched, the last ones
EVIDENCE = 300  # characters of a line that are kept


class Kind(NamedTuple):
    """One failure kind: name, what it is called, pattern of its evidence line (None: proved otherwise), what to do."""

    name: str
    words: str
    pattern: Optional[str]
    hint: str


class Proof(NamedTuple):
    """A kind that was proved by something else than the log; the evidence says by what."""

    kind: str
    evidence: str


KINDS = (
    Kind(
        "nan_loss",
        "the loss is not a number",
        r"nan_loss|loss is (nan|not finite)",
        "lower train.lr, or look at the data: orch data check",
    ),
    Kind(
        "gpu_lost",
        "the GPU was lost",
        r"GPU is lost|fallen off the bus|NVRM: Xid|[Uu]ncorrectable ECC|Unable to determine the device handle",
        "the host's GPU needs its administrator (nvidia-smi, dmesg), often a reboot; then orch release --gpus",
    ),
    Kind(
        "driver_mismatch",
        "driver and libraries do not fit",
        r"[Dd]river/library version mismatch|driver version is insufficient|NVIDIA driver on your system is too old"
        r"|unsupported display driver|forward compatibility was attempted"
        r"|Found no NVIDIA driver|libcuda\.so\S*: cannot open shared object",
        "orch setup --host H chooses a torch that the driver can run; after a driver update the host needs a reboot",
    ),
    Kind(
        "foreign_pressure",
        "somebody else used the GPU",
        r"foreign_pressure",
        "nothing to mend: it goes on when the card is free again",
    ),
    Kind(
        "preempted",
        "Slurm took back what it had given",
        None,
        "nothing to mend: it goes on from its last checkpoint; ask for more time, or another QOS, if it happens often",
    ),
    Kind(
        "gpu_busy",
        "the GPU admits no other program",
        r"CUDA-capable device(s are|\(s\) is/are) busy or unavailable",
        "somebody computes there alone (nvidia-smi: compute mode exclusive); ask them, then orch retry",
    ),
    Kind(
        "out_of_memory_gpu",
        "CUDA out of memory",
        r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|torch\.OutOfMemoryError",
        "make train.batch_size or train.width smaller",
    ),
    Kind(
        "out_of_memory",
        "out of memory",
        r"MemoryError|Cannot allocate memory|DefaultCPUAllocator|std::bad_alloc|[Oo]ut of memory",
        "make train.batch_size smaller, or run fewer jobs side by side: --parallel 1",
    ),
    Kind(
        "disk_full",
        "the disk or the quota is full",
        r"No space left on device|Disk quota exceeded|the disk is full|your quota is",
        "free some space; what waits goes on by itself, or at once with orch release",
    ),
    Kind(
        "bad_data", "the input cannot be used", r"BAD_DATA|ImageFileError|EOFError: Compressed file", "orch data check"
    ),
    Kind(
        "wrong_architecture",
        "built for another machine",
        r"Exec format error|wrong ELF class|cannot execute binary file|version `(GLIBC|GLIBCXX)_[\d.]+' not found"
        r"|no kernel image is available",
        "the program was built for another processor or system, or is a script without a first line like #!/bin/sh",
    ),
    Kind(
        "import_error",
        "a module cannot be imported",
        r"ModuleNotFoundError|ImportError",
        "install the module into the environment of the job",
    ),
    Kind(
        "not_verified",
        "its code or environment cannot be trusted",
        r"^orch: not verified",
        "the same sweep again sends the code anew; an environment of a colleague: trust: [NAME] in the site file",
    ),
    Kind(
        "cannot_start",
        "it cannot be started",
        r"^orch: cannot start",
        "look at the sweep's command: is the program there, and its folder?",
    ),
    Kind(
        "code_error",
        "an error in the code",
        r"^[\w.]*(Error|Exception)\b",
        "look at the log; after mending the code: orch retry, or orch sweep --rerun changed where the code is pinned",
    ),
    Kind(
        "timeout",
        "over its time limit",
        None,
        "raise resources.time_limit, or let it go on: policy: {timeout: {action: retry, tries: 3}}",
    ),
    Kind("killed", "killed by a signal", None, "somebody ended it; orch retry goes on"),
    Kind("crashed", "the program crashed", None, "the program crashed; look at the log"),
    Kind(
        "host_rebooted", "the host was rebooted", None, "orch retry goes on from the last checkpoint, if there is one"
    ),
    Kind(
        "exit_status_lost",
        "its watcher was killed, and its exit status is lost",
        None,
        "nobody knows whether it worked: look at the log, then orch retry",
    ),
    Kind("unknown", "it failed", None, "look at the log"),
)
BY_NAME = {kind.name: kind for kind in KINDS}

_KILL = 9  # SIGKILL, which Windows does not name
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP")
_FROM_OUTSIDE = (int(signal.SIGTERM), _KILL)  # what the program has said before does not explain them

# Names may hold blanks: a path begins at the line's first slash, a bare name at the last sign that is in no name.
_IMAGE = re.compile(r"(/.*|[^:'\"]*)\.(nii(\.gz)?|dcm|nrrd|nhdr|mha|mhd|mgz|hdr|img|ima)\b", re.IGNORECASE)


def diagnose(
    folder: RunFolder, status: int, number: Optional[int], proved: Optional[Proof] = None
) -> Optional[Dict[str, Any]]:
    """Return `{"kind", "evidence", "hint"}` for an attempt that ended badly, or None when it ended well.

    Parameters
    ----------
    status, number:
        Exit status (128 + n for signal n), and the signal, or None: a program may leave with status 137 by itself.
    proved:
        What is known without the log: it comes before whatever the log says.

    Image file names in the evidence are replaced: they can name patients, and the evidence leaves the run folder.
    """
    if proved:
        return _found(BY_NAME[proved.kind], proved.evidence)
    if status == 0:
        return None
    for line in _words(folder, log=number not in _FROM_OUTSIDE):
        for kind in KINDS:
            if kind.pattern and re.search(kind.pattern, line):
                return _found(kind, line)
    if number is not None:
        return _found(BY_NAME[_kind_of_signal(number)], "ended by signal {}".format(signal_name(number)))
    last = _tail(folder.log)
    return _found(BY_NAME["unknown"], last[-1] if last else "exit status {}".format(status))


def _found(kind: Kind, evidence: str) -> Dict[str, Any]:
    line = _IMAGE.sub("<image>", evidence.strip())[:EVIDENCE]
    return {"kind": kind.name, "evidence": line, "hint": kind.hint}


def _kind_of_signal(number: int) -> str:
    name = signal_name(number)
    if name == "SIGILL":  # an instruction that this processor does not have
        return "wrong_architecture"
    return "crashed" if name in _CRASHES else "killed"


def _words(folder: RunFolder, log: bool) -> List[str]:
    """The program's failure events, then its log lines, last first: the last line of a traceback is the telling one."""
    said: List[Dict[str, Any]] = []
    for piece in events.pieces(folder.events):
        said = [*said, *(event for event in piece.events if event["kind"] == "failure")][-FAILURES:]
    texts = ["{}: {}".format(event.get("failure", "failure"), event.get("text", "")) for event in reversed(said)]
    return texts + (list(reversed(_tail(folder.log))) if log else [])


def _tail(path: str) -> List[str]:
    try:
        with open(path, "rb", opener=open_plain) as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - LOG_TAIL))
            text = handle.read(LOG_TAIL).decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9; a number without a name as its digits."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
